/* The arithmetic of the int8 kernels, in the form that the processor runs fastest.
 *
 * Three forms of the same integers, one header each: plain C, which compilers turn into AVX2 or
 * NEON; packed halfwords for the DSP instructions of Cortex-M4, M7 and M33; vectors of bytes for
 * Helium on Cortex-M55. Each has
 *
 *     edgesep_value                    what a patch is made of
 *     patch_put, patch_fill            lay out what a kernel sees
 *     convolve_one, convolve_two       all output channels of one position, of two side by side
 *     depthwise_window                 all channels of one position, one to one
 *     add_values                       a sum
 *
 * Sums are exact, so the order of the products does not matter; how they are rounded stands in
 * edgesep_fixed.h (fx_scale), and each form has those bits.
 */
#ifndef EDGESEP_DOT_H
#define EDGESEP_DOT_H

#include "edgesep_network.h"

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#include "edgesep_dot_helium.h"
#elif (defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN)) ||        \
    defined(EDGESEP_EMULATE_DSP)
#include "edgesep_dot_dsp.h"
#else
#include "edgesep_dot_portable.h"
#endif

#endif
