/* Int8 kernels with the bytes of LiteRT's reference kernels; edgesep_network.h says what they take.
 *
 * They trust their tables: edgesep_stream_init has checked that all lies inside the memory,
 * and the compiler of the tables that no sum leaves 2^30.
 */
#ifndef EDGESEP_KERNELS_H
#define EDGESEP_KERNELS_H

#include <stdint.h>

#include "edgesep_network.h"

#define EDGESEP_SUM_LEFT_SHIFT 20 /* fraction bits of the terms of a sum */

/* Values of a patch that a row of the kernel takes, filled up to four. */
static inline int32_t edgesep_row_values(const edgesep_filter *f) {
    return (f->kernel_width * f->in_channels + 3) & ~3;
}

/* Values of a patch: what a row of weights holds before it is filled up. */
static inline int32_t edgesep_patch_values(const edgesep_filter *f) {
    return f->kernel_height * edgesep_row_values(f);
}

/* What a depthwise kernel sees of one channel: rows of `columns` values, row_stride bytes apart. */
typedef struct edgesep_taps {
    int32_t rows, columns, row_stride;
} edgesep_taps;

/* scratch: 2 x patch_values of the network. */
void edgesep_convolve(const edgesep_filter *filter, const int8_t *input, int16_t *scratch,
                      int8_t *output);

void edgesep_convolve_depthwise(const edgesep_filter *filter, const int8_t *input, int16_t *scratch,
                                int8_t *output);

void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second, int8_t *output);

#endif
