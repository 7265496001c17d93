/* The int8 kernels in plain C: the reference of the other forms; edgesep_dot.h has the rest.
 *
 * A patch holds int16, so that compilers turn the products into pmaddwd or smlal.
 */
#ifndef EDGESEP_DOT_PORTABLE_H
#define EDGESEP_DOT_PORTABLE_H

#include <stdint.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_kernels.h"

#define PATCHES 1
#define PATCH_STEP(count) 1
#define PATCH_OFFSET(f, n) 0
#define PATCH_DIRECT 0
#define EIGHT 8  /* channels that every vector unit takes at once */
#define BLOCK 64 /* output channels summed before they are rescaled */

typedef int16_t edgesep_value;

EDGESEP_INLINE void patch_put(edgesep_value *restrict patch, int32_t step, int32_t place,
                              const int8_t *restrict x, int32_t count) {
    (void)step;
    for (int32_t k = 0; k < count; k++) {
        patch[place + k] = x[k];
    }
}

EDGESEP_INLINE void patch_set(edgesep_value *patch, int32_t place, int32_t value) {
    patch[place] = (int16_t)value;
}

/* Scale, shift and clamp sums to int8. */
EDGESEP_INLINE void rescale(const edgesep_filter *f, const int32_t *restrict sums, int32_t first,
                            int32_t count, int8_t *restrict output) {
    const int32_t *multiplier = f->multiplier + first;
    const int8_t *shift = f->shift + first;
    const int32_t zero = f->out_zero;
    const int32_t low = f->low;
    if (f->right_only) {
        for (int32_t c = 0; c < count; c++) {
            const int32_t scaled = fx_scale_right(sums[c], multiplier[c], shift[c]);
            output[c] = (int8_t)fx_clamp(scaled + zero, low, 127);
        }
    } else {
        for (int32_t c = 0; c < count; c++) {
            const int32_t scaled = fx_scale(sums[c], multiplier[c], shift[c]);
            output[c] = (int8_t)fx_clamp(scaled + zero, low, 127);
        }
    }
}

/* Add the products of a patch with `rows` rows of weights to sums[rows]. */
EDGESEP_INLINE void dot_rows(const edgesep_value *restrict patch, const int8_t *restrict weights,
                             int32_t row_bytes, int32_t rows, int32_t *restrict sums) {
    for (int32_t row = 0; row < rows; row++, weights += row_bytes) {
        int32_t sum = sums[row];
        for (int32_t k = 0; k < (row_bytes & -EDGESEP_ROW_ALIGN); k++) { /* tells: no remainder */
            sum += patch[k] * weights[k];
        }
        sums[row] = sum;
    }
}

/* All output channels of one position. */
EDGESEP_INLINE void convolve_positions(const edgesep_filter *f, const edgesep_value *patch,
                                       int32_t apart, int32_t count, int8_t *output) {
    int32_t sums[BLOCK];
    (void)apart;
    (void)count;
    for (int32_t first = 0; first < f->out_channels; first += BLOCK) {
        const int32_t rest = f->out_channels - first;
        const int32_t rows = rest < BLOCK ? rest : BLOCK;
        memcpy(sums, f->bias + first, (size_t)rows * sizeof *sums);
        dot_rows(patch, f->weights + first * f->row_bytes, f->row_bytes, rows, sums);
        rescale(f, sums, first, rows, output + first);
    }
}

/* Add one kernel position to the sums of `count` channels, a multiple of EIGHT. */
EDGESEP_INLINE void add_tap(const int8_t *restrict x, const int8_t *restrict w, int32_t count,
                            int32_t *restrict sums) {
    for (int32_t c = 0; c < (count & -EIGHT); c++) { /* tells: no remainder */
        sums[c] += x[c] * w[c];
    }
}

/* All channels of one position. Up to seven more are summed, which are not used. */
EDGESEP_INLINE void depthwise_one(const edgesep_filter *f, const int8_t *x, edgesep_taps taps,
                                  int8_t *output) {
    const int32_t channels = f->out_channels;
    int32_t sums[BLOCK];
    for (int32_t first = 0; first < channels; first += BLOCK) {
        const int32_t rest = channels - first;
        const int32_t count = rest < BLOCK ? rest : BLOCK;
        const int32_t filled = (count + EIGHT - 1) & -EIGHT;
        const int8_t *w = f->weights + first;
        memset(sums + filled - EIGHT, 0, EIGHT * sizeof *sums);
        memcpy(sums, f->bias + first, (size_t)count * sizeof *sums);
        for (int32_t i = 0; i < taps.rows; i++) {
            const int8_t *row = x + i * taps.row_stride + first;
            for (int32_t j = 0; j < taps.columns; j++, w += channels) {
                add_tap(row + j * channels, w, filled, sums);
            }
        }
        rescale(f, sums, first, count, output + first);
    }
}

/* All channels of some positions, `step` bytes apart. */
EDGESEP_INLINE void depthwise_positions(const edgesep_filter *f, const int8_t *x, int32_t step,
                                        edgesep_taps taps, int32_t count, int8_t *output) {
    for (int32_t n = 0; n < count; n++) {
        depthwise_one(f, x + n * step, taps, output + n * f->out_channels);
    }
}

EDGESEP_INLINE void add_values(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                               int8_t *output) {
    const edgesep_sum s = *sum; /* output may not alias it then */
    for (int32_t n = 0; n < s.count; n++) {
        const int32_t a = (first[n] - s.first_zero) * (1 << EDGESEP_SUM_LEFT_SHIFT);
        const int32_t b = (second[n] - s.second_zero) * (1 << EDGESEP_SUM_LEFT_SHIFT);
        const int32_t total = fx_scale(a, s.first_scale.multiplier, s.first_scale.shift) +
                              fx_scale(b, s.second_scale.multiplier, s.second_scale.shift);
        const int32_t scaled = fx_scale(total, s.out_scale.multiplier, s.out_scale.shift);
        output[n] = (int8_t)fx_clamp(scaled + s.out_zero, s.low, 127);
    }
}

#endif
