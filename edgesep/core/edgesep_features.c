/* Bands, levels and the noise floor; see edgesep_features.h. */
#include "edgesep_features.h"

#include "edgesep_clones.h"
#include "edgesep_fixed.h"
#include "edgesep_tables.h"

#if defined(EDGESEP_HELIUM)
#include "edgesep_helium.h"
#endif

#define POWER_SHIFT 6 /* bits dropped before squaring: 256 bins stay below 2^57 */
#define LEVEL_MIN 2048
#define LEVEL_MAX 10495
#define LEVEL_CENTRE (24 * 256) /* the level that the first feature codes as 0 */
#define FLOOR_OFFSET 64         /* the second codes "at the floor" as -64 */
#define STEP_BITS 5             /* eight steps an octave of power: .376 dB each */

/* sum + the square of a part; signed, which processors multiply and add in one. */
static int64_t add_square(int64_t sum, int32_t part) {
    const int32_t x = part >> POWER_SHIFT;
    return sum + (int64_t)x * x;
}

void edgesep_add_band_power(const edgesep_block *spectrum, const uint16_t *edges, int bands,
                            int shift, uint64_t *power) {
    const int32_t *re = spectrum->re;
    const int32_t *im = spectrum->im;
    int64_t sum = -add_square(0, im[0]); /* the Nyquist bin, which the first band leaves out */
    int k = 0;
    for (int b = 0; b < bands; b++) {
        const int last = edges[b + 1];
        for (; k < last; k++) {
            sum = add_square(add_square(sum, re[k]), im[k]);
        }
        power[b] += shift == 0 ? (uint64_t)sum : (uint64_t)sum >> shift;
        sum = 0;
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

#if defined(EDGESEP_HELIUM)

/* Track and quantise bands by fours. Returns the number of those that are done. */
static int track_fours(const int32_t *levels_q8, int bands, int rise_shift, int fall_shift,
                       int32_t *floors_q16, int8_t *features) {
    const int32_t half = 1 << (STEP_BITS - 1);
    const uint32x4_t every_other = vidupq_n_u32(0, 2);
    const int32x4_t least = vdupq_n_s32(-128);
    const int32x4_t most = vdupq_n_s32(127);
    int b = 0;
    for (; b + 4 <= bands; b += 4) {
        const int32x4_t level = vldrwq_s32(levels_q8 + b);
        const int32x4_t before = vldrwq_s32(floors_q16 + b);
        const int32x4_t difference = vsubq_s32(vshlq_n_s32(level, 8), before);
        const int32x4_t rise = vshlq_r_s32(difference, -rise_shift);
        const int32x4_t fall = vshlq_r_s32(difference, -fall_shift);
        const int32x4_t change = vpselq_s32(rise, fall, vcmpgtq_n_s32(difference, 0));
        const int32x4_t floor = vaddq_s32(before, change);
        const int32x4_t above = vsubq_s32(level, vshrq_n_s32(floor, 8));
        const int32x4_t first = vshrq_n_s32(vaddq_n_s32(level, half - LEVEL_CENTRE), STEP_BITS);
        const int32x4_t second =
            vsubq_n_s32(vshrq_n_s32(vaddq_n_s32(above, half), STEP_BITS), FLOOR_OFFSET);
        vstrwq_s32(floors_q16 + b, floor);
        vstrbq_scatter_offset_s32(features + 2 * b, every_other,
                                  vminq_s32(vmaxq_s32(first, least), most));
        vstrbq_scatter_offset_s32(features + 2 * b + 1, every_other,
                                  vminq_s32(vmaxq_s32(second, least), most));
    }
    return b;
}

#endif

EDGESEP_HOT
void edgesep_track_and_quantise(const int32_t *restrict levels_q8, int bands, int rise_shift,
                                int fall_shift, int32_t *restrict floors_q16,
                                int8_t *restrict features) {
    const int32_t half = 1 << (STEP_BITS - 1);
    int b = 0;
#if defined(EDGESEP_HELIUM)
    b = track_fours(levels_q8, bands, rise_shift, fall_shift, floors_q16, features);
#endif
    for (; b < bands; b++) {
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
