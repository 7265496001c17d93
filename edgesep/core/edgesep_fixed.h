/* All fixed-point arithmetic of the core.
 *
 * Every function has one result for every input; none relies on signed overflow. Beyond C99 they
 * take for granted what every compiler of the supported boards documents: right shifts of
 * negative numbers are arithmetic, and narrowing to int32_t wraps.
 */
#ifndef EDGESEP_FIXED_H
#define EDGESEP_FIXED_H

#include <stdint.h>

#include "edgesep_target.h"

typedef char edgesep_assumes_arithmetic_shift[(-1 >> 1) == -1 ? 1 : -1];

/* Shift left; the caller knows that the result fits. */
static inline int32_t fx_shl(int32_t x, int shift) {
    return (int32_t)((uint32_t)x << shift);
}

#if defined(EDGESEP_DSP) /* instructions that GCC 12 does not find */

/* Rounded high half of the product: a b / 2^32. */
static inline int32_t fx_mulhr(int32_t a, int32_t b) {
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

/* sum + fx_mulhr(a, b) */
static inline int32_t fx_mulhr_add(int32_t sum, int32_t a, int32_t b) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* (x + 2^(shift-1)) >> shift for shift 1 .. 31: the last bit shifted out is the carry. */
static inline int32_t fx_rshr(int32_t x, int shift) {
    int32_t result;
    __asm__("asrs %0, %1, %2\n\tadc %0, %0, #0" : "=r"(result) : "r"(x), "rM"(shift) : "cc");
    return result;
}

#else

/* Rounded high half of the product: a b / 2^32. SMMULR on Cortex-M, VRMULH in Helium.
 * The unsigned shift gives the same 32 bits as an arithmetic one and vectorises on AVX2. */
static inline int32_t fx_mulhr(int32_t a, int32_t b) {
    const int64_t product = (int64_t)a * b + INT64_C(0x80000000);
    return (int32_t)(uint32_t)((uint64_t)product >> 32);
}

/* sum + fx_mulhr(a, b) */
static inline int32_t fx_mulhr_add(int32_t sum, int32_t a, int32_t b) {
    return sum + fx_mulhr(a, b);
}

/* (x + 2^(shift-1)) >> shift for shift 1 .. 31, without the carry into bit 32. */
static inline int32_t fx_rshr(int32_t x, int shift) {
    return (x >> shift) + ((x >> (shift - 1)) & 1);
}

#endif

/* Half of x, rounded. */
static inline int32_t fx_half(int32_t x) {
    return (x >> 1) + (x & 1);
}

static inline int32_t fx_clamp(int32_t x, int32_t low, int32_t high) {
    const int32_t above = x < low ? low : x;
    return above > high ? high : above;
}

#if defined(EDGESEP_DSP)

static inline int16_t fx_sat16(int32_t x) {
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(x));
    return (int16_t)result;
}

static inline int8_t fx_sat8(int32_t x) {
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return (int8_t)result;
}

#else

static inline int16_t fx_sat16(int32_t x) {
    return (int16_t)fx_clamp(x, -32768, 32767);
}

static inline int8_t fx_sat8(int32_t x) {
    return (int8_t)fx_clamp(x, -128, 127);
}

#endif

/* Where the widest bit of x stands: a bit length one above that of |x| (or of -x - 1 for a negative
 * x), and 0 for 0 alone. The OR of many extents tells the same of the widest of many numbers. */
static inline uint32_t fx_extent(int32_t x) {
    return (uint32_t)x ^ ((uint32_t)x << 1);
}

/* x * multiplier / 2^31 / 2^shift as gemmlowp rounds it: once to nearest with ties upwards for the
 * product (VQRDMULH), once with ties away from zero for the shift. shift is -30 .. 31, below 0 a
 * left shift; |x| << -shift must stay below 2^30, multiplier at or above 0. */
static inline int32_t fx_scale(int32_t x, int32_t multiplier, int32_t shift) {
    const int32_t left = shift < 0 ? -shift : 0;
    const int32_t right = shift > 0 ? shift : 0;
    const int32_t high = fx_mulhr(fx_shl(x, left + 1), multiplier);
    const int32_t half = (int32_t)((UINT32_C(1) << right) >> 1);
    const int32_t tie = (high >> 31) & (-right >> 31); /* -1 for a negative number to be shifted */
    return (high + half + tie) >> right;
}

/* The same for shifts 1 .. 31. */
static inline int32_t fx_scale_right(int32_t x, int32_t multiplier, int32_t shift) {
    const int32_t high = fx_mulhr(fx_shl(x, 1), multiplier);
    return (high + (high >> 31) + (int32_t)((UINT32_C(1) << shift) >> 1)) >> shift;
}

/* Number of bits of x; 0 has none. */
static inline int fx_bit_length32(uint32_t x) {
#if defined(__GNUC__)
    return x == 0 ? 0 : 32 - __builtin_clz(x);
#else
    int bits = 0;
    for (; x != 0; x >>= 1) {
        bits++;
    }
    return bits;
#endif
}

static inline int fx_bit_length64(uint64_t x) {
#if defined(__GNUC__)
    return x == 0 ? 0 : 64 - __builtin_clzll(x);
#else
    const uint32_t high = (uint32_t)(x >> 32);
    return high != 0 ? 32 + fx_bit_length32(high) : fx_bit_length32((uint32_t)x);
#endif
}

#endif
