/* Int8 kernels; see edgesep_kernels.h. */
#include "edgesep_kernels.h"

#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"

#define BLOCK 64          /* output channels summed before they are rescaled */
#define SUM_LEFT_SHIFT 20 /* fraction bits of the terms of a sum */

/* Scale, shift and clamp sums to int8. */
EDGESEP_INLINE void rescale(const edgesep_filter *f, const int32_t *restrict sums, int32_t first,
                            int32_t count, int8_t *restrict output) {
    const int32_t *multiplier = f->multiplier + first;
    const int8_t *shift = f->shift + first;
    const int32_t zero = f->out_zero;
    const int32_t low = f->low;
    for (int32_t c = 0; c < count; c++) {
        output[c] = (int8_t)fx_clamp(fx_scale(sums[c], multiplier[c], shift[c]) + zero, low, 127);
    }
}

EDGESEP_INLINE int32_t dot(const int16_t *restrict x, const int8_t *restrict w, int32_t count) {
    int32_t sum = 0;
    for (int32_t k = 0; k < (count & -EDGESEP_ROW_ALIGN); k++) { /* tells: no remainder */
        sum += x[k] * w[k];
    }
    return sum;
}

EDGESEP_INLINE void widen(const int8_t *restrict x, int32_t count, int16_t *restrict y) {
    for (int32_t k = 0; k < count; k++) {
        y[k] = x[k];
    }
}

EDGESEP_INLINE void fill(int16_t value, int32_t count, int16_t *restrict y) {
    for (int32_t k = 0; k < count; k++) {
        y[k] = value;
    }
}

/* Lay out what the kernel sees from row `top`, position `left` on: [height][width][channels]. */
EDGESEP_INLINE void gather(const edgesep_filter *f, const int8_t *input, int32_t top, int32_t left,
                           int16_t *patch) {
    const int16_t zero = (int16_t)f->in_zero;
    const int32_t row_values = f->kernel_width * f->in_channels;
    const int32_t first = (left < 0 ? -left : 0) * f->in_channels;
    const int32_t room = (f->in_width - left) * f->in_channels;
    const int32_t last = room < row_values ? room : row_values;
    for (int32_t row = top; row < top + f->kernel_height; row++, patch += row_values) {
        if (row < 0 || row >= f->in_height || first >= last) {
            fill(zero, row_values, patch);
            continue;
        }
        const int8_t *source = input + (row * f->in_width + left) * f->in_channels + first;
        fill(zero, first, patch);
        widen(source, last - first, patch + first);
        fill(zero, row_values - last, patch + last);
    }
}

EDGESEP_HOT
void edgesep_convolve(const edgesep_filter *f, const int8_t *input, int16_t *patch,
                      int8_t *output) {
    int32_t sums[BLOCK];
    for (int32_t y = 0; y < f->out_height; y++) {
        for (int32_t x = 0; x < f->out_width; x++) {
            gather(f, input, y * f->stride_height - f->pad_top, x * f->stride_width - f->pad_left,
                   patch);
            for (int32_t first = 0; first < f->out_channels; first += BLOCK) {
                const int32_t left = f->out_channels - first;
                const int32_t count = left < BLOCK ? left : BLOCK;
                const int8_t *weights = f->weights + first * f->row_bytes;
                for (int32_t c = 0; c < count; c++, weights += f->row_bytes) {
                    sums[c] = f->bias[first + c] + dot(patch, weights, f->row_bytes);
                }
                rescale(f, sums, first, count, output + first);
            }
            output += f->out_channels;
        }
    }
}

/* Add one kernel position to the sums of `count` output channels from `first` on. */
EDGESEP_INLINE void add_tap(const edgesep_filter *f, const int8_t *restrict x,
                            const int8_t *restrict w, int32_t first, int32_t count,
                            int32_t *restrict sums) {
    const int32_t zero = f->in_zero;
    if (f->in_channels == f->out_channels) {
        for (int32_t c = 0; c < count; c++) {
            sums[c] += (x[first + c] - zero) * w[first + c];
        }
    } else {
        const int32_t copies = f->out_channels / f->in_channels;
        for (int32_t c = 0; c < count; c++) {
            sums[c] += (x[(first + c) / copies] - zero) * w[first + c];
        }
    }
}

/* Sums of `count` output channels from `first` on, at one output position. */
EDGESEP_INLINE void sum_taps(const edgesep_filter *f, const int8_t *input, int32_t top,
                             int32_t left, int32_t first, int32_t count, int32_t *sums) {
    memcpy(sums, f->bias + first, (size_t)count * sizeof *sums);
    for (int32_t i = 0; i < f->kernel_height; i++) {
        const int32_t row = top + i;
        if (row < 0 || row >= f->in_height) {
            continue; /* the zero point adds nothing */
        }
        for (int32_t j = 0; j < f->kernel_width; j++) {
            const int32_t column = left + j;
            if (column >= 0 && column < f->in_width) {
                const int8_t *x = input + (row * f->in_width + column) * f->in_channels;
                const int8_t *w = f->weights + (i * f->kernel_width + j) * f->out_channels;
                add_tap(f, x, w, first, count, sums);
            }
        }
    }
}

EDGESEP_HOT
void edgesep_convolve_depthwise(const edgesep_filter *f, const int8_t *input, int8_t *output) {
    int32_t sums[BLOCK];
    for (int32_t y = 0; y < f->out_height; y++) {
        for (int32_t x = 0; x < f->out_width; x++) {
            const int32_t top = y * f->stride_height - f->pad_top;
            const int32_t left = x * f->stride_width - f->pad_left;
            for (int32_t first = 0; first < f->out_channels; first += BLOCK) {
                const int32_t rest = f->out_channels - first;
                const int32_t count = rest < BLOCK ? rest : BLOCK;
                sum_taps(f, input, top, left, first, count, sums);
                rescale(f, sums, first, count, output + first);
            }
            output += f->out_channels;
        }
    }
}

EDGESEP_HOT
void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                 int8_t *output) {
    const edgesep_sum s = *sum; /* output may not alias it then */
    for (int32_t n = 0; n < s.count; n++) {
        const int32_t a = (first[n] - s.first_zero) * (1 << SUM_LEFT_SHIFT);
        const int32_t b = (second[n] - s.second_zero) * (1 << SUM_LEFT_SHIFT);
        const int32_t total = fx_scale(a, s.first_scale.multiplier, s.first_scale.shift) +
                              fx_scale(b, s.second_scale.multiplier, s.second_scale.shift);
        const int32_t scaled = fx_scale(total, s.out_scale.multiplier, s.out_scale.shift);
        output[n] = (int8_t)fx_clamp(scaled + s.out_zero, s.low, 127);
    }
}
