/* Frames and spectra; see edgesep_frame.h. */
#include "edgesep_frame.h"

#include <stddef.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

/* Two synthesised samples and the rounding offset fit an int32. */
#define SAMPLE_LIMIT ((1 << 30) - 512)

/* The largest exponent, either way, that edgesep_inverse takes. */
#define EXPONENT_LIMIT 4096

/* Fill z with the windowed frame, even samples real and odd ones imaginary; 0 if it is silent. */
EDGESEP_HOT
static int window_in(const int16_t *restrict frame, int32_t *restrict re, int32_t *restrict im,
                     int32_t *exponent) {
    int32_t bits = 0;
    int32_t any = 0;
    for (int n = 0; n < EDGESEP_WINDOW; n++) {
        bits |= fx_magnitude_bits(frame[n]);
        any |= frame[n];
    }
    if (any == 0) {
        return 0;
    }
    const int shift = 31 - fx_bit_length32((uint32_t)bits);
    const int32_t *window = edgesep_analysis_window_q31;
    for (int n = 0; n < EDGESEP_BINS; n++) {
        re[n] = fx_mulhr(fx_shl(frame[2 * n], shift), window[2 * n]);
        im[n] = fx_mulhr(fx_shl(frame[2 * n + 1], shift), window[2 * n + 1]);
    }
    *exponent = 1 - shift;
    return 1;
}

int edgesep_analyse_frame(const int16_t *frame, edgesep_block *spectrum, edgesep_block *scratch) {
    if (!window_in(frame, spectrum->re, spectrum->im, &spectrum->exponent)) {
        memset(spectrum, 0, sizeof *spectrum);
        return 0;
    }
    edgesep_fft256(spectrum, scratch);
    edgesep_split(spectrum);
    return 1;
}

void edgesep_synthesise_frame(edgesep_block *spectrum, edgesep_block *scratch) {
    edgesep_unsplit(spectrum);
    edgesep_ifft256(spectrum, scratch);
}

EDGESEP_HOT
static void window_out(const int32_t *restrict re, const int32_t *restrict im,
                       const int32_t *restrict window, int pairs, int shift,
                       int32_t *restrict samples) {
    for (int n = 0; n < pairs; n++) {
        const int32_t even = fx_rshr(fx_mulhr(re[n], window[2 * n]), shift);
        const int32_t odd = fx_rshr(fx_mulhr(im[n], window[2 * n + 1]), shift);
        samples[2 * n] = fx_clamp(even, -SAMPLE_LIMIT, SAMPLE_LIMIT);
        samples[2 * n + 1] = fx_clamp(odd, -SAMPLE_LIMIT, SAMPLE_LIMIT);
    }
}

/* A frame whose exponent calls for a left shift: rare, for its samples are all but zero. */
static void window_out_left(const int32_t *re, const int32_t *im, const int32_t *window, int pairs,
                            int shift, int32_t *samples) {
    const int64_t factor = INT64_C(1) << (shift < 31 ? shift : 31);
    for (int n = 0; n < 2 * pairs; n++) {
        const int32_t sample = n % 2 == 0 ? re[n / 2] : im[n / 2];
        const int64_t shifted = fx_mulhr(sample, window[n]) * factor;
        samples[n] = (int32_t)(shifted > SAMPLE_LIMIT    ? SAMPLE_LIMIT
                               : shifted < -SAMPLE_LIMIT ? -SAMPLE_LIMIT
                                                         : shifted);
    }
}

void edgesep_window_frame(const edgesep_block *frame, const int32_t *window, int count,
                          int32_t *samples) {
    const int pairs = count / 2;
    const int32_t *re = frame->re + EDGESEP_BINS - pairs;
    const int32_t *im = frame->im + EDGESEP_BINS - pairs;
    const int shift = -(frame->exponent + 2 + EDGESEP_FRACTION_BITS); /* window is Q30: 2 */
    if (shift > 31) {                                                 /* rounds an int32 to 0 */
        memset(samples, 0, (size_t)count * sizeof *samples);
    } else if (shift > 0) {
        window_out(re, im, window, pairs, shift, samples);
    } else {
        window_out_left(re, im, window, pairs, -shift, samples);
    }
}

int edgesep_forward(const int16_t *frames, int count, int32_t *re, int32_t *im, int32_t *exponent) {
    if (frames == NULL || re == NULL || im == NULL || exponent == NULL || count < 0) {
        return EDGESEP_BAD_ARGUMENT;
    }
    edgesep_block block, scratch;
    for (int i = 0; i < count; i++) {
        edgesep_analyse_frame(frames + (size_t)i * EDGESEP_WINDOW, &block, &scratch);
        memcpy(re + (size_t)i * EDGESEP_BINS, block.re, sizeof block.re);
        memcpy(im + (size_t)i * EDGESEP_BINS, block.im, sizeof block.im);
        exponent[i] = block.exponent;
    }
    return EDGESEP_OK;
}

int edgesep_inverse(const int32_t *re, const int32_t *im, const int32_t *exponent, int count,
                    int32_t *samples, int32_t *out_exponent) {
    if (re == NULL || im == NULL || exponent == NULL || samples == NULL || out_exponent == NULL ||
        count < 0) {
        return EDGESEP_BAD_ARGUMENT;
    }
    edgesep_block block, scratch;
    for (int i = 0; i < count; i++) {
        if (exponent[i] < -EXPONENT_LIMIT || exponent[i] > EXPONENT_LIMIT) {
            return EDGESEP_BAD_ARGUMENT;
        }
        memcpy(block.re, re + (size_t)i * EDGESEP_BINS, sizeof block.re);
        memcpy(block.im, im + (size_t)i * EDGESEP_BINS, sizeof block.im);
        block.exponent = exponent[i];
        edgesep_synthesise_frame(&block, &scratch);
        for (int n = 0; n < EDGESEP_BINS; n++) {
            samples[(size_t)i * EDGESEP_WINDOW + 2 * (size_t)n] = block.re[n];
            samples[(size_t)i * EDGESEP_WINDOW + 2 * (size_t)n + 1] = block.im[n];
        }
        out_exponent[i] = block.exponent;
    }
    return EDGESEP_OK;
}
