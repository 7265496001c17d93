/* The loops of the transforms with the DSP extension: smmlar adds a rounded product, so that of two
 * turned numbers only the sum is made from products: the difference is twice the first less the sum.
 * Included by edgesep_fft.c alone. */
#ifndef EDGESEP_FFT_DSP_H
#define EDGESEP_FFT_DSP_H

#include "edgesep_complex.h"

#define ONE_Q30 (1 << 30) /* twiddle of no turn: divides by four */

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

/* Stage that joins 4 transforms of `size` points of x << room: x -> y. Returns y's extent if it is
 * to be measured. */
EDGESEP_INLINE uint32_t fft_stage(const edgesep_block *restrict x, edgesep_block *restrict y,
                                  int size, int room, int measured) {
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
    return measured ? extent : 0;
}

#endif
