/* 256-point complex transform and the real transform of 512 samples built on it.
 *
 * Block floating point: part c of a block stands for c * 2^exponent. The caller owns all memory.
 * A step that needs to know how far its input may be shifted is handed the input's extent (see
 * fx_extent), which the step before it found on its way.
 */
#ifndef EDGESEP_FFT_H
#define EDGESEP_FFT_H

#include <stdint.h>

#define EDGESEP_BINS 256

typedef struct edgesep_block {
    int32_t re[EDGESEP_BINS];
    int32_t im[EDGESEP_BINS]; /* of a spectrum: im[0] is the Nyquist bin */
    int32_t exponent;
} edgesep_block;

/* The extent of a block: its bit length is one above that of the largest part; 0 for all zero. */
uint32_t edgesep_extent(const edgesep_block *block);

/* Transform z in place, forward; magnitudes of the parts up to 2^30.5 in and out. Returns the
 * extent of the result. */
uint32_t edgesep_fft256(edgesep_block *z, edgesep_block *scratch, uint32_t extent);

/* Transform z in place, backward, including the division by 256. Real and imaginary parts are
 * exchanged in z and in the result: so it is the same transform. */
void edgesep_ifft256(edgesep_block *z, edgesep_block *scratch, uint32_t extent);

/* Turn the transform of even + i odd samples into the spectrum of the real samples, in place. */
void edgesep_split(edgesep_block *z, uint32_t extent);

/* Undo edgesep_split, but leave real and imaginary parts exchanged. Returns the extent. */
uint32_t edgesep_unsplit(edgesep_block *x, uint32_t extent);

#endif
