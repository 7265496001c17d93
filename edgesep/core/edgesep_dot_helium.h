/* The int8 kernels with Helium, the vectors of Cortex-M55; edgesep_dot.h has the rest.
 *
 * Weights and activations are multiplied as they lie, sixteen bytes at a time: where the kernel
 * sees bytes in a row, no patch is made. A vector may read up to fifteen bytes past what it needs;
 * the weights under those are zero.
 */
#ifndef EDGESEP_DOT_HELIUM_H
#define EDGESEP_DOT_HELIUM_H

#include <arm_mve.h>
#include <stdint.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_kernels.h"

#define EDGESEP_APART static __attribute__((noinline))
#define PATCHES 2           /* positions that are rescaled together */
#define PATCH_STEP(count) 1 /* patches lie one behind the other */
#define PATCH_OFFSET(f, n) ((n) * (f)->row_bytes)
#define PATCH_DIRECT 1
#define APART __asm__ volatile("" ::: "memory")
#define HELD 6   /* chunks of a patch that registers hold */
#define BLOCK 64 /* output channels summed before they are rescaled */

typedef int8_t edgesep_value;

EDGESEP_INLINE void patch_put(edgesep_value *patch, int32_t step, int32_t place, const int8_t *x,
                              int32_t count) {
    (void)step;
    for (int32_t k = 0; k < count; k += 16) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(count - k));
        vstrbq_p_s8(patch + place + k, vldrbq_z_s8(x + k, lanes), lanes);
    }
}

EDGESEP_INLINE void patch_set(edgesep_value *patch, int32_t place, int32_t value) {
    patch[place] = (int8_t)value;
}

/* --- rounding --------------------------------------------------------------------------------- */

/* fx_scale of four numbers. VQRDMULH is its first rounding, VRSHL after the tie its second.
 * left: the shifts, negative; right_only: none is zero or above. */
EDGESEP_INLINE int32x4_t scale4(int32x4_t x, int32x4_t multiplier, int32x4_t left, int right_only) {
    if (right_only) {
        const int32x4_t high = vqrdmulhq_s32(x, multiplier);
        return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), left);
    }
    const int32x4_t up = vmaxq_s32(left, vdupq_n_s32(0));
    const int32x4_t down = vminq_s32(left, vdupq_n_s32(0));
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(x, up), multiplier);
    const int32x4_t tie = vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(down, 31));
    return vrshlq_s32(vaddq_s32(high, tie), down);
}

/* Four sums without their bias to int8. */
EDGESEP_INLINE int32x4_t rescale4(int32x4_t sums, int32x4_t bias, int32x4_t multiplier,
                                  int32x4_t shift, int32_t zero, int32x4_t low, int right_only) {
    const int32x4_t x = vaddq_s32(sums, bias);
    const int32x4_t scaled = scale4(x, multiplier, vnegq_s32(shift), right_only);
    return vminq_s32(vmaxq_s32(vaddq_n_s32(scaled, zero), low), vdupq_n_s32(127));
}

/* The sums of one or two positions without their bias, BLOCK apart, to int8. */
EDGESEP_INLINE void rescale_all(const edgesep_filter *f, int32_t first, int32_t count,
                                int32_t positions, const int32_t *sums, int8_t *output,
                                int right_only) {
    const int32_t *bias = f->bias + first, *multiplier = f->multiplier + first;
    const int8_t *shift = f->shift + first;
    const int32_t channels = f->out_channels, zero = f->out_zero;
    const int32x4_t low = vdupq_n_s32(f->low);
    for (int32_t n = count >> 2; n > 0; n--) {
        const int32x4_t b = vldrwq_s32(bias), m = vldrwq_s32(multiplier);
        const int32x4_t s = vldrbq_s32(shift);
        vstrbq_s32(output, rescale4(vldrwq_s32(sums), b, m, s, zero, low, right_only));
        if (positions == 2) {
            vstrbq_s32(output + channels,
                       rescale4(vldrwq_s32(sums + BLOCK), b, m, s, zero, low, right_only));
        }
        sums += 4, bias += 4, multiplier += 4, shift += 4, output += 4;
    }
    if ((count & 3) != 0) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count & 3));
        const int32x4_t b = vldrwq_z_s32(bias, lanes), m = vldrwq_z_s32(multiplier, lanes);
        const int32x4_t s = vldrbq_z_s32(shift, lanes);
        for (int32_t p = 0; p < positions; p++, sums += BLOCK, output += channels) {
            vstrbq_p_s32(output, rescale4(vldrwq_s32(sums), b, m, s, zero, low, right_only), lanes);
        }
    }
}

/* Sums of `count` output channels from `first` on to int8. */
EDGESEP_APART void rescale(const edgesep_filter *f, int32_t first, int32_t count,
                           const int32_t *sums, int8_t *output) {
    if (f->right_only) {
        rescale_all(f, first, count, 1, sums, output, 1);
    } else {
        rescale_all(f, first, count, 1, sums, output, 0);
    }
}

/* The same of two positions. */
EDGESEP_APART void rescale_two(const edgesep_filter *f, int32_t first, int32_t count,
                               const int32_t *sums, int8_t *output) {
    if (f->right_only) {
        rescale_all(f, first, count, 2, sums, output, 1);
    } else {
        rescale(f, first, count, sums, output);
        rescale(f, first, count, sums + BLOCK, output + f->out_channels);
    }
}

/* --- convolution ------------------------------------------------------------------------------ */

/* The sum of so many chunks of sixteen values, held in registers, with a row of weights. */
EDGESEP_INLINE int32_t dot_held(const int8x16_t x[], int32_t chunks, const int8_t **weights) {
    int32_t sum = vmladavq_s8(x[0], vldrbq_s8(*weights));
    *weights += 16;
    for (int32_t k = 1; k < chunks; k++, *weights += 16) {
        sum = vmladavaq_s8(sum, x[k], vldrbq_s8(*weights));
    }
    return sum;
}

/* The sums of a patch with `rows` rows of weights. The rows lie one behind the other, so one
 * pointer runs through all of them. */
EDGESEP_INLINE void dot_rows_held(const edgesep_value *patch, int32_t chunks, const int8_t *weights,
                                  int32_t rows, int32_t *sums) {
    int8x16_t x[HELD];
    for (int32_t k = 0; k < chunks; k++) {
        x[k] = vldrbq_s8(patch + 16 * k);
    }
    for (int32_t n = rows >> 1; n > 0; n--, sums += 2) {
        sums[0] = dot_held(x, chunks, &weights);
        sums[1] = dot_held(x, chunks, &weights);
    }
    if ((rows & 1) != 0) {
        sums[0] = dot_held(x, chunks, &weights);
    }
}

/* The same for any number of chunks. */
EDGESEP_INLINE void dot_rows_long(const edgesep_value *patch, int32_t chunks, const int8_t *weights,
                                  int32_t rows, int32_t *sums) {
    const int32_t row_bytes = 16 * chunks;
    for (; rows >= 4; rows -= 4, weights += 4 * row_bytes, sums += 4) {
        const edgesep_value *x = patch;
        const int8_t *w0 = weights, *w1 = w0 + row_bytes, *w2 = w1 + row_bytes;
        const int8_t *w3 = w2 + row_bytes;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (int32_t k = chunks; k > 0; k--) {
            const int8x16_t values = vldrbq_s8(x);
            a = vmladavaq_s8(a, values, vldrbq_s8(w0));
            b = vmladavaq_s8(b, values, vldrbq_s8(w1));
            c = vmladavaq_s8(c, values, vldrbq_s8(w2));
            d = vmladavaq_s8(d, values, vldrbq_s8(w3));
            x += 16, w0 += 16, w1 += 16, w2 += 16, w3 += 16;
        }
        sums[0] = a, sums[1] = b;
        APART; /* else the compiler makes a vector of the four by way of memory */
        sums[2] = c, sums[3] = d;
    }
    for (; rows > 0; rows--, sums++) {
        int32_t sum = 0;
        for (int32_t k = 0; k < row_bytes; k += 16, weights += 16) {
            sum = vmladavaq_s8(sum, vldrbq_s8(patch + k), vldrbq_s8(weights));
        }
        *sums = sum;
    }
}

/* Sums without their bias: of a patch with `rows` rows of weights. */
EDGESEP_APART void dot_rows(const edgesep_value *patch, int32_t chunks, const int8_t *weights,
                            int32_t rows, int32_t *sums) {
    switch (chunks) {
    case 1:
        dot_rows_held(patch, 1, weights, rows, sums);
        break;
    case 2:
        dot_rows_held(patch, 2, weights, rows, sums);
        break;
    case 3:
        dot_rows_held(patch, 3, weights, rows, sums);
        break;
    case 4:
        dot_rows_held(patch, 4, weights, rows, sums);
        break;
    case 5:
        dot_rows_held(patch, 5, weights, rows, sums);
        break;
    case 6:
        dot_rows_held(patch, HELD, weights, rows, sums);
        break;
    default:
        dot_rows_long(patch, chunks, weights, rows, sums);
        break;
    }
}

/* All output channels of one or two positions. */
EDGESEP_INLINE void convolve_positions(const edgesep_filter *f, const edgesep_value *patch,
                                       int32_t apart, int32_t count, int8_t *output) {
    const int32_t chunks = f->row_bytes >> 4;
    int32_t sums[2 * BLOCK];
    for (int32_t c = 0; c < f->out_channels; c += BLOCK) {
        const int32_t rest = f->out_channels - c;
        const int32_t rows = rest < BLOCK ? rest : BLOCK;
        const int8_t *weights = f->weights + c * f->row_bytes;
        dot_rows(patch, chunks, weights, rows, sums);
        if (count == 2) {
            dot_rows(patch + apart, chunks, weights, rows, sums + BLOCK);
            rescale_two(f, c, rows, sums, output + c);
        } else {
            rescale(f, c, rows, sums, output + c);
        }
    }
}

/* --- depthwise -------------------------------------------------------------------------------- */

/* Add the products of eight channels, halfwords to words: the even ones, the odd ones. */
EDGESEP_INLINE void add_tap(const int8_t *x, const int8_t *w, int32x4x2_t *sums) {
    const int16x8_t values = vldrbq_s16(x), weights = vldrbq_s16(w);
    sums->val[0] = vaddq_s32(sums->val[0], vmullbq_int_s16(values, weights));
    sums->val[1] = vaddq_s32(sums->val[1], vmulltq_int_s16(values, weights));
}

/* The sums of `count` channels, of which there are `channels` at each kernel position. A multiple
 * of eight is written, and up to seven bytes are read that are not needed. */
EDGESEP_APART void sum_taps(const int8_t *x, const int8_t *w, int32_t channels, edgesep_taps taps,
                            int32_t count, int32_t *sums) {
    for (; count > 0; count -= 8, x += 8, w += 8, sums += 8) {
        int32x4x2_t both = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
        const int8_t *row = x, *weights = w;
        for (int32_t i = taps.rows; i > 0; i--, row += taps.row_stride) {
            const int8_t *tap = row;
            for (int32_t j = taps.columns; j > 0; j--, tap += channels, weights += channels) {
                add_tap(tap, weights, &both);
            }
        }
        vst2q_s32(sums, both);
    }
}

/* All channels of some positions, `step` bytes apart. */
EDGESEP_INLINE void depthwise_positions(const edgesep_filter *f, const int8_t *x, int32_t step,
                                        edgesep_taps taps, int32_t count, int8_t *output) {
    const int32_t channels = f->out_channels;
    int32_t sums[2 * BLOCK];
    for (int32_t n = count; n > 0; n -= 2, x += 2 * step, output += 2 * channels) {
        for (int32_t c = 0; c < channels; c += BLOCK) {
            const int32_t rest = channels - c;
            const int32_t part = rest < BLOCK ? rest : BLOCK;
            sum_taps(x + c, f->weights + c, channels, taps, part, sums);
            if (n > 1) {
                sum_taps(x + step + c, f->weights + c, channels, taps, part, sums + BLOCK);
                rescale_two(f, c, part, sums, output + c);
            } else {
                rescale(f, c, part, sums, output + c);
            }
        }
    }
}

/* --- sum -------------------------------------------------------------------------------------- */

/* fx_scale of (x - zero) << EDGESEP_SUM_LEFT_SHIFT. */
EDGESEP_INLINE int32x4_t scaled_term(int32x4_t x, int32_t zero, edgesep_scale scale) {
    const int32x4_t wide = vshlq_n_s32(vsubq_n_s32(x, zero), EDGESEP_SUM_LEFT_SHIFT);
    const int32x4_t high = vqrdmulhq_n_s32(wide, scale.multiplier);
    const int32x4_t tie = vandq_s32(vshrq_n_s32(high, 31), vdupq_n_s32(-(scale.shift > 0)));
    return vrshlq_n_s32(vaddq_s32(high, tie), -scale.shift);
}

/* The larger of the two scales is halved, which is exact: then its term is a shift. */
EDGESEP_INLINE int is_half(edgesep_scale scale) {
    return scale.multiplier == 1 << 30 && scale.shift == 0;
}

/* Four values of a sum. `half`: the first one's scale; `down`: the result's shift is above 0. */
EDGESEP_INLINE int32x4_t add4(const edgesep_sum *s, int32x4_t x, int32x4_t y, int half) {
    const int32x4_t a = half
                            ? vshlq_n_s32(vsubq_n_s32(x, s->first_zero), EDGESEP_SUM_LEFT_SHIFT - 1)
                            : scaled_term(x, s->first_zero, s->first_scale);
    const int32x4_t b = scaled_term(y, s->second_zero, s->second_scale);
    const int32x4_t high = vqrdmulhq_n_s32(vaddq_s32(a, b), s->out_scale.multiplier);
    const int32x4_t tie = vandq_s32(vshrq_n_s32(high, 31), vdupq_n_s32(-(s->out_scale.shift > 0)));
    const int32x4_t scaled = vrshlq_n_s32(vaddq_s32(high, tie), -s->out_scale.shift);
    const int32x4_t above = vmaxq_s32(vaddq_n_s32(scaled, s->out_zero), vdupq_n_s32(s->low));
    return vminq_s32(above, vdupq_n_s32(127));
}

EDGESEP_INLINE void add_all(const edgesep_sum *s, const int8_t *first, const int8_t *second,
                            int8_t *output, int half) {
    for (int32_t n = s->count >> 2; n > 0; n--) {
        vstrbq_s32(output, add4(s, vldrbq_s32(first), vldrbq_s32(second), half));
        first += 4, second += 4, output += 4;
    }
    if ((s->count & 3) != 0) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(s->count & 3));
        const int32x4_t x = vldrbq_z_s32(first, lanes), y = vldrbq_z_s32(second, lanes);
        vstrbq_p_s32(output, add4(s, x, y, half), lanes);
    }
}

EDGESEP_INLINE void add_values(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                               int8_t *output) {
    edgesep_sum s = *sum;
    if (is_half(s.second_scale)) { /* that one first */
        const int8_t *other = first;
        first = second, second = other;
        s.first_zero = sum->second_zero, s.second_zero = sum->first_zero;
        s.first_scale = sum->second_scale, s.second_scale = sum->first_scale;
    }
    if (is_half(s.first_scale)) {
        add_all(&s, first, second, output, 1);
    } else {
        add_all(&s, first, second, output, 0);
    }
}

#endif
