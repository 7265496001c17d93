/* Gains; see edgesep_mask.h. */
#include "edgesep_mask.h"

#include <stddef.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"

#if defined(EDGESEP_HELIUM)
#include "edgesep_helium.h"
#endif

enum { FULL_MASK = 240 }; /* mask bytes from here on are a gain of one */

int edgesep_gain_table(int32_t floor_q15, int32_t wet_q15, int background,
                       uint16_t gains_q15[256]) {
    if (gains_q15 == NULL || floor_q15 < 0 || floor_q15 > EDGESEP_UNITY_Q15 || wet_q15 < 0 ||
        wet_q15 > EDGESEP_UNITY_Q15) {
        return EDGESEP_BAD_ARGUMENT;
    }
    for (int32_t u = 0; u < 256; u++) {
        const int32_t step = u < FULL_MASK ? u : FULL_MASK;
        const int32_t speech = (step * EDGESEP_UNITY_Q15 + FULL_MASK / 2) / FULL_MASK;
        const int32_t floored = speech > floor_q15 ? speech : floor_q15;
        const int32_t target = background ? EDGESEP_UNITY_Q15 - speech : floored;
        const int32_t change = fx_rshr(wet_q15 * (target - EDGESEP_UNITY_Q15), 15);
        gains_q15[u] = (uint16_t)(EDGESEP_UNITY_Q15 + change);
    }
    return EDGESEP_OK;
}

#if defined(EDGESEP_HELIUM)

/* Returns the extent of the products: a gain of one divides by four. */
static uint32_t multiply(const int32_t *x, const int32_t *gains_q30, int count, int32_t *y) {
    const int first = count % 4;
    uint32_t extent = 0;
    uint32_t largest = 0;
    for (int k = 0; k < first; k++) {
        y[k] = fx_mulhr(x[k], gains_q30[k]);
        extent |= fx_extent(y[k]);
    }
    for (int k = first; k < count; k += 4) {
        const int32x4_t product = vrmulhq_s32(vldrwq_s32(x + k), vldrwq_s32(gains_q30 + k));
        vstrwq_s32(y + k, product);
        largest = vmaxavq_s32(largest, product);
    }
    return extent | helium_extent(y + first, count - first, largest);
}

#else

/* Returns the extent of the products: a gain of one divides by four. */
EDGESEP_HOT
static uint32_t multiply(const int32_t *restrict x, const int32_t *restrict gains_q30, int count,
                         int32_t *restrict y) {
    uint32_t extent = 0;
    for (int k = 0; k < count; k++) {
        const int32_t product = fx_mulhr(x[k], gains_q30[k]);
        y[k] = product;
        extent |= fx_extent(product);
    }
    return extent;
}

#endif

uint32_t edgesep_apply_gains(const edgesep_block *spectrum,
                             const int32_t bin_gains_q30[EDGESEP_BINS], edgesep_block *masked) {
    const int32_t nyquist = fx_mulhr(spectrum->im[0], bin_gains_q30[EDGESEP_BINS - 1]);
    masked->im[0] = nyquist;
    masked->exponent = spectrum->exponent + 2;
    return fx_extent(nyquist) |
           multiply(spectrum->re, bin_gains_q30, EDGESEP_BINS, masked->re) |
           multiply(spectrum->im + 1, bin_gains_q30 + 1, EDGESEP_BINS - 1, masked->im + 1);
}
