/* Gains; see edgesep_mask.h. */
#include "edgesep_mask.h"

#include <stddef.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"

int edgesep_gain_table(int32_t floor_q15, int32_t wet_q15, int background,
                       uint16_t gains_q15[256]) {
    if (gains_q15 == NULL || floor_q15 < 0 || floor_q15 > EDGESEP_UNITY_Q15 || wet_q15 < 0 ||
        wet_q15 > EDGESEP_UNITY_Q15) {
        return EDGESEP_BAD_ARGUMENT;
    }
    for (int32_t u = 0; u < 256; u++) {
        const int32_t speech = (u * EDGESEP_UNITY_Q15 + 127) / 255;
        const int32_t floored = speech > floor_q15 ? speech : floor_q15;
        const int32_t target = background ? EDGESEP_UNITY_Q15 - speech : floored;
        const int32_t change = fx_rshr(wet_q15 * (target - EDGESEP_UNITY_Q15), 15);
        gains_q15[u] = (uint16_t)(EDGESEP_UNITY_Q15 + change);
    }
    return EDGESEP_OK;
}

EDGESEP_HOT
static void multiply(const int32_t *restrict x, const int32_t *restrict gains_q15,
                     int32_t *restrict y) {
    for (int k = 0; k < EDGESEP_BINS; k++) {
        y[k] = fx_mulhr(x[k], fx_shl(gains_q15[k], 15)); /* a gain of one divides by four */
    }
}

void edgesep_apply_gains(const edgesep_block *spectrum, const int32_t bin_gains_q15[EDGESEP_BINS],
                         edgesep_block *masked) {
    multiply(spectrum->re, bin_gains_q15, masked->re);
    multiply(spectrum->im, bin_gains_q15, masked->im);
    masked->im[0] = fx_mulhr(spectrum->im[0], fx_shl(bin_gains_q15[EDGESEP_BINS - 1], 15));
    masked->exponent = spectrum->exponent + 2;
}
