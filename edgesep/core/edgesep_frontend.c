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
    int32_t floor[EDGESEP_BINS];   /* bands used, Q16 */
    uint16_t edges[EDGESEP_BINS + 1];
    edgesep_block work, scratch;
    int32_t bin_gains[EDGESEP_BINS];  /* Q15 */
    int32_t samples[MAX_SYNTHESIS];   /* ten fraction bits */
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
        return "frontend not initialised";
    case EDGESEP_BAD_GAIN:
        return "gain above 32768";
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
        frontend->floor[b] = EDGESEP_FLOOR_START;
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

/* Power of a band, the mean of all channels, in units of 2^scale. */
static uint64_t mean_power(const edgesep_frontend *f, int first, int last, int scale) {
    uint64_t sum = 0;
    for (int32_t i = 0; i < f->channels; i++) {
        const channel *c = &f->channel[i];
        const int shift = c->sounding ? scale - power_scale(c) : 64;
        sum += shift < 64 ? edgesep_band_power(&c->spectrum, first, last) >> shift : 0;
    }
    return f->channels == 1 ? sum : sum / (uint64_t)f->channels;
}

int edgesep_analyse(edgesep_frontend *frontend, const int16_t *hop, int8_t *features) {
    if (frontend == NULL || hop == NULL || features == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (frontend->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    edgesep_frontend *f = frontend;
    for (int32_t i = 0; i < f->channels; i++) {
        take_hop(f, &f->channel[i], hop + i * f->hop);
    }
    const int scale = common_scale(f);
    for (int32_t b = 0; b < f->bands; b++) {
        const uint64_t power = mean_power(f, f->edges[b], f->edges[b + 1], scale);
        const int32_t level = edgesep_level_q8(power, scale);
        f->floor[b] =
            edgesep_track_floor(f->floor[b], level, f->floor_rise_shift, f->floor_fall_shift);
        edgesep_quantise_features(level, f->floor[b], features + 2 * b);
    }
    return EDGESEP_OK;
}

/* Spread the gain of each band over its bins. */
static int spread_gains(edgesep_frontend *f, const int8_t *mask, const uint16_t *gains_q15) {
    for (int32_t b = 0; b < f->bands; b++) {
        const int32_t gain = gains_q15[mask[b] + 128];
        if (gain > EDGESEP_UNITY_Q15) {
            return EDGESEP_BAD_GAIN;
        }
        for (int k = f->edges[b]; k < f->edges[b + 1]; k++) {
            f->bin_gains[k] = gain;
        }
    }
    return EDGESEP_OK;
}

/* Add the tail of the hop before, round to int16, keep the new tail. */
EDGESEP_HOT
static void overlap_add(int32_t *restrict samples, int32_t *restrict tail, int32_t hop_samples,
                        int32_t fade, int16_t *restrict hop) {
    for (int32_t n = 0; n < fade; n++) {
        samples[n] += tail[n];
        tail[n] = samples[hop_samples + n];
    }
    const int32_t half = 1 << (EDGESEP_FRACTION_BITS - 1);
    for (int32_t n = 0; n < hop_samples; n++) {
        hop[n] = fx_sat16((samples[n] + half) >> EDGESEP_FRACTION_BITS);
    }
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
    const int status = spread_gains(f, mask, gains_q15);
    if (status != EDGESEP_OK) {
        return status;
    }
    for (int32_t i = 0; i < f->channels; i++) {
        channel *c = &f->channel[i];
        edgesep_apply_gains(&c->spectrum, f->bin_gains, &f->work);
        edgesep_synthesise_frame(&f->work, &f->scratch);
        edgesep_window_frame(&f->work, f->window, f->hop + f->fade, f->samples);
        overlap_add(f->samples, c->tail, f->hop, f->fade, hop + i * f->hop);
    }
    return EDGESEP_OK;
}
