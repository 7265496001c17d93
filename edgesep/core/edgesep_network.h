/* The int8 network: features of a frame in, mask of the frame out, states kept between frames.
 *
 *     size = edgesep_stream_size(&network);               ask, 0 means a network not allowed
 *     edgesep_stream_init(memory, size, &network);        hand in memory, aligned to 8 bytes
 *     for (;;) {
 *         edgesep_stream_step(stream, features, mask);
 *     }
 *
 * A network is constant tables that edgesep/engine/plan.py makes from a .tflite file: the steps of
 * a frame in order, each with its shapes, quantization, weights and the offsets of its
 * activations in an arena. They stay where they are (flash, on a board) and must outlive
 * the stream. The bytes are those of LiteRT's and TFLM's reference kernels. The memory belongs to
 * the caller; no function allocates, prints or keeps static state.
 */
#ifndef EDGESEP_NETWORK_H
#define EDGESEP_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "edgesep_status.h"

/* Rows of convolution weights are filled up with zeros to a multiple of this; within them, each row
 * of the kernel to a multiple of four. */
#define EDGESEP_ROW_ALIGN 16

/* A real factor: multiplier / 2^31 / 2^shift. */
typedef struct edgesep_scale {
    int32_t multiplier; /* 2^30 .. 2^31 - 1, or 0 */
    int32_t shift;      /* -30 .. 31; below 0 shifts left */
} edgesep_scale;

/* Convolution, or depthwise convolution, over activations [height][width][channels]. */
typedef struct edgesep_filter {
    int32_t input, output; /* offsets of the activations in the arena, bytes */
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels; /* depthwise: a multiple of in_channels */
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t pad_top, pad_left; /* positions before the first, holding the zero point */
    int32_t in_zero, out_zero; /* zero points */
    int32_t low;               /* smallest output: -128, or the zero point after a ReLU */
    int32_t right_only;        /* 1: every shift is above 0, which is quicker; else 0 */
    int32_t row_bytes;         /* convolution: weights of an output channel with their padding */
    const int8_t *weights;     /* [out_channels][row_bytes]; depthwise: [kernel][out_channels],
                                * and 16 zeros */
    const int32_t *bias;       /* with -in_zero times the sum of the weights */
    const int32_t *multiplier; /* edgesep_scale of each output channel, in two arrays */
    const int8_t *shift;
} edgesep_filter;

/* Sum of two activations of the same shape. */
typedef struct edgesep_sum {
    int32_t first, second, output, count;
    int32_t first_zero, second_zero, out_zero, low;
    edgesep_scale first_scale, second_scale, out_scale;
} edgesep_sum;

/* Part of a concatenation: `rows` rows of row_bytes, output rows output_stride apart. */
typedef struct edgesep_copy {
    int32_t input, output, rows, row_bytes, output_stride;
} edgesep_copy;

/* Columns of earlier frames and this one, oldest first; this one is remembered. */
typedef struct edgesep_recall {
    int32_t column, output; /* output: taps + 1 columns */
    int32_t ring;           /* offset of taps * dilation columns among the rings */
    int32_t taps, dilation, column_bytes;
    int32_t zero; /* what the ring holds before the first frame */
} edgesep_recall;

/* A function of one byte, by table: entry x + 128. */
typedef struct edgesep_lookup {
    int32_t input, output, count;
    const int8_t *table;
} edgesep_lookup;

typedef enum edgesep_step_kind {
    EDGESEP_CONV = 0,
    EDGESEP_DEPTHWISE = 1,
    EDGESEP_SUM = 2,
    EDGESEP_COPY = 3,
    EDGESEP_RECALL = 4,
    EDGESEP_LOOKUP = 5
} edgesep_step_kind;

typedef struct edgesep_step {
    int32_t kind;  /* edgesep_step_kind */
    int32_t index; /* in the array of that kind */
} edgesep_step;

typedef struct edgesep_network {
    int32_t features, features_bytes; /* offset and size of the input in the arena */
    int32_t mask, mask_bytes;
    int32_t arena_bytes, rings_bytes;
    int32_t patch_values; /* largest row_bytes; a quarter of a depthwise kernel's bytes, if more */
    int32_t step_count, filter_count, sum_count, copy_count, recall_count, lookup_count;
    const edgesep_step *steps;
    const edgesep_filter *filters;
    const edgesep_sum *sums;
    const edgesep_copy *copies;
    const edgesep_recall *recalls;
    const edgesep_lookup *lookups;
} edgesep_network;

typedef struct edgesep_stream edgesep_stream;

/* Bytes that edgesep_stream_init needs; 0 for a network whose steps leave its memory. */
size_t edgesep_stream_size(const edgesep_network *network);

/* Set up a stream at the start of memory. On success `memory` is the stream. */
int edgesep_stream_init(void *memory, size_t size, const edgesep_network *network);

/* Forget the stream: the next frame is the first. */
int edgesep_stream_reset(edgesep_stream *stream);

/* Run one frame: features_bytes in, mask_bytes out. */
int edgesep_stream_step(edgesep_stream *stream, const int8_t *features, int8_t *mask);

#endif
