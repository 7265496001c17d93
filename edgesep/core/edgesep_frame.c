/* Frames and spectra; see edgesep_frame.h. */
#include "edgesep_frame.h"

#include <stddef.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#if defined(EDGESEP_HELIUM)
#include "edgesep_helium.h"
#endif

/* Two synthesised samples and the rounding offset fit an int32. */
#define SAMPLE_LIMIT ((1 << 30) - 512)

/* The largest exponent, either way, that edgesep_inverse takes. */
#define EXPONENT_LIMIT 4096

#if defined(EDGESEP_HELIUM)

/* The extent of a frame: 0 only if it is silent. */
static uint32_t frame_extent(const int16_t *frame) {
    uint16x8_t largest_of_lane = vdupq_n_u16(0);
    for (int n = 0; n < EDGESEP_WINDOW; n += 8) {
        largest_of_lane = vmaxaq_s16(largest_of_lane, vldrhq_s16(frame + n));
    }
    const uint32_t largest = vmaxvq_u16(0, largest_of_lane);
    if ((largest & (largest - 1)) != 0) {
        return largest << 1;
    }
    uint32_t extent = 0; /* a power of two: from above or from below? */
    for (int n = 0; n < EDGESEP_WINDOW; n++) {
        extent |= fx_extent(frame[n]);
    }
    return extent;
}

/* Fill z with the windowed frame << shift, even samples real and odd ones imaginary. Returns
 * their extent. */
static uint32_t window_in(const int16_t *frame, int shift, edgesep_block *z) {
    const int32_t *window = edgesep_analysis_window_q31;
    uint32_t largest = 0;
    for (int n = 0; n < EDGESEP_BINS; n += 4) {
        const int32x4_t pairs = vreinterpretq_s32_s16(vldrhq_s16(frame + 2 * n));
        const int32x4x2_t w = vld2q_s32(window + 2 * n);
        const int32x4_t even = vrmulhq_s32(vshlq_r_s32(pairs, shift), w.val[0]);
        const int32x4_t odd =
            vrmulhq_s32(vshlq_r_s32(vshrq_n_s32(pairs, 16), shift), w.val[1]);
        vstrwq_s32(z->re + n, even);
        vstrwq_s32(z->im + n, odd);
        largest = vmaxavq_s32(largest, even);
        largest = vmaxavq_s32(largest, odd);
    }
    return helium_extent((const int32_t *)z, 2 * EDGESEP_BINS, largest);
}

#else

/* The extent of a frame: 0 only if it is silent. */
EDGESEP_HOT
static uint32_t frame_extent(const int16_t *frame) {
    uint32_t extent = 0;
#if defined(EDGESEP_DSP)
    for (int n = 0; n < EDGESEP_WINDOW; n += 2) { /* two samples in a word */
        uint32_t pair;
        memcpy(&pair, frame + n, sizeof pair);
        extent |= pair ^ (pair << 1);
    }
    extent = (extent | extent >> 16) & 0xFFFFu;
    if (extent > 1) { /* else the one may stem from a neighbour's sign */
        return extent;
    }
    extent = 0;
#endif
    for (int n = 0; n < EDGESEP_WINDOW; n++) {
        extent |= fx_extent(frame[n]);
    }
    return extent;
}

/* Fill z with the windowed frame << shift, even samples real and odd ones imaginary. Returns
 * their extent. */
EDGESEP_HOT
static uint32_t window_in(const int16_t *restrict frame, int shift, edgesep_block *restrict z) {
    const int32_t *window = edgesep_analysis_window_q31;
    uint32_t extent = 0;
#if defined(EDGESEP_DSP)
#pragma GCC unroll 4
#endif
    for (int n = 0; n < EDGESEP_BINS; n++) {
        const int32_t even = fx_mulhr(fx_shl(frame[2 * n], shift), window[2 * n]);
        const int32_t odd = fx_mulhr(fx_shl(frame[2 * n + 1], shift), window[2 * n + 1]);
        z->re[n] = even;
        z->im[n] = odd;
        extent |= fx_extent(even) | fx_extent(odd);
    }
    return extent;
}

#endif

int edgesep_analyse_frame(const int16_t *frame, edgesep_block *spectrum, edgesep_block *scratch) {
    uint32_t extent = frame_extent(frame);
    if (extent == 0) {
        memset(spectrum, 0, sizeof *spectrum);
        return 0;
    }
    const int shift = 32 - fx_bit_length32(extent);
    spectrum->exponent = 1 - shift;
    extent = window_in(frame, shift, spectrum);
    extent = edgesep_fft256(spectrum, scratch, extent);
    edgesep_split(spectrum, extent);
    return 1;
}

void edgesep_synthesise_frame(edgesep_block *spectrum, edgesep_block *scratch, uint32_t extent) {
    extent = edgesep_unsplit(spectrum, extent);
    edgesep_ifft256(spectrum, scratch, extent);
}

/* High halves of products are at most 2^30: a shift to the right leaves nothing to clamp. */
#if defined(EDGESEP_HELIUM)
static void window_out(const int32_t *even, const int32_t *odd, const int32_t *window, int pairs,
                       int shift, int32_t *samples) {
    for (int n = 0; n < pairs; n += 4) {
        const int32x4x2_t w = vld2q_s32(window + 2 * n);
        int32x4x2_t y = {{vrmulhq_s32(vldrwq_s32(even + n), w.val[0]),
                          vrmulhq_s32(vldrwq_s32(odd + n), w.val[1])}};
        y.val[0] = vrshlq_n_s32(y.val[0], -shift);
        y.val[1] = vrshlq_n_s32(y.val[1], -shift);
        vst2q_s32(samples + 2 * n, y);
    }
}
#else
EDGESEP_HOT
static void window_out(const int32_t *restrict even, const int32_t *restrict odd,
                       const int32_t *restrict window, int pairs, int shift,
                       int32_t *restrict samples) {
    for (int n = 0; n < pairs; n++) {
        samples[2 * n] = fx_rshr(fx_mulhr(even[n], window[2 * n]), shift);
        samples[2 * n + 1] = fx_rshr(fx_mulhr(odd[n], window[2 * n + 1]), shift);
    }
}
#endif

/* A frame whose exponent calls for a left shift: rare, for its samples are all but zero. */
static void window_out_left(const int32_t *even, const int32_t *odd, const int32_t *window,
                            int pairs, int shift, int32_t *samples) {
    const int64_t factor = INT64_C(1) << (shift < 31 ? shift : 31);
    for (int n = 0; n < 2 * pairs; n++) {
        const int32_t sample = n % 2 == 0 ? even[n / 2] : odd[n / 2];
        const int64_t shifted = fx_mulhr(sample, window[n]) * factor;
        samples[n] = (int32_t)(shifted > SAMPLE_LIMIT    ? SAMPLE_LIMIT
                               : shifted < -SAMPLE_LIMIT ? -SAMPLE_LIMIT
                                                         : shifted);
    }
}

void edgesep_window_frame(const edgesep_block *frame, const int32_t *window, int count,
                          int32_t *samples) {
    const int pairs = count / 2; /* a multiple of 16 */
    const int32_t *even = frame->im + EDGESEP_BINS - pairs;
    const int32_t *odd = frame->re + EDGESEP_BINS - pairs;
    const int shift = -(frame->exponent + 2 + EDGESEP_FRACTION_BITS); /* window is Q30: 2 */
    if (shift > 31) {                                                 /* rounds an int32 to 0 */
        memset(samples, 0, (size_t)count * sizeof *samples);
    } else if (shift > 0) {
        window_out(even, odd, window, pairs, shift, samples);
    } else {
        window_out_left(even, odd, window, pairs, -shift, samples);
    }
}

#if defined(EDGESEP_HELIUM)

static void round_four(int32x4_t sum, int16_t *hop) {
    const int16x8_t rounded =
        vqrshrnbq_n_s32(vreinterpretq_s16_s32(sum), sum, EDGESEP_FRACTION_BITS);
    vstrhq_s32(hop, vreinterpretq_s32_s16(rounded));
}

void edgesep_overlap_add(const int32_t *samples, int32_t *tail, int hop_samples, int fade_samples,
                         int16_t *hop) {
    for (int n = 0; n < fade_samples; n += 4) {
        round_four(vaddq_s32(vldrwq_s32(samples + n), vldrwq_s32(tail + n)), hop + n);
        vstrwq_s32(tail + n, vldrwq_s32(samples + hop_samples + n));
    }
    for (int n = fade_samples; n < hop_samples; n += 4) {
        round_four(vldrwq_s32(samples + n), hop + n);
    }
}

#else

EDGESEP_HOT
void edgesep_overlap_add(const int32_t *restrict samples, int32_t *restrict tail, int hop_samples,
                         int fade_samples, int16_t *restrict hop) {
    const int32_t half = 1 << (EDGESEP_FRACTION_BITS - 1);
    for (int n = 0; n < fade_samples; n++) {
        hop[n] = fx_sat16((samples[n] + tail[n] + half) >> EDGESEP_FRACTION_BITS);
        tail[n] = samples[hop_samples + n];
    }
    for (int n = fade_samples; n < hop_samples; n++) {
        hop[n] = fx_sat16((samples[n] + half) >> EDGESEP_FRACTION_BITS);
    }
}

#endif

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
        edgesep_synthesise_frame(&block, &scratch, edgesep_extent(&block));
        for (int n = 0; n < EDGESEP_BINS; n++) {
            samples[(size_t)i * EDGESEP_WINDOW + 2 * (size_t)n] = block.im[n];
            samples[(size_t)i * EDGESEP_WINDOW + 2 * (size_t)n + 1] = block.re[n];
        }
        out_exponent[i] = block.exponent;
    }
    return EDGESEP_OK;
}
