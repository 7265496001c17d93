/* Radix-4 Stockham transform with block floating point; see edgesep_fft.h. */
#include "edgesep_fft.h"

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#define QUARTER (EDGESEP_BINS / 4)

/* OR of the magnitude bits of all parts: 0 only if all parts are 0 or -1. */
EDGESEP_INLINE uint32_t magnitude_bits(const int32_t *re, const int32_t *im) {
    uint32_t bits = 0;
    for (int k = 0; k < EDGESEP_BINS; k++) {
        bits |= (uint32_t)(fx_magnitude_bits(re[k]) | fx_magnitude_bits(im[k]));
    }
    return bits;
}

EDGESEP_INLINE int all_zero(const int32_t *re, const int32_t *im) {
    int32_t any = 0;
    for (int k = 0; k < EDGESEP_BINS; k++) {
        any |= re[k] | im[k];
    }
    return any == 0;
}

/* How far the block shifts left with all parts below 2^30: -1 .. 30; 0 for an all-zero block. */
EDGESEP_INLINE int headroom(const int32_t *re, const int32_t *im) {
    const uint32_t bits = magnitude_bits(re, im);
    if (bits == 0 && all_zero(re, im)) {
        return 0;
    }
    return 30 - fx_bit_length32(bits);
}

typedef struct complex32 {
    int32_t re, im;
} complex32;

/* The input x shifted left by `room`, turned by twiddle t (times cos - i sin) and divided by 4. */
EDGESEP_INLINE complex32 turn(const int32_t *xr, const int32_t *xi, int x, int room, int t) {
    const int32_t re = fx_shl(xr[x], room);
    const int32_t im = fx_shl(xi[x], room);
    const int32_t c = edgesep_fft_cos_q30[t];
    const int32_t s = edgesep_fft_sin_q30[t];
    const complex32 y = {
        fx_mulhr(re, c) + fx_mulhr(im, s),
        fx_mulhr(im, c) - fx_mulhr(re, s),
    };
    return y;
}

/* The same for twiddle 0, bit for bit. */
EDGESEP_INLINE complex32 quarter(const int32_t *xr, const int32_t *xi, int x, int room) {
    const complex32 y = {
        fx_rshr(fx_shl(xr[x], room), 2),
        fx_rshr(fx_shl(xi[x], room), 2),
    };
    return y;
}

/* One butterfly: four inputs `step` apart from `in`, four outputs a quarter apart from `out`. */
EDGESEP_INLINE void butterfly(const int32_t *xr, const int32_t *xi, int in, int step, int32_t *yr,
                              int32_t *yi, int out, int room, int t) {
    const int plain = step == QUARTER; /* the first stage turns nothing */
    const int in1 = in + step;
    const int in2 = in + 2 * step;
    const int in3 = in + 3 * step;
    const complex32 y0 = quarter(xr, xi, in, room);
    const complex32 y1 = plain ? quarter(xr, xi, in1, room) : turn(xr, xi, in1, room, t);
    const complex32 y2 = plain ? quarter(xr, xi, in2, room) : turn(xr, xi, in2, room, 2 * t);
    const complex32 y3 = plain ? quarter(xr, xi, in3, room) : turn(xr, xi, in3, room, 3 * t);
    const complex32 a = {y0.re + y2.re, y0.im + y2.im};
    const complex32 b = {y0.re - y2.re, y0.im - y2.im};
    const complex32 p = {y1.re + y3.re, y1.im + y3.im};
    const complex32 d = {y1.re - y3.re, y1.im - y3.im};
    yr[out] = a.re + p.re;
    yi[out] = a.im + p.im;
    yr[out + QUARTER] = b.re + d.im;
    yi[out + QUARTER] = b.im - d.re;
    yr[out + 2 * QUARTER] = a.re - p.re;
    yi[out + 2 * QUARTER] = a.im - p.im;
    yr[out + 3 * QUARTER] = b.re - d.im;
    yi[out + 3 * QUARTER] = b.im + d.re;
}

/* Stage that joins 4 transforms of `size` points: x -> y. Returns the exponent's change. */
EDGESEP_INLINE int stage(const int32_t *restrict xr, const int32_t *restrict xi,
                         int32_t *restrict yr, int32_t *restrict yi, int size) {
    const int available = headroom(xr, xi);
    const int room = available > 0 ? available : 0;
    const int step = QUARTER / size;
    if (step == 1) { /* the other loop would run once each time */
        for (int j = 0; j < size; j++) {
            butterfly(xr, xi, 4 * j, 1, yr, yi, j, room, j);
        }
    } else {
        for (int j = 0; j < size; j++) {
            for (int k = 0; k < step; k++) {
                butterfly(xr, xi, 4 * step * j + k, step, yr, yi, step * j + k, room, step * j);
            }
        }
    }
    return 2 - room;
}

/* Transform re, im in place; tr, ti is scratch. Returns the exponent's change. */
EDGESEP_HOT
static int transform(int32_t *restrict re, int32_t *restrict im, int32_t *restrict tr,
                     int32_t *restrict ti) {
    int change = stage(re, im, tr, ti, 1);
    change += stage(tr, ti, re, im, 4);
    change += stage(re, im, tr, ti, 16);
    change += stage(tr, ti, re, im, 64);
    return change;
}

void edgesep_fft256(edgesep_block *z, edgesep_block *scratch) {
    z->exponent += transform(z->re, z->im, scratch->re, scratch->im);
}

void edgesep_ifft256(edgesep_block *z, edgesep_block *scratch) {
    /* Real and imaginary parts exchanged on the way in and out: the conjugate twice. */
    z->exponent += transform(z->im, z->re, scratch->im, scratch->re) - 8;
}

/* Leave all parts below 2^29. */
EDGESEP_INLINE void normalise(edgesep_block *z) {
    const uint32_t bits = magnitude_bits(z->re, z->im);
    if (bits == 0 && all_zero(z->re, z->im)) {
        return;
    }
    const int room = 29 - fx_bit_length32(bits);
    z->exponent -= room;
    if (room >= 0) {
        for (int k = 0; k < EDGESEP_BINS; k++) {
            z->re[k] = fx_shl(z->re[k], room);
            z->im[k] = fx_shl(z->im[k], room);
        }
    } else {
        for (int k = 0; k < EDGESEP_BINS; k++) {
            z->re[k] = fx_rshr(z->re[k], -room);
            z->im[k] = fx_rshr(z->im[k], -room);
        }
    }
}

/* Join bins k and 256 - k of a normalised block, k = 1 .. 127. `sign` is 1 for split, -1 for
 * unsplit, which turns by the conjugate twiddle and adds where split subtracts. */
EDGESEP_INLINE void join_mirrored(edgesep_block *z, int32_t sign) {
    for (int k = 1; k < EDGESEP_BINS / 2; k++) {
        const int m = EDGESEP_BINS - k;
        const int32_t c = edgesep_split_cos_q31[k];
        const int32_t s = edgesep_split_sin_q31[k];
        const int32_t br = z->re[k] - z->re[m];
        const int32_t bi = z->im[k] + z->im[m];
        const int32_t hr = fx_half(z->re[k] + z->re[m]);
        const int32_t hi = fx_half(z->im[k] - z->im[m]);
        const int32_t tr = sign * fx_mulhr(br, c) + fx_mulhr(bi, s);
        const int32_t ti = sign * fx_mulhr(bi, c) - fx_mulhr(br, s);
        z->re[k] = hr + ti;
        z->im[k] = hi - tr;
        z->re[m] = hr - ti;
        z->im[m] = -hi - tr;
    }
    z->im[EDGESEP_BINS / 2] = -z->im[EDGESEP_BINS / 2];
}

EDGESEP_HOT
void edgesep_split(edgesep_block *z) {
    normalise(z);
    const int32_t dc = z->re[0] + z->im[0];
    const int32_t nyquist = z->re[0] - z->im[0];
    z->re[0] = dc;
    z->im[0] = nyquist;
    join_mirrored(z, 1);
}

EDGESEP_HOT
void edgesep_unsplit(edgesep_block *x) {
    normalise(x);
    const int32_t even = fx_half(x->re[0] + x->im[0]);
    const int32_t odd = fx_half(x->re[0] - x->im[0]);
    x->re[0] = even;
    x->im[0] = odd;
    join_mirrored(x, -1);
}
