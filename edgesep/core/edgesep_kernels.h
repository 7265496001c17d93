/* Int8 kernels with the bytes of LiteRT's reference kernels; edgesep_network.h says what they take.
 *
 * They trust their tables: edgesep_stream_init has checked that all lies inside the memory,
 * and the compiler of the tables that no sum leaves 2^30.
 */
#ifndef EDGESEP_KERNELS_H
#define EDGESEP_KERNELS_H

#include <stdint.h>

#include "edgesep_network.h"

/* scratch: 2 x row_bytes values. */
void edgesep_convolve(const edgesep_filter *filter, const int8_t *input, int16_t *scratch,
                      int8_t *output);

void edgesep_convolve_depthwise(const edgesep_filter *filter, const int8_t *input, int8_t *output);

void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second, int8_t *output);

#endif
