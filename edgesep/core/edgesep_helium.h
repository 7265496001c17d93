/* What the Helium loops share. Included only where EDGESEP_HELIUM is defined. */
#ifndef EDGESEP_HELIUM_H
#define EDGESEP_HELIUM_H

#include <arm_mve.h>

#include "edgesep_clones.h"
#include "edgesep_fixed.h"

/* The extent of x[count], count a multiple of four, whose largest absolute value is known: one
 * instruction finds it, and leaves in doubt only whether a power of two was reached from below. */
EDGESEP_INLINE uint32_t helium_extent(const int32_t *x, int count, uint32_t largest) {
    if ((largest & (largest - 1)) != 0) {
        return largest << 1;
    }
    int32x4_t extent = vdupq_n_s32(0);
    for (int n = 0; n < count; n += 4) {
        const int32x4_t v = vldrwq_s32(x + n);
        extent = vorrq_s32(extent, veorq_s32(v, vshlq_n_s32(v, 1)));
    }
    return (uint32_t)(vgetq_lane_s32(extent, 0) | vgetq_lane_s32(extent, 1) |
                      vgetq_lane_s32(extent, 2) | vgetq_lane_s32(extent, 3));
}

#endif
