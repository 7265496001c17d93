/* The loops of the transforms with the DSP extension: smmlar adds a rounded product, so that of two
 * turned numbers only the sum is made from products: the difference is twice the first less the sum.
 * Included by edgesep_fft.c alone. */
#ifndef EDGESEP_FFT_DSP_H
#define EDGESEP_FFT_DSP_H

#include "edgesep_clones.h"
#include "edgesep_fft.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#define QUARTER (EDGESEP_BINS / 4)
#define ONE_Q30 (1 << 30) /* twiddle of no turn: divides by four */

typedef struct complex32 {
    int32_t re, im;
} complex32;

/* Parts n of a block whose real parts begin at x: one pointer, so that all parts are within the
 * reach of a load. */
EDGESEP_INLINE complex32 shifted(const int32_t *x, int n, int room) {
    const complex32 z = {fx_shl(x[n], room), fx_shl(x[EDGESEP_BINS + n], room)};
    return z;
}

/* z / 4 */
EDGESEP_INLINE complex32 quarter(complex32 z) {
    const complex32 y = {fx_mulhr(z.re, ONE_Q30), fx_mulhr(z.im, ONE_Q30)};
    return y;
}

/* z turned by cos c, sin s and divided by four */
EDGESEP_INLINE complex32 turned(complex32 z, int32_t c, int32_t s) {
    const complex32 y = {
        fx_mulhr_add(fx_mulhr(z.re, c), z.im, s),
        fx_mulhr(z.im, c) - fx_mulhr(z.re, s),
    };
    return y;
}

/* base + z turned by cos c, sin s and divided by four */
EDGESEP_INLINE complex32 add_turned(complex32 base, complex32 z, int32_t c, int32_t s) {
    const complex32 sum = {
        fx_mulhr_add(fx_mulhr_add(base.re, z.re, c), z.im, s),
        fx_mulhr_add(base.im, z.im, c) - fx_mulhr(z.re, s),
    };
    return sum;
}

/* base + z / 4 */
EDGESEP_INLINE complex32 add_quarter(complex32 base, complex32 z) {
    const complex32 sum = {
        fx_mulhr_add(base.re, z.re, ONE_Q30),
        fx_mulhr_add(base.im, z.im, ONE_Q30),
    };
    return sum;
}

/* x - y, of which y's sum x + y is known */
EDGESEP_INLINE complex32 other(complex32 x, complex32 sum) {
    const complex32 difference = {2 * x.re - sum.re, 2 * x.im - sum.im};
    return difference;
}

EDGESEP_INLINE uint32_t put(int32_t *y, int n, int32_t part, uint32_t extent) {
    y[n] = part;
    return extent | fx_extent(part);
}

/* What follows the turns: four outputs a quarter apart. Returns their extent and that so far. */
EDGESEP_INLINE uint32_t finish(int32_t *y, complex32 a, complex32 b, complex32 p, complex32 d,
                               uint32_t extent) {
    extent = put(y, 0, a.re + p.re, extent);
    extent = put(y, 2 * QUARTER, a.re - p.re, extent);
    extent = put(y, EDGESEP_BINS, a.im + p.im, extent);
    extent = put(y, EDGESEP_BINS + 2 * QUARTER, a.im - p.im, extent);
    extent = put(y, QUARTER, b.re + d.im, extent);
    extent = put(y, 3 * QUARTER, b.re - d.im, extent);
    extent = put(y, EDGESEP_BINS + QUARTER, b.im - d.re, extent);
    return put(y, EDGESEP_BINS + 3 * QUARTER, b.im + d.re, extent);
}

/* A butterfly without turns: inputs `step` apart. */
EDGESEP_INLINE uint32_t plain(const int32_t *x, int step, int room, int32_t *y, uint32_t extent) {
    const complex32 y0 = quarter(shifted(x, 0, room));
    const complex32 a = add_quarter(y0, shifted(x, 2 * step, room));
    const complex32 b = other(y0, a);
    const complex32 y1 = quarter(shifted(x, step, room));
    const complex32 p = add_quarter(y1, shifted(x, 3 * step, room));
    const complex32 d = other(y1, p);
    return finish(y, a, b, p, d, extent);
}

/* A butterfly whose turns stand a column apart. */
EDGESEP_INLINE uint32_t turning(const int32_t *x, int step, int room, const int32_t *turns,
                                int32_t *y, uint32_t extent) {
    const complex32 y0 = quarter(shifted(x, 0, room));
    const complex32 a =
        add_turned(y0, shifted(x, 2 * step, room), turns[2 * QUARTER], turns[3 * QUARTER]);
    const complex32 b = other(y0, a);
    const complex32 y1 = turned(shifted(x, step, room), turns[0], turns[QUARTER]);
    const complex32 p =
        add_turned(y1, shifted(x, 3 * step, room), turns[4 * QUARTER], turns[5 * QUARTER]);
    const complex32 d = other(y1, p);
    return finish(y, a, b, p, d, extent);
}

/* Stage that joins 4 transforms of `size` points of x << room: x -> y. Returns y's extent. */
EDGESEP_INLINE uint32_t fft_stage(const edgesep_block *restrict x, edgesep_block *restrict y,
                                  int size, int room) {
    const int step = QUARTER / size;
    const int32_t *in = (const int32_t *)x;
    int32_t *out = (int32_t *)y;
    const int32_t *turns = edgesep_fft_turns_q30;
    uint32_t extent = 0;
    for (int k = 0; k < step; k++) {
        extent = plain(in++, step, room, out++, extent);
    }
    while (turns += step, turns < edgesep_fft_turns_q30 + QUARTER) {
        in += 3 * step;
        for (int k = 0; k < step; k++) {
            extent = turning(in++, step, room, turns, out++, extent);
        }
    }
    return extent;
}

/* Part x of a block after its normalisation by `room`: shifted left, or right and rounded. */
EDGESEP_INLINE int32_t normal(int32_t x, int room) {
    return room >= 0 ? fx_shl(x, room) : fx_rshr(x, -room);
}

/* Join low, bin k of a normalised block, with high, bin 256 - k: see fft_join. */
EDGESEP_INLINE void join_pair(complex32 *low, complex32 *high, int k, int32_t sign) {
    const int32_t c = edgesep_split_cos_q31[k];
    const int32_t s = edgesep_split_sin_q31[k];
    const int32_t br = low->re - high->re;
    const int32_t bi = low->im + high->im;
    const int32_t hr = (low->re + high->re + 1) >> 1; /* fx_half of what is below 2^30 */
    const int32_t hi = (low->im - high->im + 1) >> 1;
    if (sign > 0) {
        const int32_t ti = fx_mulhr(bi, c) - fx_mulhr(br, s);
        const int32_t hi_tr = fx_mulhr_add(fx_mulhr_add(hi, br, c), bi, s);
        low->re = hr + ti;
        low->im = 2 * hi - hi_tr;
        high->re = hr - ti;
        high->im = -hi_tr;
    } else {
        const int32_t tr = fx_mulhr(br, c) - fx_mulhr(bi, s);
        const int32_t hr_ti = fx_mulhr_add(fx_mulhr_add(hr, bi, c), br, s);
        low->im = 2 * hr - hr_ti; /* exchanged */
        low->re = hi + tr;
        high->im = hr_ti;
        high->re = tr - hi;
    }
}

EDGESEP_INLINE uint32_t join(edgesep_block *z, int32_t sign, int room) {
    const int half = EDGESEP_BINS / 2;
    uint32_t extent = 0;
    for (int k = 1; k < half; k++) {
        const int m = EDGESEP_BINS - k;
        complex32 low = {normal(z->re[k], room), normal(z->im[k], room)};
        complex32 high = {normal(z->re[m], room), normal(z->im[m], room)};
        join_pair(&low, &high, k, sign);
        z->re[k] = low.re;
        z->im[k] = low.im;
        z->re[m] = high.re;
        z->im[m] = high.im;
        extent |= fx_extent(low.re) | fx_extent(low.im) | fx_extent(high.re) | fx_extent(high.im);
    }
    const complex32 middle = {normal(z->re[half], room), -normal(z->im[half], room)};
    z->re[half] = sign > 0 ? middle.re : middle.im;
    z->im[half] = sign > 0 ? middle.im : middle.re;
    return extent | fx_extent(middle.re) | fx_extent(middle.im);
}

/* Normalise bins k and 256 - k by `room` and join them, k = 1 .. 127; normalise and conjugate bin
 * 128. `sign` is 1 for split; -1 for unsplit, which turns by the conjugate twiddle, adds where
 * split subtracts and writes real and imaginary parts exchanged. Returns the extent of these bins.
 */
EDGESEP_INLINE uint32_t fft_join(edgesep_block *z, int32_t sign, int room) {
    return room >= 0 ? join(z, sign, room > 0 ? room : 0) : join(z, sign, room < 0 ? room : -1);
}

/* The extent of n numbers. */
EDGESEP_INLINE uint32_t fft_extent(const int32_t *x, int n) {
    uint32_t extent = 0;
    for (int k = 0; k < n; k++) {
        extent |= fx_extent(x[k]);
    }
    return extent;
}

#endif
