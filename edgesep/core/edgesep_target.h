/* Which instructions a build uses beyond plain C: the DSP extension of Cortex-M4, M7 and M33, and on
 * Cortex-M55 Helium besides. They change speed, never bits.
 *
 * EDGESEP_PLAIN, defined for a whole build, keeps to plain C.
 */
#ifndef EDGESEP_TARGET_H
#define EDGESEP_TARGET_H

#if !defined(EDGESEP_PLAIN) && defined(__GNUC__)
#if defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN)
#define EDGESEP_DSP
#endif
#if defined(__ARM_FEATURE_MVE)
#define EDGESEP_HELIUM
#endif
#endif

#endif
