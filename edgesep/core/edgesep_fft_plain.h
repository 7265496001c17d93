/* The loops of the transforms in plain C: what the others must equal, and what compilers turn into
 * AVX2 or NEON. Included by edgesep_fft.c alone. */
#ifndef EDGESEP_FFT_PLAIN_H
#define EDGESEP_FFT_PLAIN_H

#include "edgesep_complex.h"

/* Input n shifted left by `room`, turned by row `row` of the twiddles (`column` is 0, 2 or 4 for
 * input 1, 2 or 3 of a butterfly) and divided by 4. */
EDGESEP_INLINE complex32 turn(const edgesep_block *x, int n, int room, int column, int row) {
    const int32_t re = fx_shl(x->re[n], room);
    const int32_t im = fx_shl(x->im[n], room);
    const int32_t c = edgesep_fft_turns_q30[column * QUARTER + row];
    const int32_t s = edgesep_fft_turns_q30[(column + 1) * QUARTER + row];
    const complex32 y = {
        fx_mulhr(re, c) + fx_mulhr(im, s),
        fx_mulhr(im, c) - fx_mulhr(re, s),
    };
    return y;
}

/* The same for row 0, bit for bit. */
EDGESEP_INLINE complex32 quarter(const edgesep_block *x, int n, int room) {
    const complex32 y = {
        fx_rshr(fx_shl(x->re[n], room), 2),
        fx_rshr(fx_shl(x->im[n], room), 2),
    };
    return y;
}

/* One butterfly: four inputs `step` apart from `in`, four outputs a quarter apart from `out`.
 */
EDGESEP_INLINE void butterfly(const edgesep_block *x, int in, int step, edgesep_block *y, int out,
                              int room, int row) {
    const int plain = step == QUARTER; /* the first stage turns nothing */
    const int in1 = in + step;
    const int in2 = in + 2 * step;
    const int in3 = in + 3 * step;
    const complex32 y0 = quarter(x, in, room);
    const complex32 y1 = plain ? quarter(x, in1, room) : turn(x, in1, room, 0, row);
    const complex32 y2 = plain ? quarter(x, in2, room) : turn(x, in2, room, 2, row);
    const complex32 y3 = plain ? quarter(x, in3, room) : turn(x, in3, room, 4, row);
    const complex32 a = {y0.re + y2.re, y0.im + y2.im};
    const complex32 b = {y0.re - y2.re, y0.im - y2.im};
    const complex32 p = {y1.re + y3.re, y1.im + y3.im};
    const complex32 d = {y1.re - y3.re, y1.im - y3.im};
    y->re[out] = a.re + p.re;
    y->im[out] = a.im + p.im;
    y->re[out + QUARTER] = b.re + d.im;
    y->im[out + QUARTER] = b.im - d.re;
    y->re[out + 2 * QUARTER] = a.re - p.re;
    y->im[out + 2 * QUARTER] = a.im - p.im;
    y->re[out + 3 * QUARTER] = b.re - d.im;
    y->im[out + 3 * QUARTER] = b.im + d.re;
}

/* Stage that joins 4 transforms of `size` points of x << room: x -> y. Returns y's extent if it is
 * to be measured, from a pass of its own: compilers make more of two simple loops. */
EDGESEP_INLINE uint32_t fft_stage(const edgesep_block *restrict x, edgesep_block *restrict y,
                                  int size, int room, int measured) {
    const int step = QUARTER / size;
    if (step == 1) { /* the other loop would run once each time */
        for (int j = 0; j < size; j++) {
            butterfly(x, 4 * j, 1, y, j, room, j);
        }
    } else {
        for (int j = 0; j < size; j++) {
            for (int k = 0; k < step; k++) {
                butterfly(x, 4 * step * j + k, step, y, step * j + k, room, step * j);
            }
        }
    }
    return measured ? fft_extent(y) : 0;
}

#endif
