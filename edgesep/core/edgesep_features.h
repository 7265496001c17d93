/* Features of a frame: per band the log power, and the log power above a noise floor. */
#ifndef EDGESEP_FEATURES_H
#define EDGESEP_FEATURES_H

#include <stdint.h>

#include "edgesep_fft.h"

/* Noise floor before the first frame: log2 power in Q16, the highest level there is. */
#define EDGESEP_FLOOR_START (10495 << 8)

/* Add the power in each band of a channel, shifted right by `shift` (0 .. 63), to power[bands].
 * Unit of the power: 2^(2 (exponent + 6)); bin 0 is DC alone. */
void edgesep_add_band_power(const edgesep_block *spectrum, const uint16_t *edges, int bands,
                            int shift, uint64_t *power);

/* log2 of power[bands] * 2^scale, Q8, clamped to 2048 .. 10495; 2048 for no power. */
void edgesep_levels_q8(const uint64_t *power, int bands, int scale, int32_t *levels_q8);

/* Move the noise floors, Q16, after a frame of these levels, Q8; write features[bands][2]. */
void edgesep_track_and_quantise(const int32_t *levels_q8, int bands, int rise_shift, int fall_shift,
                                int32_t *floors_q16, int8_t *features);

#endif
