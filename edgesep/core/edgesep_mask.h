/* Gains: from settings to a table, and from a mask byte per band to a masked spectrum. */
#ifndef EDGESEP_MASK_H
#define EDGESEP_MASK_H

#include <stdint.h>

#include "edgesep_fft.h"
#include "edgesep_status.h"

#define EDGESEP_UNITY_Q15 32768

/* Fill the gain of each mask byte + 128, Q15.
 * floor_q15: least gain for speech, 32768 10^(-max_attenuation_db / 20). wet_q15: 0 .. 32768.
 * background: not 0 for one minus the mask, without a floor. */
int edgesep_gain_table(int32_t floor_q15, int32_t wet_q15, int background, uint16_t gains_q15[256]);

/* Multiply a spectrum by a gain per bin, Q30 0 .. 2^30; the Nyquist bin takes the last one.
 * Returns the extent of the result. */
uint32_t edgesep_apply_gains(const edgesep_block *spectrum,
                             const int32_t bin_gains_q30[EDGESEP_BINS], edgesep_block *masked);

#endif
