/* The frame path; see edgesep_frontend.h. */
#include "edgesep_frontend.h"

#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_features.h"
#include "edgesep_fixed.h"
#include "edgesep_frame.h"
#include "edgesep_mask.h"
#include "edgesep_tables.h"

#define MAX_FADE 128
#define MAX_SYNTHESIS (EDGESEP_BINS + MAX_FADE) /* longest hop and longest fade */
#define MAX_FLOOR_SHIFT 16
#define READY 0x65646765u /* "edge" */

typedef struct channel {
    edgesep_block spectrum;
    int32_t tail[MAX_FADE]; /* what the last hop still adds to the next: ten fraction bits */
    int16_t history[EDGESEP_WINDOW];
    int32_t sounding; /* 0 while the history is all zero */
} channel;

struct edgesep_frontend {
    uint32_t ready;
    int32_t hop, fade, channels, bands, floor_rise_shift, floor_fall_shift;
    int32_t window[MAX_SYNTHESIS]; /* hop + fade used, Q30 */
    int32_t floors[EDGESEP_BINS];  /* bands used, Q16 */
    uint16_t edges[EDGESEP_BINS + 1];
    edgesep_block scratch;
    union { /* what one call needs and the next does not */
        struct {
            uint64_t power[EDGESEP_BINS]; /* bands used */
            int32_t levels[EDGESEP_BINS]; /* bands used, Q8 */
        } analysis;
        struct {
            edgesep_block masked;
            int32_t bin_gains[EDGESEP_BINS]; /* Q30 */
            int32_t samples[MAX_SYNTHESIS];  /* hop + fade used, ten fraction bits */
        } synthesis;
    } passing;
    channel channel[];
};

const char *edgesep_status_text(int status) {
    switch (status) {
    case EDGESEP_OK:
        return "success";
    case EDGESEP_BAD_ARGUMENT:
        return "null pointer or value out of range";
    case EDGESEP_BAD_CONTRACT:
        return "hop, fade, bands, shifts or channels not allowed";
    case EDGESEP_BAD_MEMORY:
        return "memory too small or not aligned to eight bytes";
    case EDGESEP_NOT_READY:
        return "memory not initialised";
    case EDGESEP_BAD_GAIN:
        return "gain above 32768";
    case EDGESEP_BAD_NETWORK:
        return "a step of the network leaves its memory";
    default:
        return "unknown status";
    }
}

static int is_one_of(int32_t value, int32_t lowest, int32_t highest) {
    return value >= lowest && value <= highest && (value & (value - 1)) == 0;
}

static int in_range(int32_t value, int32_t lowest, int32_t highest) {
    return value >= lowest && value <= highest;
}

static int edges_allowed(const uint16_t *edges, int32_t bands) {
    if (edges == NULL || edges[0] != 0) {
        return 0;
    }
    for (int32_t b = 0; b < bands; b++) {
        if (edges[b + 1] <= edges[b]) {
            return 0;
        }
    }
    return edges[bands] == EDGESEP_BINS;
}

static int contract_allowed(const edgesep_contract *c) {
    return c != NULL && is_one_of(c->hop_samples, 32, 256) && is_one_of(c->fade_samples, 32, 128) &&
           c->fade_samples <= c->hop_samples && in_range(c->channels, 1, EDGESEP_MAX_CHANNELS) &&
           in_range(c->bands, 1, EDGESEP_BINS) &&
           in_range(c->floor_rise_shift, 0, MAX_FLOOR_SHIFT) &&
           in_range(c->floor_fall_shift, 0, MAX_FLOOR_SHIFT) &&
           edges_allowed(c->band_edges, c->bands);
}

size_t edgesep_frontend_size(const edgesep_contract *contract) {
    if (!contract_allowed(contract)) {
        return 0;
    }
    return sizeof(edgesep_frontend) + (size_t)contract->channels * sizeof(channel);
}

/* Product of the two windows at sample n, Q30: overlap-adds to one. */
static int64_t window_product(int32_t n, int32_t hop, int32_t fade) {
    const int64_t one = INT64_C(1) << 30;
    const int32_t step = MAX_FADE / fade;
    if (n < fade) {
        return edgesep_sine_square_q30[(2 * n + 1) * step];
    }
    return n < hop ? one : one - edgesep_sine_square_q30[(2 * (n - hop) + 1) * step];
}

/* Synthesis window: the product divided by the analysis window, Q30. */
static void fill_window(int32_t *window, int32_t hop, int32_t fade) {
    const int32_t *analysis = edgesep_analysis_window_q31 + EDGESEP_WINDOW - hop - fade;
    for (int32_t n = 0; n < hop + fade; n++) {
        const int64_t dividend = window_product(n, hop, fade) * (INT64_C(1) << 31);
        window[n] = (int32_t)((dividend + analysis[n] / 2) / analysis[n]);
    }
}

int edgesep_frontend_init(void *memory, size_t size, const edgesep_contract *contract) {
    const size_t needed = edgesep_frontend_size(contract);
    if (needed == 0) {
        return EDGESEP_BAD_CONTRACT;
    }
    if (memory == NULL || size < needed || (uintptr_t)memory % 8 != 0) {
        return EDGESEP_BAD_MEMORY;
    }
    edgesep_frontend *f = memory;
    memset(f, 0, needed);
    f->hop = contract->hop_samples;
    f->fade = contract->fade_samples;
    f->channels = contract->channels;
    f->bands = contract->bands;
    f->floor_rise_shift = contract->floor_rise_shift;
    f->floor_fall_shift = contract->floor_fall_shift;
    memcpy(f->edges, contract->band_edges, ((size_t)f->bands + 1) * sizeof *f->edges);
    fill_window(f->window, f->hop, f->fade);
    f->ready = READY;
    return edgesep_frontend_reset(f);
}

int edgesep_frontend_reset(edgesep_frontend *frontend) {
    if (frontend == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (frontend->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    memset(frontend->channel, 0, (size_t)frontend->channels * sizeof *frontend->channel);
    for (int32_t b = 0; b < frontend->bands; b++) {
        frontend->floors[b] = EDGESEP_FLOOR_START;
    }
    return EDGESEP_OK;
}

/* Shift a hop into the channel's history and transform it. */
static void take_hop(edgesep_frontend *f, channel *c, const int16_t *hop) {
    const size_t kept = EDGESEP_WINDOW - (size_t)f->hop;
    memmove(c->history, c->history + f->hop, kept * sizeof *c->history);
    memcpy(c->history + kept, hop, (size_t)f->hop * sizeof *hop);
    c->sounding = edgesep_analyse_frame(c->history, &c->spectrum, &f->scratch);
}

static int power_scale(const channel *c) {
    return 2 * (c->spectrum.exponent + 6);
}

/* Largest scale of all channels that sound; 0 if none does. */
static int common_scale(const edgesep_frontend *f) {
    int scale = 0;
    int found = 0;
    for (int32_t i = 0; i < f->channels; i++) {
        const channel *c = &f->channel[i];
        if (c->sounding && (!found || power_scale(c) > scale)) {
            scale = power_scale(c);
            found = 1;
        }
    }
    return scale;
}

/* Power of each band, the mean of all channels, in units of 2^scale. */
static void mean_power(const edgesep_frontend *f, int scale, uint64_t *power) {
    memset(power, 0, (size_t)f->bands * sizeof *power);
    for (int32_t i = 0; i < f->channels; i++) {
        const channel *c = &f->channel[i];
        const int shift = scale - power_scale(c);
        if (c->sounding && shift < 64) {
            edgesep_add_band_power(&c->spectrum, f->edges, f->bands, shift, power);
        }
    }
    if (f->channels > 1) {
        for (int32_t b = 0; b < f->bands; b++) {
            power[b] /= (uint64_t)f->channels;
        }
    }
}

int edgesep_analyse(edgesep_frontend *frontend, const int16_t *hop, int8_t *features) {
    if (frontend == NULL || hop == NULL || features == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (frontend->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    edgesep_frontend *f = frontend;
    int32_t sounding = 0;
    for (int32_t i = 0; i < f->channels; i++) {
        take_hop(f, &f->channel[i], hop + i * f->hop);
        sounding |= f->channel[i].sounding;
    }
    if (sounding == 0) { /* the floors would fall to nothing, and take seconds to rise again */
        memset(features, INT8_MIN, 2 * (size_t)f->bands);
        return EDGESEP_OK;
    }
    uint64_t *power = f->passing.analysis.power;
    int32_t *levels = f->passing.analysis.levels;
    const int scale = common_scale(f);
    mean_power(f, scale, power);
    edgesep_levels_q8(power, f->bands, scale, levels);
    edgesep_track_and_quantise(levels, f->bands, f->floor_rise_shift, f->floor_fall_shift,
                               f->floors, features);
    return EDGESEP_OK;
}

/* Spread the gain of each band over its bins. */
static int spread_gains(const edgesep_frontend *f, const int8_t *mask, const uint16_t *gains_q15,
                        int32_t *bin_gains) {
    for (int32_t b = 0; b < f->bands; b++) {
        const int32_t gain = gains_q15[mask[b] + 128];
        if (gain > EDGESEP_UNITY_Q15) {
            return EDGESEP_BAD_GAIN;
        }
        const int first = f->edges[b];
        bin_gains[first] = fx_shl(gain, 15);
        for (int k = first + 1; k < f->edges[b + 1]; k++) { /* often there is no more */
            bin_gains[k] = fx_shl(gain, 15);
        }
    }
    return EDGESEP_OK;
}

int edgesep_synthesise(edgesep_frontend *frontend, const int8_t *mask, const uint16_t *gains_q15,
                       int16_t *hop) {
    if (frontend == NULL || mask == NULL || gains_q15 == NULL || hop == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (frontend->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    edgesep_frontend *f = frontend;
    edgesep_block *masked = &f->passing.synthesis.masked;
    int32_t *bin_gains = f->passing.synthesis.bin_gains;
    int32_t *samples = f->passing.synthesis.samples;
    const int status = spread_gains(f, mask, gains_q15, bin_gains);
    if (status != EDGESEP_OK) {
        return status;
    }
    for (int32_t i = 0; i < f->channels; i++) {
        channel *c = &f->channel[i];
        const uint32_t extent = edgesep_apply_gains(&c->spectrum, bin_gains, masked);
        edgesep_synthesise_frame(masked, &f->scratch, extent);
        edgesep_window_frame(masked, f->window, f->hop + f->fade, samples);
        edgesep_overlap_add(samples, c->tail, f->hop, f->fade, hop + i * f->hop);
    }
    return EDGESEP_OK;
}
