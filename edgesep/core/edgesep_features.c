/* Bands, levels and the noise floor; see edgesep_features.h. */
#include "edgesep_features.h"

#include "edgesep_clones.h"
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

static uint64_t band_power(const edgesep_block *spectrum, int first, int last) {
    uint64_t power = 0;
    for (int k = first; k < last; k++) {
        power += squared(spectrum->re[k]);
        power += k == 0 ? 0 : squared(spectrum->im[k]); /* im[0] is the Nyquist bin */
    }
    return power;
}

void edgesep_add_band_power(const edgesep_block *spectrum, const uint16_t *edges, int bands,
                            int shift, uint64_t *power) {
    for (int b = 0; b < bands; b++) {
        power[b] += band_power(spectrum, edges[b], edges[b + 1]) >> shift;
    }
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

void edgesep_levels_q8(const uint64_t *power, int bands, int scale, int32_t *levels_q8) {
    for (int b = 0; b < bands; b++) {
        const int32_t level = power[b] == 0 ? LEVEL_MIN : log2_q8(power[b]) + scale * 256;
        levels_q8[b] = fx_clamp(level, LEVEL_MIN, LEVEL_MAX);
    }
}

EDGESEP_HOT
void edgesep_track_and_quantise(const int32_t *restrict levels_q8, int bands, int rise_shift,
                                int fall_shift, int32_t *restrict floors_q16,
                                int8_t *restrict features) {
    const int32_t half = 1 << (STEP_BITS - 1);
    for (int b = 0; b < bands; b++) {
        const int32_t level = levels_q8[b];
        const int32_t difference = level * 256 - floors_q16[b];
        const int32_t rise = difference >> rise_shift;
        const int32_t fall = difference >> fall_shift;
        const int32_t floor = floors_q16[b] + (difference > 0 ? rise : fall);
        const int32_t above = level - (floor >> 8);
        floors_q16[b] = floor;
        features[2 * b] = fx_sat8((level - LEVEL_CENTRE + half) >> STEP_BITS);
        features[2 * b + 1] = fx_sat8(((above + half) >> STEP_BITS) - FLOOR_OFFSET);
    }
}
