/* Int8 kernels; see edgesep_kernels.h. */
#include "edgesep_kernels.h"

#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_dot.h"
#include "edgesep_fixed.h"

#define BLOCK 64          /* output channels summed before they are rescaled */
#define SUM_LEFT_SHIFT 20 /* fraction bits of the terms of a sum */

#if defined(EDGESEP_HELIUM)

/* fx_scale of four numbers: VQRDMULH is its first rounding, VRSHL after the tie its second. */
EDGESEP_INLINE int32x4_t scale4(int32x4_t x, int32x4_t multiplier, int32x4_t shift) {
    const int32x4_t none = vdupq_n_s32(0);
    const int32x4_t left = vmaxq_s32(vnegq_s32(shift), none);
    const int32x4_t right = vminq_s32(vnegq_s32(shift), none); /* -30 .. 0 */
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(x, left), multiplier);
    const int32x4_t tie = vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(right, 31));
    return vrshlq_s32(vaddq_s32(high, tie), right);
}

/* The same for shifts 1 .. 31. */
EDGESEP_INLINE int32x4_t scale4_right(int32x4_t x, int32x4_t multiplier, int32x4_t shift) {
    const int32x4_t high = vqrdmulhq_s32(x, multiplier);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), vnegq_s32(shift));
}

EDGESEP_INLINE int32x4_t clamp4(int32x4_t x, int32_t zero, int32_t low) {
    return vminq_s32(vmaxq_s32(vaddq_n_s32(x, zero), vdupq_n_s32(low)), vdupq_n_s32(127));
}

/* Scale, shift and clamp sums to int8. */
EDGESEP_INLINE void rescale(const edgesep_filter *f, const int32_t *sums, int32_t first,
                            int32_t count, int8_t *output) {
    const int32_t *multipliers = f->multiplier + first;
    const int8_t *shifts = f->shift + first;
    const int32_t zero = f->out_zero;
    const int32_t low = f->low;
    const int32_t right_only = f->right_only;
    for (int32_t c = 0; c < count; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - c));
        const int32x4_t multiplier = vldrwq_z_s32(multipliers + c, lanes);
        const int32x4_t shift = vldrbq_z_s32(shifts + c, lanes);
        const int32x4_t sum = vldrwq_z_s32(sums + c, lanes);
        const int32x4_t scaled =
            right_only ? scale4_right(sum, multiplier, shift) : scale4(sum, multiplier, shift);
        vstrbq_p_s32(output + c, clamp4(scaled, zero, low), lanes);
    }
}

#else

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

#endif

/* Lay out what the kernel sees from row `top`, position `left` on: [height][width][channels]. */
EDGESEP_INLINE void gather(const edgesep_filter *f, const int8_t *input, int32_t top, int32_t left,
                           edgesep_patch *patch) {
    const int32_t row_values = f->kernel_width * f->in_channels;
    const int32_t first = (left < 0 ? -left : 0) * f->in_channels;
    const int32_t room = (f->in_width - left) * f->in_channels;
    const int32_t last = room < row_values ? room : row_values;
    int32_t place = 0;
    for (int32_t row = top; row < top + f->kernel_height; row++, place += row_values) {
        if (row < 0 || row >= f->in_height || first >= last) {
            patch_fill(patch, place, f->in_zero, row_values);
            continue;
        }
        const int8_t *source = input + (row * f->in_width + left) * f->in_channels + first;
        patch_fill(patch, place, f->in_zero, first);
        patch_put(patch, place + first, source, last - first);
        patch_fill(patch, place + last, f->in_zero, row_values - last);
    }
}

/* One output position, or two side by side that share the loads of the weights. */
EDGESEP_INLINE void convolve_at(const edgesep_filter *f, const edgesep_patch *patch, int32_t pair,
                                int8_t *output) {
    const int32_t values = f->kernel_height * f->kernel_width * f->in_channels;
    int32_t sums[2][BLOCK];
    for (int32_t first = 0; first < f->out_channels; first += BLOCK) {
        const int32_t rest = f->out_channels - first;
        const int32_t count = rest < BLOCK ? rest : BLOCK;
        const int8_t *weights = f->weights + first * f->row_bytes;
        memcpy(sums[0], f->bias + first, (size_t)count * sizeof **sums);
        if (pair) {
            memcpy(sums[1], f->bias + first, (size_t)count * sizeof **sums);
            patch_multiply_pair(patch, f->row_bytes, values, weights, f->row_bytes, count, sums[0],
                                sums[1]);
            rescale(f, sums[1], first, count, output + f->out_channels + first);
        } else {
            patch_multiply(patch, values, weights, f->row_bytes, count, sums[0]);
        }
        rescale(f, sums[0], first, count, output + first);
    }
}

EDGESEP_HOT
void edgesep_convolve(const edgesep_filter *f, const int8_t *input, int16_t *scratch,
                      int8_t *output) {
    edgesep_patch *patch = (edgesep_patch *)scratch;
    for (int32_t y = 0; y < f->out_height; y++) {
        const int32_t top = y * f->stride_height - f->pad_top;
        int32_t x = 0;
        for (; x + 2 <= f->out_width; x += 2, output += 2 * f->out_channels) {
            const int32_t left = x * f->stride_width - f->pad_left;
            gather(f, input, top, left, patch);
            gather(f, input, top, left + f->stride_width, patch + f->row_bytes);
            convolve_at(f, patch, 1, output);
        }
        for (; x < f->out_width; x++, output += f->out_channels) {
            gather(f, input, top, x * f->stride_width - f->pad_left, patch);
            convolve_at(f, patch, 0, output);
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

/* Where a depthwise kernel lies, and which of its rows and columns are over the input: what lies
 * outside holds the zero point and adds nothing. */
typedef struct position {
    int32_t top, left;
    int32_t first_row, last_row, first_column, last_column; /* last: one behind */
} position;

EDGESEP_INLINE position locate(const edgesep_filter *f, int32_t top, int32_t left) {
    const int32_t rows = f->in_height - top;
    const int32_t columns = f->in_width - left;
    const position p = {
        .top = top,
        .left = left,
        .first_row = top < 0 ? -top : 0,
        .last_row = rows < f->kernel_height ? rows : f->kernel_height,
        .first_column = left < 0 ? -left : 0,
        .last_column = columns < f->kernel_width ? columns : f->kernel_width,
    };
    return p;
}

/* What lies under row i, column j of the kernel; its weights. */
EDGESEP_INLINE const int8_t *input_at(const edgesep_filter *f, const int8_t *input, position p,
                                      int32_t i, int32_t j) {
    return input + ((p.top + i) * f->in_width + p.left + j) * f->in_channels;
}

EDGESEP_INLINE const int8_t *weights_at(const edgesep_filter *f, int32_t i, int32_t j) {
    return f->weights + (i * f->kernel_width + j) * f->out_channels;
}

/* Sums of `count` output channels from `first` on. */
EDGESEP_INLINE void sum_taps(const edgesep_filter *f, const int8_t *input, position p,
                             int32_t first, int32_t count, int32_t *sums) {
    memcpy(sums, f->bias + first, (size_t)count * sizeof *sums);
    for (int32_t i = p.first_row; i < p.last_row; i++) {
        for (int32_t j = p.first_column; j < p.last_column; j++) {
            add_tap(f, input_at(f, input, p, i, j), weights_at(f, i, j), first, count, sums);
        }
    }
}

#if defined(EDGESEP_HELIUM)

/* The same for one input channel to an output channel and a multiple of four of them. */
EDGESEP_INLINE void sum_taps_by_four(const edgesep_filter *f, const int8_t *input, position p,
                                     int32_t first, int32_t count, int32_t *sums) {
    for (int32_t c = 0; c < count; c += 4) {
        int32x4_t sum = vldrwq_s32(f->bias + first + c);
        for (int32_t i = p.first_row; i < p.last_row; i++) {
            const int8_t *x = input_at(f, input, p, i, p.first_column) + first + c;
            const int8_t *w = weights_at(f, i, p.first_column) + first + c;
            for (int32_t j = p.first_column; j < p.last_column; j++) {
                const int32x4_t centred = vsubq_n_s32(vldrbq_s32(x), f->in_zero);
                sum = vaddq_s32(sum, vmulq_s32(centred, vldrbq_s32(w)));
                x += f->in_channels;
                w += f->out_channels;
            }
        }
        vstrwq_s32(sums + c, sum);
    }
}

#elif defined(EDGESEP_DSP)

/* The same for one input channel to an output channel and a multiple of four of them. */
EDGESEP_INLINE void sum_taps_by_four(const edgesep_filter *f, const int8_t *input, position p,
                                     int32_t first, int32_t count, int32_t *sums) {
    const uint32_t zeros = ((uint32_t)f->in_zero & 0xFFFFu) * 0x10001u;
    for (int32_t c = 0; c < count; c += 4) {
        const int32_t *bias = f->bias + first + c;
        int32_t a0 = bias[0], a1 = bias[1], a2 = bias[2], a3 = bias[3];
        for (int32_t i = p.first_row; i < p.last_row; i++) {
            const int8_t *x = input_at(f, input, p, i, p.first_column) + first + c;
            const int8_t *w = weights_at(f, i, p.first_column) + first + c;
            for (int32_t j = p.first_column; j < p.last_column; j++) {
                const uint32_t xx = load_word(x), ww = load_word(w);
                const uint32_t even = subtract_halves(even_bytes(xx), zeros);
                const uint32_t odd = subtract_halves(odd_bytes(xx), zeros);
                a0 = multiply_low(even, even_bytes(ww), a0);
                a1 = multiply_low(odd, odd_bytes(ww), a1);
                a2 = multiply_high(even, even_bytes(ww), a2);
                a3 = multiply_high(odd, odd_bytes(ww), a3);
                x += f->in_channels;
                w += f->out_channels;
            }
        }
        sums[c] = a0;
        sums[c + 1] = a1;
        sums[c + 2] = a2;
        sums[c + 3] = a3;
    }
}

#endif

EDGESEP_HOT
void edgesep_convolve_depthwise(const edgesep_filter *f, const int8_t *input, int8_t *output) {
    int32_t sums[BLOCK];
    for (int32_t y = 0; y < f->out_height; y++) {
        for (int32_t x = 0; x < f->out_width; x++) {
            const position p =
                locate(f, y * f->stride_height - f->pad_top, x * f->stride_width - f->pad_left);
            for (int32_t first = 0; first < f->out_channels; first += BLOCK) {
                const int32_t rest = f->out_channels - first;
                const int32_t count = rest < BLOCK ? rest : BLOCK;
#if defined(EDGESEP_HELIUM) || defined(EDGESEP_DSP)
                if (f->in_channels == f->out_channels && f->out_channels % 4 == 0) {
                    sum_taps_by_four(f, input, p, first, count, sums);
                } else
#endif
                {
                    sum_taps(f, input, p, first, count, sums);
                }
                rescale(f, sums, first, count, output + first);
            }
            output += f->out_channels;
        }
    }
}

#if defined(EDGESEP_HELIUM)

EDGESEP_INLINE int32x4_t scaled_term(const int8_t *x, mve_pred16_t lanes, int32_t zero,
                                     edgesep_scale scale) {
    const int32x4_t centred = vsubq_n_s32(vldrbq_z_s32(x, lanes), zero);
    return scale4(vshlq_n_s32(centred, SUM_LEFT_SHIFT), vdupq_n_s32(scale.multiplier),
                  vdupq_n_s32(scale.shift));
}

void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                 int8_t *output) {
    const edgesep_sum s = *sum;
    for (int32_t n = 0; n < s.count; n += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(s.count - n));
        const int32x4_t a = scaled_term(first + n, lanes, s.first_zero, s.first_scale);
        const int32x4_t b = scaled_term(second + n, lanes, s.second_zero, s.second_scale);
        const int32x4_t scaled = scale4(vaddq_s32(a, b), vdupq_n_s32(s.out_scale.multiplier),
                                        vdupq_n_s32(s.out_scale.shift));
        vstrbq_p_s32(output + n, clamp4(scaled, s.out_zero, s.low), lanes);
    }
}

#else

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

#endif
