/* What a convolution sees and multiplies, in the form that the processor multiplies fastest.
 *
 * A patch holds the bytes under the kernel, filled up to a row of weights. Three forms of the same
 * arithmetic: plain C, which compilers turn into pmaddwd or smlal; packed halfwords for the
 * DSP instructions of Cortex-M4, M7 and M33; bytes for Helium on Cortex-M55. Sums are exact, so the
 * order of the products does not matter.
 */
#ifndef EDGESEP_DOT_H
#define EDGESEP_DOT_H

#include <stdint.h>
#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_network.h"

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#define EDGESEP_HELIUM
#include <arm_mve.h>
#elif defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN)
#define EDGESEP_DSP
#endif

#if defined(EDGESEP_HELIUM)

typedef int8_t edgesep_patch;

/* Put `count` bytes at `place`. */
EDGESEP_INLINE void patch_put(edgesep_patch *patch, int32_t place, const int8_t *x, int32_t count) {
    memcpy(patch + place, x, (size_t)count);
}

EDGESEP_INLINE void patch_fill(edgesep_patch *patch, int32_t place, int32_t value, int32_t count) {
    memset(patch + place, value, (size_t)count);
}

/* Add the products with `rows` rows of weights to sums[rows]. `count`: values of the patch in use.
 */
EDGESEP_INLINE void patch_multiply(const edgesep_patch *patch, int32_t count, const int8_t *weights,
                                   int32_t row_bytes, int32_t rows, int32_t *sums) {
    (void)count;
    int32_t row = 0;
    for (; row + 4 <= rows; row += 4, weights += 4 * row_bytes) {
        int32_t a = sums[row], b = sums[row + 1], c = sums[row + 2], d = sums[row + 3];
        for (int32_t k = 0; k < row_bytes; k += 16) {
            const int8x16_t x = vldrbq_s8(patch + k);
            a = vmladavaq_s8(a, x, vldrbq_s8(weights + k));
            b = vmladavaq_s8(b, x, vldrbq_s8(weights + row_bytes + k));
            c = vmladavaq_s8(c, x, vldrbq_s8(weights + 2 * row_bytes + k));
            d = vmladavaq_s8(d, x, vldrbq_s8(weights + 3 * row_bytes + k));
        }
        sums[row] = a;
        sums[row + 1] = b;
        sums[row + 2] = c;
        sums[row + 3] = d;
    }
    for (; row < rows; row++, weights += row_bytes) {
        for (int32_t k = 0; k < row_bytes; k += 16) {
            sums[row] = vmladavaq_s8(sums[row], vldrbq_s8(patch + k), vldrbq_s8(weights + k));
        }
    }
}

/* The same for two patches: patch[stride ..] goes with others. */
EDGESEP_INLINE void patch_multiply_pair(const edgesep_patch *patch, int32_t stride, int32_t count,
                                        const int8_t *weights, int32_t row_bytes, int32_t rows,
                                        int32_t *sums, int32_t *others) {
    int32_t row = 0;
    for (; row + 2 <= rows; row += 2, weights += 2 * row_bytes) {
        int32_t a = sums[row], b = sums[row + 1], c = others[row], d = others[row + 1];
        for (int32_t k = 0; k < row_bytes; k += 16) {
            const int8x16_t x = vldrbq_s8(patch + k);
            const int8x16_t y = vldrbq_s8(patch + stride + k);
            const int8x16_t w = vldrbq_s8(weights + k);
            const int8x16_t v = vldrbq_s8(weights + row_bytes + k);
            a = vmladavaq_s8(a, x, w);
            b = vmladavaq_s8(b, x, v);
            c = vmladavaq_s8(c, y, w);
            d = vmladavaq_s8(d, y, v);
        }
        sums[row] = a;
        sums[row + 1] = b;
        others[row] = c;
        others[row + 1] = d;
    }
    patch_multiply(patch, count, weights, row_bytes, rows - row, sums + row);
    patch_multiply(patch + stride, count, weights, row_bytes, rows - row, others + row);
}

#elif defined(EDGESEP_DSP)

typedef int16_t edgesep_patch;

/* Bytes 0 and 2 of a word as two halfwords; bytes 1 and 3. */
EDGESEP_INLINE uint32_t even_bytes(uint32_t word) {
    uint32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
}

EDGESEP_INLINE uint32_t odd_bytes(uint32_t word) {
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

/* sum + both products of halfwords. */
EDGESEP_INLINE int32_t multiply_halves(uint32_t x, uint32_t y, int32_t sum) {
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
    return result;
}

EDGESEP_INLINE uint32_t load_word(const void *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* sum + the product of the low halfwords; of the high ones. */
EDGESEP_INLINE int32_t multiply_low(uint32_t x, uint32_t y, int32_t sum) {
    int32_t result;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
    return result;
}

EDGESEP_INLINE int32_t multiply_high(uint32_t x, uint32_t y, int32_t sum) {
    int32_t result;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
    return result;
}

/* Both differences of halfwords. */
EDGESEP_INLINE uint32_t subtract_halves(uint32_t x, uint32_t y) {
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* Each four values stand in the order 0 2 1 3, which is how sxtb16 unpacks the weights. */
EDGESEP_INLINE int32_t patch_place(int32_t place) {
    return (place & ~3) | ((place & 1) << 1) | ((place >> 1) & 1);
}

EDGESEP_INLINE void patch_put(edgesep_patch *patch, int32_t place, const int8_t *x, int32_t count) {
    if ((place & 3) == 0 && (count & 3) == 0) {
        for (int32_t k = 0; k < count; k += 4) {
            const uint32_t word = load_word(x + k);
            const uint32_t pair[2] = {even_bytes(word), odd_bytes(word)};
            memcpy(patch + place + k, pair, sizeof pair);
        }
    } else {
        for (int32_t k = 0; k < count; k++) {
            patch[patch_place(place + k)] = x[k];
        }
    }
}

EDGESEP_INLINE void patch_fill(edgesep_patch *patch, int32_t place, int32_t value, int32_t count) {
    for (int32_t k = 0; k < count; k++) {
        patch[patch_place(place + k)] = (int16_t)value;
    }
}

/* Four values with two rows. */
EDGESEP_INLINE void multiply_four(const edgesep_patch *x, const int8_t *w, const int8_t *v,
                                  int32_t *a, int32_t *b) {
    const uint32_t even = load_word(x), odd = load_word(x + 2);
    const uint32_t ww = load_word(w), vv = load_word(v);
    *a = multiply_halves(even, even_bytes(ww), *a);
    *b = multiply_halves(even, even_bytes(vv), *b);
    *a = multiply_halves(odd, odd_bytes(ww), *a);
    *b = multiply_halves(odd, odd_bytes(vv), *b);
}

/* Add the products with `rows` rows of weights to sums[rows]. `count`: values of the patch in use.
 */
EDGESEP_INLINE void patch_multiply(const edgesep_patch *patch, int32_t count, const int8_t *weights,
                                   int32_t row_bytes, int32_t rows, int32_t *sums) {
    int32_t row = 0;
    for (; row + 2 <= rows; row += 2, weights += 2 * row_bytes) {
        const int8_t *w = weights;
        const int8_t *v = weights + row_bytes;
        int32_t a = sums[row], b = sums[row + 1];
        int32_t k = 0;
        for (; k + 8 <= count; k += 8) {
            multiply_four(patch + k, w + k, v + k, &a, &b);
            multiply_four(patch + k + 4, w + k + 4, v + k + 4, &a, &b);
        }
        if (k < count) { /* one to four; behind them the weights are zero */
            multiply_four(patch + k, w + k, v + k, &a, &b);
            if (k + 4 < count) {
                multiply_four(patch + k + 4, w + k + 4, v + k + 4, &a, &b);
            }
        }
        sums[row] = a;
        sums[row + 1] = b;
    }
    for (; row < rows; row++, weights += row_bytes) {
        for (int32_t k = 0; k < count; k += 4) {
            const uint32_t word = load_word(weights + k);
            sums[row] = multiply_halves(load_word(patch + k), even_bytes(word), sums[row]);
            sums[row] = multiply_halves(load_word(patch + k + 2), odd_bytes(word), sums[row]);
        }
    }
}

/* The same for two patches: patch[stride ..] goes with others. */
EDGESEP_INLINE void patch_multiply_pair(const edgesep_patch *patch, int32_t stride, int32_t count,
                                        const int8_t *weights, int32_t row_bytes, int32_t rows,
                                        int32_t *sums, int32_t *others) {
    int32_t row = 0;
    for (; row + 2 <= rows; row += 2, weights += 2 * row_bytes) {
        const edgesep_patch *x = patch;
        const edgesep_patch *y = patch + stride;
        const int8_t *w = weights;
        int32_t a = sums[row], b = sums[row + 1], c = others[row], d = others[row + 1];
        for (; x < patch + count; x += 4, y += 4, w += 4) {
            const uint32_t ww = load_word(w), vv = load_word(w + row_bytes);
            const uint32_t we = even_bytes(ww), wo = odd_bytes(ww);
            const uint32_t ve = even_bytes(vv), vo = odd_bytes(vv);
            a = multiply_halves(load_word(x + 2), wo, multiply_halves(load_word(x), we, a));
            b = multiply_halves(load_word(x + 2), vo, multiply_halves(load_word(x), ve, b));
            c = multiply_halves(load_word(y + 2), wo, multiply_halves(load_word(y), we, c));
            d = multiply_halves(load_word(y + 2), vo, multiply_halves(load_word(y), ve, d));
        }
        sums[row] = a;
        sums[row + 1] = b;
        others[row] = c;
        others[row + 1] = d;
    }
    patch_multiply(patch, count, weights, row_bytes, rows - row, sums + row);
    patch_multiply(patch + stride, count, weights, row_bytes, rows - row, others + row);
}

#else

typedef int16_t edgesep_patch;

EDGESEP_INLINE void patch_put(edgesep_patch *restrict patch, int32_t place,
                              const int8_t *restrict x, int32_t count) {
    for (int32_t k = 0; k < count; k++) {
        patch[place + k] = x[k];
    }
}

EDGESEP_INLINE void patch_fill(edgesep_patch *patch, int32_t place, int32_t value, int32_t count) {
    for (int32_t k = 0; k < count; k++) {
        patch[place + k] = (int16_t)value;
    }
}

/* Add the products with `rows` rows of weights to sums[rows]. `count`: values of the patch in use.
 */
EDGESEP_INLINE void patch_multiply(const edgesep_patch *restrict patch, int32_t count,
                                   const int8_t *restrict weights, int32_t row_bytes, int32_t rows,
                                   int32_t *restrict sums) {
    (void)count;
    for (int32_t row = 0; row < rows; row++, weights += row_bytes) {
        int32_t sum = sums[row];
        for (int32_t k = 0; k < (row_bytes & -EDGESEP_ROW_ALIGN); k++) { /* tells: no remainder */
            sum += patch[k] * weights[k];
        }
        sums[row] = sum;
    }
}

/* The same for two patches: patch[stride ..] goes with others. */
EDGESEP_INLINE void patch_multiply_pair(const edgesep_patch *restrict patch, int32_t stride,
                                        int32_t count, const int8_t *restrict weights,
                                        int32_t row_bytes, int32_t rows, int32_t *restrict sums,
                                        int32_t *restrict others) {
    patch_multiply(patch, count, weights, row_bytes, rows, sums);
    patch_multiply(patch + stride, count, weights, row_bytes, rows, others);
}

#endif

#endif
