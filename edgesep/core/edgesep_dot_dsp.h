/* The int8 kernels with the DSP instructions of Cortex-M4, M7 and M33; edgesep_dot.h has the rest.
 *
 * A patch holds halfwords, each four in the order 0 2 1 3: that is how sxtb16 unpacks four bytes of
 * weights, so one smlad multiplies two of them. Two patches side by side lie interleaved by fours
 * and share the weights. With EDGESEP_EMULATE_DSP the instructions are plain C, for sanitizers on
 * a (little-endian) host.
 */
#ifndef EDGESEP_DOT_DSP_H
#define EDGESEP_DOT_DSP_H

#include <stdint.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_kernels.h"

#if defined(__GNUC__)
#define EDGESEP_APART static __attribute__((noinline))
#else
#define EDGESEP_APART static
#endif

#define PATCHES 2                 /* positions side by side that share the weights */
#define PATCH_STEP(count) (count) /* their fours lie interleaved */
#define PATCH_OFFSET(f, n) (n)
#define PATCH_DIRECT 0 /* activations have to be unpacked first */
#define BLOCK 64       /* output channels summed before they are rescaled */

/* --- instructions ----------------------------------------------------------------------------- */

#if defined(__ARM_FEATURE_SIMD32)

#define DSP_ONE(name, text)                                                                        \
    EDGESEP_INLINE uint32_t name(uint32_t x) {                                                     \
        uint32_t result;                                                                           \
        __asm__(text : "=r"(result) : "r"(x));                                                     \
        return result;                                                                             \
    }
#define DSP_SUM(name, text)                                                                        \
    EDGESEP_INLINE int32_t name(uint32_t x, uint32_t y, int32_t sum) {                             \
        int32_t result;                                                                            \
        __asm__(text : "=r"(result) : "r"(x), "r"(y), "r"(sum));                                   \
        return result;                                                                             \
    }

DSP_ONE(even_bytes, "sxtb16 %0, %1")           /* bytes 0 and 2 as two halfwords */
DSP_ONE(odd_bytes, "sxtb16 %0, %1, ror #8")    /* bytes 1 and 3 */
DSP_SUM(multiply_both, "smlad %0, %1, %2, %3") /* sum + the products of both halfwords */
DSP_SUM(multiply_low, "smlabb %0, %1, %2, %3")
DSP_SUM(multiply_high, "smlatt %0, %1, %2, %3")

#undef DSP_ONE
#undef DSP_SUM

/* x / 2, rounded down, saturated to int8. */
EDGESEP_INLINE int8_t saturated_half(int32_t x) {
    int32_t result;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(x));
    return (int8_t)result;
}

#else

EDGESEP_INLINE int32_t low_half(uint32_t x) {
    return (int16_t)(uint16_t)(x & 0xFFFFu);
}

EDGESEP_INLINE int32_t high_half(uint32_t x) {
    return (int16_t)(uint16_t)(x >> 16);
}

EDGESEP_INLINE uint32_t even_bytes(uint32_t x) {
    const uint32_t low = (uint32_t)(int8_t)(uint8_t)(x & 0xFFu);
    const uint32_t high = (uint32_t)(int8_t)(uint8_t)(x >> 16 & 0xFFu);
    return (low & 0xFFFFu) | high << 16;
}

EDGESEP_INLINE uint32_t odd_bytes(uint32_t x) {
    return even_bytes(x >> 8);
}

EDGESEP_INLINE int32_t multiply_low(uint32_t x, uint32_t y, int32_t sum) {
    return sum + low_half(x) * low_half(y);
}

EDGESEP_INLINE int32_t multiply_high(uint32_t x, uint32_t y, int32_t sum) {
    return sum + high_half(x) * high_half(y);
}

EDGESEP_INLINE int32_t multiply_both(uint32_t x, uint32_t y, int32_t sum) {
    return multiply_high(x, y, multiply_low(x, y, sum));
}

EDGESEP_INLINE int8_t saturated_half(int32_t x) {
    return fx_sat8(x >> 1);
}

#endif

EDGESEP_INLINE uint32_t load_word(const int8_t *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* --- patches ---------------------------------------------------------------------------------- */

typedef struct edgesep_value { /* four values of a patch */
    uint32_t even, odd;        /* halfwords 0 and 2, 1 and 3 */
} edgesep_value;

/* Put `count` bytes at `place`, a multiple of four, of a patch whose fours lie `step` apart. Up to
 * three bytes more are read and put: the weights under them are zero. */
EDGESEP_INLINE void patch_put(edgesep_value *patch, int32_t step, int32_t place, const int8_t *x,
                              int32_t count) {
    edgesep_value *to = patch + step * (place >> 2);
    for (const int8_t *end = x + count; x < end; x += 4, to += step) {
        const uint32_t word = load_word(x);
        to->even = even_bytes(word);
        to->odd = odd_bytes(word);
    }
}

EDGESEP_INLINE void patch_set(edgesep_value *patch, int32_t place, int32_t value) {
    edgesep_value *to = patch + (place >> 2);
    uint32_t *halves = place & 1 ? &to->odd : &to->even;
    const uint32_t shift = place & 2 ? 16u : 0u;
    *halves = (*halves & ~(0xFFFFu << shift)) | ((uint32_t)value & 0xFFFFu) << shift;
}

/* Inner loops are written out where compilers spill or step pointers one by one. Without
 * optimisation there are not enough registers. */
#if defined(__ARM_FEATURE_SIMD32) && defined(__OPTIMIZE__)
#define DSP_LOOPS 1
#else
#define DSP_LOOPS 0
#endif

/* --- rounding --------------------------------------------------------------------------------- */

/* fx_scale_right, plus a zero point, saturated: offset = 2 zero + 1. The second rounding adds one
 * half before the last bit is dropped instead of 2^(shift-1) before all are, which is the same. */
EDGESEP_INLINE int8_t scaled_right(int32_t sum, int32_t multiplier, int32_t shift, int32_t offset) {
    const int32_t high = fx_mulhr(fx_shl(sum, 1), multiplier);
    return saturated_half(((high + (high >> 31)) >> (shift - 1)) + offset);
}

/* A sum of output channel c to int8, whatever its shift. */
EDGESEP_APART int8_t scaled_any(const edgesep_filter *f, int32_t c, int32_t sum) {
    return fx_sat8(fx_scale(sum, f->multiplier[c], f->shift[c]) + f->out_zero);
}

#if DSP_LOOPS

/* The loop of scaled_right with pointers that step by themselves, which compilers do not find. */
#define DSP_FACTOR                                                                                 \
    "ldr %[factor], [%[m]], #4\n"                                                                  \
    "ldrsb %[down], [%[s]], #1\n"                                                                  \
    "sub %[down], %[down], #1\n"
#define DSP_SCALE(output)                                                                          \
    "ldr %[x], [%[sums]], #4\n"                                                                    \
    "lsl %[x], %[x], #1\n"                                                                         \
    "smmulr %[x], %[x], %[factor]\n"                                                               \
    "add %[x], %[x], %[x], asr #31\n"                                                              \
    "asr %[x], %[x], %[down]\n"                                                                    \
    "add %[x], %[x], %[offset]\n"                                                                  \
    "ssat %[x], #8, %[x], asr #1\n"                                                                \
    "strb %[x], [%[" output "]], #1\n"

/* One position: `count` channels, at least one. */
EDGESEP_INLINE void scale_one(const int32_t *sums, const int32_t *m, const int8_t *s, int32_t count,
                              int32_t offset, int8_t *output) {
    const int8_t *const end = output + count;
    int32_t x, factor, down;
    __asm__ volatile("tst %[count], #1\n"
                     "beq 1f\n" DSP_FACTOR DSP_SCALE(
                         "output") "1:\n"
                                   "cmp %[output], %[end]\n"
                                   "beq 3f\n"
                                   "2:\n" DSP_FACTOR DSP_SCALE("output")
                                       DSP_FACTOR DSP_SCALE("output") "cmp %[output], %[end]\n"
                                                                      "bne 2b\n"
                                                                      "3:"
                     : [sums] "+r"(sums), [m] "+r"(m), [s] "+r"(s), [output] "+r"(output),
                       [x] "=&r"(x), [factor] "=&r"(factor), [down] "=&r"(down)
                     : [count] "r"(count), [end] "r"(end), [offset] "r"(offset)
                     : "cc", "memory");
}

/* Two positions, whose sums lie in pairs. */
EDGESEP_INLINE void scale_two(const int32_t *sums, const int32_t *m, const int8_t *s, int32_t count,
                              int32_t offset, int8_t *output, int8_t *other) {
    const int8_t *const end = output + count;
    int32_t x, factor, down;
    __asm__ volatile("1:\n" DSP_FACTOR DSP_SCALE("output")
                         DSP_SCALE("other") "cmp %[output], %[end]\n"
                                            "bne 1b"
                     : [sums] "+r"(sums), [m] "+r"(m), [s] "+r"(s), [output] "+r"(output),
                       [other] "+r"(other), [x] "=&r"(x), [factor] "=&r"(factor), [down] "=&r"(down)
                     : [end] "r"(end), [offset] "r"(offset)
                     : "cc", "memory");
}

#undef DSP_FACTOR
#undef DSP_SCALE

#else

EDGESEP_INLINE void scale_one(const int32_t *sums, const int32_t *m, const int8_t *s, int32_t count,
                              int32_t offset, int8_t *output) {
    for (int32_t n = 0; n < count; n++) {
        output[n] = scaled_right(sums[n], m[n], s[n], offset);
    }
}

EDGESEP_INLINE void scale_two(const int32_t *sums, const int32_t *m, const int8_t *s, int32_t count,
                              int32_t offset, int8_t *output, int8_t *other) {
    for (int32_t n = 0; n < count; n++) {
        output[n] = scaled_right(sums[2 * n], m[n], s[n], offset);
        other[n] = scaled_right(sums[2 * n + 1], m[n], s[n], offset);
    }
}

#endif

/* The sums of `count` output channels from c on, at least one, to int8. */
EDGESEP_APART void rescale(const edgesep_filter *f, int32_t c, int32_t count, const int32_t *sums,
                           int8_t *output) {
    const int32_t offset = 2 * f->out_zero + 1;
    if (f->right_only) {
        scale_one(sums, f->multiplier + c, f->shift + c, count, offset, output);
    } else {
        for (int32_t n = 0; n < count; n++) {
            output[n] = scaled_any(f, c + n, sums[n]);
        }
    }
}

/* The same for two positions, whose sums lie in pairs. */
EDGESEP_APART void rescale_two(const edgesep_filter *f, int32_t c, int32_t count,
                               const int32_t *sums, int8_t *output) {
    const int32_t offset = 2 * f->out_zero + 1;
    int8_t *other = output + f->out_channels;
    if (f->right_only) {
        scale_two(sums, f->multiplier + c, f->shift + c, count, offset, output, other);
    } else {
        for (int32_t n = 0; n < count; n++) {
            output[n] = scaled_any(f, c + n, sums[2 * n]);
            other[n] = scaled_any(f, c + n, sums[2 * n + 1]);
        }
    }
}

/* --- convolution ------------------------------------------------------------------------------ */

#if DSP_LOOPS

/* Written out, for they fill all registers: compilers spill inside the loops. Both begin with an
 * odd four, if there is one, and go on by two. */

#define DSP_ROW(load, sum)                                                                         \
    "ldr %[t], " load "\n"                                                                         \
    "sxtb16 %[u], %[t]\n"                                                                          \
    "sxtb16 %[t], %[t], ror #8\n"                                                                  \
    "smlad %[" sum "], %[u], %[even], %[" sum "]\n"                                                \
    "smlad %[" sum "], %[t], %[odd], %[" sum "]\n"
#define DSP_FOUR                                                                                   \
    "ldrd %[even], %[odd], [%[x]], #8\n" DSP_ROW("[%[w0], %[row]]", "a1")                          \
        DSP_ROW("[%[w0]], #4", "a0") DSP_ROW("[%[w2], %[row]]", "a3") DSP_ROW("[%[w2]], #4", "a2")

/* Add the products of a patch of so many fours with four rows of weights to sums[4]. */
EDGESEP_INLINE void dot_four_rows(const edgesep_value *x, int32_t fours, const int8_t *w0,
                                  int32_t row_bytes, int32_t *sums) {
    const int8_t *w2 = w0 + 2 * row_bytes;
    const int8_t *const end = w0 + 4 * fours;
    int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
    uint32_t even, odd, t, u;
    __asm__(
        "sub %[t], %[end], %[w0]\n"
        "tst %[t], #4\n"
        "beq 1f\n" DSP_FOUR "1:\n"
        "cmp %[w0], %[end]\n"
        "beq 3f\n"
        "2:\n" DSP_FOUR DSP_FOUR "cmp %[w0], %[end]\n"
        "bne 2b\n"
        "3:"
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w0] "+r"(w0),
          [w2] "+r"(w2), [even] "=&r"(even), [odd] "=&r"(odd), [t] "=&r"(t), [u] "=&r"(u)
        : [end] "r"(end), [row] "r"(row_bytes)
        : "cc", "memory");
    sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
}

#define DSP_PATCH(first, second)                                                                   \
    "ldrd %[even], %[odd], [%[x]], #8\n"                                                           \
    "smlad %[" first "], %[w], %[even], %[" first "]\n"                                            \
    "smlad %[" second "], %[v], %[even], %[" second "]\n"                                          \
    "smlad %[" first "], %[t], %[odd], %[" first "]\n"                                             \
    "smlad %[" second "], %[u], %[odd], %[" second "]\n"
#define DSP_PAIR                                                                                   \
    "ldr %[w], [%[w0]], #4\n"                                                                      \
    "ldr %[v], [%[w1]], #4\n"                                                                      \
    "sxtb16 %[t], %[w], ror #8\n"                                                                  \
    "sxtb16 %[w], %[w]\n"                                                                          \
    "sxtb16 %[u], %[v], ror #8\n"                                                                  \
    "sxtb16 %[v], %[v]\n" DSP_PATCH("a0", "a1") DSP_PATCH("b0", "b1")

/* Add the products of two patches with two rows of weights to sums[2][2], a row's side by side. */
EDGESEP_INLINE void dot_two_rows(const edgesep_value *x, int32_t fours, const int8_t *w0,
                                 int32_t row_bytes, int32_t *sums) {
    const int8_t *w1 = w0 + row_bytes;
    const int8_t *const end = w0 + 4 * fours;
    int32_t a0 = sums[0], b0 = sums[1], a1 = sums[2], b1 = sums[3];
    uint32_t even, odd, w, v, t, u;
    __asm__("sub %[t], %[end], %[w0]\n"
            "tst %[t], #4\n"
            "beq 1f\n" DSP_PAIR "1:\n"
            "cmp %[w0], %[end]\n"
            "beq 3f\n"
            "2:\n" DSP_PAIR DSP_PAIR "cmp %[w0], %[end]\n"
            "bne 2b\n"
            "3:"
            : [a0] "+r"(a0), [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [x] "+r"(x),
              [w0] "+r"(w0), [w1] "+r"(w1), [even] "=&r"(even), [odd] "=&r"(odd), [w] "=&r"(w),
              [v] "=&r"(v), [t] "=&r"(t), [u] "=&r"(u)
            : [end] "r"(end)
            : "cc", "memory");
    sums[0] = a0, sums[1] = b0, sums[2] = a1, sums[3] = b1;
}

#undef DSP_ROW
#undef DSP_FOUR
#undef DSP_PATCH
#undef DSP_PAIR

#else

/* The sum of a patch, its fours `step` apart, with a row of weights. */
EDGESEP_INLINE int32_t dot_row(const edgesep_value *x, int32_t step, int32_t fours, const int8_t *w,
                               int32_t sum) {
    for (int32_t k = 0; k < fours; k++, x += step, w += 4) {
        const uint32_t word = load_word(w);
        sum = multiply_both(x->even, even_bytes(word), sum);
        sum = multiply_both(x->odd, odd_bytes(word), sum);
    }
    return sum;
}

EDGESEP_INLINE void dot_four_rows(const edgesep_value *x, int32_t fours, const int8_t *w,
                                  int32_t row_bytes, int32_t *sums) {
    for (int32_t n = 0; n < 4; n++) {
        sums[n] = dot_row(x, 1, fours, w + n * row_bytes, sums[n]);
    }
}

EDGESEP_INLINE void dot_two_rows(const edgesep_value *x, int32_t fours, const int8_t *w,
                                 int32_t row_bytes, int32_t *sums) {
    for (int32_t n = 0; n < 4; n++) {
        sums[n] = dot_row(x + n % 2, 2, fours, w + n / 2 * row_bytes, sums[n]);
    }
}

#endif

/* The sums of `rows` output channels of one position; a multiple of four is written. */
EDGESEP_APART void dot_one(const edgesep_value *patch, int32_t fours, const int8_t *weights,
                           int32_t row_bytes, const int32_t *bias, int32_t rows, int32_t *sums) {
    for (; rows >= 4; rows -= 4, weights += 4 * row_bytes, sums += 4, bias += 4) {
        sums[0] = bias[0], sums[1] = bias[1], sums[2] = bias[2], sums[3] = bias[3];
        dot_four_rows(patch, fours, weights, row_bytes, sums);
    }
    for (; rows > 0; rows--, weights += row_bytes) { /* the same row four times */
        sums[0] = *bias++;
        dot_four_rows(patch, fours, weights, 0, sums++);
    }
}

/* The same of two positions, in pairs; a multiple of two pairs is written. */
EDGESEP_APART void dot_two(const edgesep_value *patch, int32_t fours, const int8_t *weights,
                           int32_t row_bytes, const int32_t *bias, int32_t rows, int32_t *sums) {
    for (; rows >= 2; rows -= 2, weights += 2 * row_bytes, sums += 4, bias += 2) {
        sums[0] = sums[1] = bias[0], sums[2] = sums[3] = bias[1];
        dot_two_rows(patch, fours, weights, row_bytes, sums);
    }
    if (rows > 0) { /* the same row twice */
        sums[0] = sums[1] = bias[0];
        dot_two_rows(patch, fours, weights, 0, sums);
    }
}

/* Outputs below a ReLU's zero point, where that is not the smallest int8. */
EDGESEP_APART void raise_to(int32_t low, int32_t count, int8_t *output) {
    for (int32_t n = 0; n < count; n++) {
        output[n] = output[n] < low ? (int8_t)low : output[n];
    }
}

/* All output channels of one or two positions. */
EDGESEP_INLINE void convolve_positions(const edgesep_filter *f, const edgesep_value *patch,
                                       int32_t apart, int32_t count, int8_t *output) {
    (void)apart;
    const int32_t fours = edgesep_patch_values(f) >> 2;
    int32_t sums[2 * BLOCK + 4];
    for (int32_t c = 0; c < f->out_channels; c += BLOCK) {
        const int32_t rest = f->out_channels - c;
        const int32_t rows = rest < BLOCK ? rest : BLOCK;
        const int8_t *weights = f->weights + c * f->row_bytes;
        if (count == 2) {
            dot_two(patch, fours, weights, f->row_bytes, f->bias + c, rows, sums);
            rescale_two(f, c, rows, sums, output + c);
        } else {
            dot_one(patch, fours, weights, f->row_bytes, f->bias + c, rows, sums);
            rescale(f, c, rows, sums, output + c);
        }
    }
    if (f->low > -128) {
        raise_to(f->low, count * f->out_channels, output);
    }
}

/* --- depthwise -------------------------------------------------------------------------------- */

/* Add the products of one kernel position to the sums of four channels. */
EDGESEP_INLINE void add_tap(const int8_t *x, const int8_t *w, int32_t sums[4]) {
    const uint32_t x_word = load_word(x), w_word = load_word(w);
    const uint32_t x_even = even_bytes(x_word), w_even = even_bytes(w_word);
    sums[0] = multiply_low(x_even, w_even, sums[0]);
    sums[2] = multiply_high(x_even, w_even, sums[2]);
    const uint32_t x_odd = odd_bytes(x_word), w_odd = odd_bytes(w_word);
    sums[1] = multiply_low(x_odd, w_odd, sums[1]);
    sums[3] = multiply_high(x_odd, w_odd, sums[3]);
}

/* Add the products of `columns` kernel positions to the sums of `count` channels, a multiple of
 * four, of which there are `channels` at each position. */
EDGESEP_APART void add_taps(const int8_t *x, const int8_t *w, int32_t channels, int32_t columns,
                            const int32_t *from, int32_t count, int32_t *sums) {
    for (const int8_t *end = x + count; x < end; x += 4, w += 4, from += 4, sums += 4) {
        int32_t a[4] = {from[0], from[1], from[2], from[3]};
        const int8_t *tap = x, *weights = w;
        for (int32_t j = columns; j > 0; j--, tap += channels, weights += channels) {
            add_tap(tap, weights, a);
        }
        sums[0] = a[0], sums[1] = a[1], sums[2] = a[2], sums[3] = a[3];
    }
}

/* The same for three positions, which most kernels have in a row. */
EDGESEP_APART void add_three_taps(const int8_t *x, const int8_t *w, int32_t channels,
                                  const int32_t *from, int32_t count, int32_t *sums) {
    for (const int8_t *end = x + count; x < end; x += 4, w += 4, from += 4, sums += 4) {
        int32_t a[4] = {from[0], from[1], from[2], from[3]};
        add_tap(x, w, a);
        add_tap(x + channels, w + channels, a);
        add_tap(x + 2 * channels, w + 2 * channels, a);
        sums[0] = a[0], sums[1] = a[1], sums[2] = a[2], sums[3] = a[3];
    }
}

/* The same for the last one to three channels. */
EDGESEP_APART void add_rest(const int8_t *x, const int8_t *w, int32_t channels, int32_t columns,
                            const int32_t *from, int32_t count, int32_t *sums) {
    for (int32_t n = 0; n < count; n++) {
        sums[n] = from[n];
        for (int32_t j = 0; j < columns; j++) {
            sums[n] += x[j * channels + n] * w[j * channels + n];
        }
    }
}

/* Channels c and on of one position. */
EDGESEP_INLINE void depthwise_block(const edgesep_filter *f, const int8_t *x, edgesep_taps taps,
                                    int32_t c, int8_t *output) {
    const int32_t channels = f->out_channels;
    const int32_t count = channels - c < BLOCK ? channels - c : BLOCK;
    const int32_t whole = count & ~3;
    const int32_t *from = f->bias + c;
    const int8_t *row = x + c, *w = f->weights + c;
    int32_t sums[BLOCK];
    for (int32_t i = taps.rows; i > 0; i--, from = sums) {
        if (taps.columns == 3) {
            add_three_taps(row, w, channels, from, whole, sums);
        } else {
            add_taps(row, w, channels, taps.columns, from, whole, sums);
        }
        if (whole < count) {
            add_rest(row + whole, w + whole, channels, taps.columns, from + whole, count - whole,
                     sums + whole);
        }
        row += taps.row_stride;
        w += taps.columns * channels;
    }
    rescale(f, c, count, sums, output + c);
}

/* All channels of some positions, `step` bytes apart. */
static void depthwise_positions(const edgesep_filter *f, const int8_t *x, int32_t step,
                                edgesep_taps taps, int32_t count, int8_t *output) {
    const int32_t channels = f->out_channels;
    int8_t *to = output;
    for (int32_t n = count; n > 0; n--, x += step, to += channels) {
        for (int32_t c = 0; c < channels; c += BLOCK) {
            depthwise_block(f, x, taps, c, to);
        }
    }
    if (f->low > -128) {
        raise_to(f->low, count * channels, output);
    }
}

/* --- sum -------------------------------------------------------------------------------------- */

/* fx_scale of (x - zero) << EDGESEP_SUM_LEFT_SHIFT, for one input of a sum. */
typedef struct dsp_term {
    int32_t zero, multiplier, half, tie, shift; /* zero: with the left shift; tie: -1 or 0 */
} dsp_term;

EDGESEP_INLINE dsp_term term_of(int32_t zero, edgesep_scale scale) {
    const dsp_term term = {
        .zero = zero * (1 << (EDGESEP_SUM_LEFT_SHIFT + 1)),
        .multiplier = scale.multiplier,
        .half = (int32_t)((UINT32_C(1) << scale.shift) >> 1),
        .tie = -(int32_t)(scale.shift > 0),
        .shift = scale.shift,
    };
    return term;
}

EDGESEP_INLINE int32_t scaled_term(const dsp_term *t, int32_t x) {
    const int32_t wide = x * (1 << (EDGESEP_SUM_LEFT_SHIFT + 1)) - t->zero;
    const int32_t high = fx_mulhr(wide, t->multiplier);
    return (high + ((high >> 31) & t->tie) + t->half) >> t->shift;
}

/* The larger of the two scales is halved, which is exact: then its term is a shift. */
EDGESEP_INLINE int is_half(edgesep_scale scale) {
    return scale.multiplier == 1 << 30 && scale.shift == 0;
}

/* The sum of x, whose scale is halved, and y; the result's shift is above 0. */
EDGESEP_INLINE int8_t added(int32_t x, int32_t y, int32_t zero, const dsp_term *t,
                            edgesep_scale scale, int32_t offset) {
    const int32_t twice = x * (1 << EDGESEP_SUM_LEFT_SHIFT) - zero + fx_shl(scaled_term(t, y), 1);
    const int32_t high = fx_mulhr(twice, scale.multiplier);
    return saturated_half(((high + (high >> 31)) >> (scale.shift - 1)) + offset);
}

static void add_values(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                       int8_t *output) {
    const int swap = !is_half(sum->first_scale) && is_half(sum->second_scale);
    const int8_t *x = swap ? second : first;
    const int8_t *y = swap ? first : second;
    const dsp_term a = swap ? term_of(sum->second_zero, sum->second_scale)
                            : term_of(sum->first_zero, sum->first_scale);
    const dsp_term b = swap ? term_of(sum->first_zero, sum->first_scale)
                            : term_of(sum->second_zero, sum->second_scale);
    const int exact = swap || is_half(sum->first_scale);
    const edgesep_scale scale = sum->out_scale;
    const int32_t offset = 2 * sum->out_zero + 1;
    const int32_t count = sum->count;
    int8_t *const result = output;
    if (exact && scale.shift > 0) {
        const int32_t zero = a.zero >> 1;
        for (const int8_t *end = output + count; output < end; output++) {
            *output = added(*x++, *y++, zero, &b, scale, offset);
        }
    } else {
        for (int32_t n = 0; n < count; n++) {
            const int32_t total = scaled_term(&a, x[n]) + scaled_term(&b, y[n]);
            output[n] = fx_sat8(fx_scale(total, scale.multiplier, scale.shift) + sum->out_zero);
        }
    }
    if (sum->low > -128) {
        raise_to(sum->low, count, result);
    }
}

#endif
