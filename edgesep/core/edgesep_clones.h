/* EDGESEP_HOT marks the loops worth building twice on x86-64: for the baseline and for AVX2.
 *
 * The Python package's builder defines EDGESEP_X86_CLONES where the C library picks the clone at
 * load time. The arithmetic is integer, so both clones give the same bits.
 */
#ifndef EDGESEP_CLONES_H
#define EDGESEP_CLONES_H

#if defined(EDGESEP_X86_CLONES) && defined(__x86_64__) && defined(__gnu_linux__) &&                \
    ((defined(__clang__) && __clang_major__ >= 16) || (!defined(__clang__) && __GNUC__ >= 8))
#define EDGESEP_HOT __attribute__((target_clones("avx2", "default")))
#else
#define EDGESEP_HOT
#endif

#if defined(__GNUC__)
#define EDGESEP_INLINE static inline __attribute__((always_inline))
#else
#define EDGESEP_INLINE static inline
#endif

#endif
