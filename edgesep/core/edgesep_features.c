/* Bands, levels and the noise floor; see edgesep_features.h. */
#include "edgesep_features.h"

#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#define POWER_SHIFT 6 /* bits dropped before squaring: 256 bins stay below 2^57 */
#define LEVEL_MIN 2048
#define LEVEL_MAX 10495
#define LEVEL_CENTRE (24 * 256) /* the level that the first feature codes as 0 */
#define FLOOR_OFFSET 64         /* the second codes "at the floor" as -64 */
#define STEP_BITS 5             /* eight steps an octave of power: .376 dB each */

static uint64_t squared(int32_t part) {
    const int64_t x = part >> POWER_SHIFT;
    return (uint64_t)(x * x);
}

uint64_t edgesep_band_power(const edgesep_block *spectrum, int first, int last) {
    uint64_t power = squared(spectrum->re[first]);
    if (first > 0) { /* the imaginary part of bin 0 is the Nyquist bin */
        power += squared(spectrum->im[first]);
    }
    for (int k = first + 1; k < last; k++) {
        power += squared(spectrum->re[k]) + squared(spectrum->im[k]);
    }
    return power;
}

/* log2 of a positive power, Q8. */
static int32_t log2_q8(uint64_t power) {
    const int exponent = fx_bit_length64(power) - 1;
    const int32_t mantissa = (int32_t)((power << (63 - exponent)) >> 47) & 0xFFFF;
    const int32_t i = mantissa >> 10;
    const int32_t low = edgesep_log2_q16[i];
    const int32_t log = low + (((edgesep_log2_q16[i + 1] - low) * (mantissa & 1023)) >> 10);
    return exponent * 256 + ((log + 128) >> 8);
}

int32_t edgesep_level_q8(uint64_t power, int scale) {
    if (power == 0) {
        return LEVEL_MIN;
    }
    return fx_clamp(log2_q8(power) + scale * 256, LEVEL_MIN, LEVEL_MAX);
}

int32_t edgesep_track_floor(int32_t floor_q16, int32_t level_q8, int rise_shift, int fall_shift) {
    const int32_t above = level_q8 * 256 - floor_q16;
    return floor_q16 + (above >> (above > 0 ? rise_shift : fall_shift));
}

void edgesep_quantise_features(int32_t level_q8, int32_t floor_q16, int8_t features[2]) {
    const int32_t half = 1 << (STEP_BITS - 1);
    const int32_t above = level_q8 - (floor_q16 >> 8);
    features[0] = fx_sat8((level_q8 - LEVEL_CENTRE + half) >> STEP_BITS);
    features[1] = fx_sat8(((above + half) >> STEP_BITS) - FLOOR_OFFSET);
}
