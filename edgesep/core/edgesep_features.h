/* Features of a frame: per band the log power, and the log power above a noise floor. */
#ifndef EDGESEP_FEATURES_H
#define EDGESEP_FEATURES_H

#include <stdint.h>

#include "edgesep_fft.h"

/* Noise floor before the first frame: log2 power in Q16, the highest level there is. */
#define EDGESEP_FLOOR_START (10495 << 8)

/* Power of bins first .. last - 1, in units of 2^(2 (exponent + 6)); bin 0 is DC alone. */
uint64_t edgesep_band_power(const edgesep_block *spectrum, int first, int last);

/* log2 of power * 2^scale, Q8, clamped to 2048 .. 10495; 2048 for no power. */
int32_t edgesep_level_q8(uint64_t power, int scale);

/* Noise floor, Q16, after a frame of this level, Q8. */
int32_t edgesep_track_floor(int32_t floor_q16, int32_t level_q8, int rise_shift, int fall_shift);

/* Write the band's two features. */
void edgesep_quantise_features(int32_t level_q8, int32_t floor_q16, int8_t features[2]);

#endif
