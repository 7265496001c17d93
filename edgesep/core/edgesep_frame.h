/* One frame of one channel: 512 int16 samples -> spectrum, spectrum -> windowed samples. */
#ifndef EDGESEP_FRAME_H
#define EDGESEP_FRAME_H

#include <stdint.h>

#include "edgesep_fft.h"
#include "edgesep_status.h"

#define EDGESEP_WINDOW 512

/* Fraction bits of synthesised samples before they are added up and rounded. */
#define EDGESEP_FRACTION_BITS 10

/* Window and transform a frame. Returns 0 for an all-zero frame (spectrum zero, exponent 0). */
int edgesep_analyse_frame(const int16_t *frame, edgesep_block *spectrum, edgesep_block *scratch);

/* Transform a spectrum of this extent back, in place: time sample 2n is im[n], 2n + 1 is re[n]. */
void edgesep_synthesise_frame(edgesep_block *spectrum, edgesep_block *scratch, uint32_t extent);

/* Apply the synthesis window (Q30) to the last `count` samples of a frame that
 * edgesep_synthesise_frame made; `count` is a multiple of 32. Writes samples with ten fraction bits. */
void edgesep_window_frame(const edgesep_block *frame, const int32_t *window, int count,
                          int32_t *samples);

/* Add the tail of the hop before to hop_samples + fade_samples windowed samples, round
 * the hop to int16, keep the new tail: fade_samples. Both counts are multiples of 32. */
void edgesep_overlap_add(const int32_t *samples, int32_t *tail, int hop_samples, int fade_samples,
                         int16_t *hop);

/* Batches, for tests and measurements. frames: count x 512. re, im: count x 256.
 * exponent: count. samples: count x 512, windowed by the analysis window only. */
int edgesep_forward(const int16_t *frames, int count, int32_t *re, int32_t *im, int32_t *exponent);
int edgesep_inverse(const int32_t *re, const int32_t *im, const int32_t *exponent, int count,
                    int32_t *samples, int32_t *out_exponent);

#endif
