/* 256-point complex transform and the real transform of 512 samples built on it.
 *
 * Block floating point: part c of a block stands for c * 2^exponent. The caller owns all memory.
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

/* Transform z in place, forward; magnitudes of the parts up to 2^30.5 in and out. */
void edgesep_fft256(edgesep_block *z, edgesep_block *scratch);

/* Transform z in place, backward, including the division by 256. */
void edgesep_ifft256(edgesep_block *z, edgesep_block *scratch);

/* Turn the transform of even + i odd samples into the spectrum of the real samples, in place. */
void edgesep_split(edgesep_block *z);

/* Undo edgesep_split. */
void edgesep_unsplit(edgesep_block *x);

#endif
