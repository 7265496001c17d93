/* Complex numbers of the transforms, and the pairs of bins that make a real spectrum: what the
 * loops of edgesep_fft.c share. */
#ifndef EDGESEP_COMPLEX_H
#define EDGESEP_COMPLEX_H

#include "edgesep_clones.h"
#include "edgesep_fft.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#define QUARTER (EDGESEP_BINS / 4)

typedef struct complex32 {
    int32_t re, im;
} complex32;

/* Part x of a block after its normalisation by `room`: shifted left, or right and rounded. */
EDGESEP_INLINE int32_t normal(int32_t x, int room) {
    return room >= 0 ? fx_shl(x, room) : fx_rshr(x, -room);
}

/* Join low, bin k of a normalised block, with high, bin 256 - k. `sign` is 1 for split; -1 for
 * unsplit, which turns by the conjugate twiddle, adds where split subtracts and leaves real and
 * imaginary parts exchanged. */
EDGESEP_INLINE void join_pair(complex32 *low, complex32 *high, int k, int sign) {
    const int32_t c = edgesep_split_cos_q31[k];
    const int32_t s = edgesep_split_sin_q31[k];
    const int32_t br = low->re - high->re;
    const int32_t bi = low->im + high->im;
    const int32_t hr = fx_half(low->re + high->re);
    const int32_t hi = fx_half(low->im - high->im);
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
        low->im = 2 * hr - hr_ti;
        low->re = hi + tr;
        high->im = hr_ti;
        high->re = tr - hi;
    }
}

/* The same for bins k and 256 - k of a block that is to be normalised by `room`. Returns their
 * extent. */
EDGESEP_INLINE uint32_t join_bins(edgesep_block *z, int k, int sign, int room) {
    const int m = EDGESEP_BINS - k;
    complex32 low = {normal(z->re[k], room), normal(z->im[k], room)};
    complex32 high = {normal(z->re[m], room), normal(z->im[m], room)};
    join_pair(&low, &high, k, sign);
    z->re[k] = low.re;
    z->im[k] = low.im;
    z->re[m] = high.re;
    z->im[m] = high.im;
    return fx_extent(low.re) | fx_extent(low.im) | fx_extent(high.re) | fx_extent(high.im);
}

#if !defined(EDGESEP_HELIUM)

EDGESEP_INLINE uint32_t join_all(edgesep_block *z, int sign, int room) {
    uint32_t extent = 0;
    for (int k = 1; k < EDGESEP_BINS / 2; k++) {
        extent |= join_bins(z, k, sign, room);
    }
    return extent;
}

/* Join bins k and 256 - k of a block that is to be normalised by `room`, k = 1 .. 127. Returns
 * their extent. */
EDGESEP_INLINE uint32_t fft_join(edgesep_block *z, int sign, int room) {
    /* Two loops, one for each direction of the shift. */
    return room >= 0 ? join_all(z, sign, room > 0 ? room : 0)
                     : join_all(z, sign, room < 0 ? room : -1);
}

EDGESEP_INLINE uint32_t fft_extent(const edgesep_block *z) {
    uint32_t extent = 0;
    for (int k = 0; k < EDGESEP_BINS; k++) {
        extent |= fx_extent(z->re[k]) | fx_extent(z->im[k]);
    }
    return extent;
}

#endif

#endif
