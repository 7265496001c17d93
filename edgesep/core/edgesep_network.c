/* Runs the steps of a network; see edgesep_network.h. */
#include "edgesep_network.h"

#include <string.h>

#include "edgesep_kernels.h"

#define READY 0x6E657421u /* "net!" */
#define MAX_EXTENT 32768  /* of a height, a width, a number of channels or columns */

struct edgesep_stream {
    uint32_t ready;
    const edgesep_network *network;
    int8_t *arena;
    int8_t *rings;
    int16_t *patch;
    int32_t position[]; /* of each recall: the ring's oldest column, the next to be overwritten */
};

/* --- what is allowed: nothing outside the arena, the rings and the patch -------------------- */

static int extent(int32_t value) {
    return value >= 1 && value <= MAX_EXTENT;
}

/* rows x row bytes from offset on, stride apart, lie within a memory of `size`. */
static int inside(int64_t offset, int64_t rows, int64_t stride, int64_t row, int32_t size) {
    return offset >= 0 && rows >= 1 && row >= 1 && stride >= row &&
           offset + (rows - 1) * stride + row <= size;
}

static int filter_allowed(const edgesep_network *n, const edgesep_filter *f, int is_conv) {
    const int32_t extents[] = {f->in_height,    f->in_width,     f->in_channels,   f->out_height,
                               f->out_width,    f->out_channels, f->kernel_height, f->kernel_width,
                               f->stride_width, f->stride_height};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        if (!extent(extents[i])) {
            return 0;
        }
    }
    const int64_t in_row = (int64_t)f->in_width * f->in_channels;
    const int64_t out_row = (int64_t)f->out_width * f->out_channels;
    const int64_t taps = (int64_t)f->kernel_height * f->kernel_width;
    const int64_t row_values = ((int64_t)f->kernel_width * f->in_channels + 3) / 4 * 4;
    const int fits = is_conv ? row_values * f->kernel_height <= f->row_bytes &&
                                   f->row_bytes <= n->patch_values &&
                                   f->row_bytes % EDGESEP_ROW_ALIGN == 0
                             : taps * f->in_channels <= 4 * (int64_t)n->patch_values &&
                                   f->out_channels % f->in_channels == 0;
    return fits && f->pad_top >= 0 && f->pad_top < f->kernel_height && f->pad_left >= 0 &&
           f->pad_left < f->kernel_width && f->low >= -128 && f->low <= 127 && f->weights != NULL &&
           f->bias != NULL && f->multiplier != NULL && f->shift != NULL &&
           inside(f->input, f->in_height, in_row, in_row, n->arena_bytes) &&
           inside(f->output, f->out_height, out_row, out_row, n->arena_bytes);
}

static int sum_allowed(const edgesep_network *n, const edgesep_sum *s) {
    return inside(s->first, 1, s->count, s->count, n->arena_bytes) &&
           inside(s->second, 1, s->count, s->count, n->arena_bytes) &&
           inside(s->output, 1, s->count, s->count, n->arena_bytes);
}

static int copy_allowed(const edgesep_network *n, const edgesep_copy *c) {
    return inside(c->input, c->rows, c->row_bytes, c->row_bytes, n->arena_bytes) &&
           inside(c->output, c->rows, c->output_stride, c->row_bytes, n->arena_bytes);
}

static int recall_allowed(const edgesep_network *n, const edgesep_recall *r) {
    const int64_t bytes = r->column_bytes;
    return extent(r->taps) && extent(r->dilation) &&
           inside(r->column, 1, bytes, bytes, n->arena_bytes) &&
           inside(r->output, (int64_t)r->taps + 1, bytes, bytes, n->arena_bytes) &&
           inside(r->ring, (int64_t)r->taps * r->dilation, bytes, bytes, n->rings_bytes);
}

static int lookup_allowed(const edgesep_network *n, const edgesep_lookup *l) {
    return l->table != NULL && inside(l->input, 1, l->count, l->count, n->arena_bytes) &&
           inside(l->output, 1, l->count, l->count, n->arena_bytes);
}

static int step_allowed(const edgesep_network *n, const edgesep_step *step) {
    const int32_t counts[] = {n->filter_count, n->filter_count, n->sum_count,
                              n->copy_count,   n->recall_count, n->lookup_count};
    if (step->kind < EDGESEP_CONV || step->kind > EDGESEP_LOOKUP || step->index < 0 ||
        step->index >= counts[step->kind]) {
        return 0;
    }
    switch (step->kind) {
    case EDGESEP_CONV:
        return filter_allowed(n, &n->filters[step->index], 1);
    case EDGESEP_DEPTHWISE:
        return filter_allowed(n, &n->filters[step->index], 0);
    case EDGESEP_SUM:
        return sum_allowed(n, &n->sums[step->index]);
    case EDGESEP_COPY:
        return copy_allowed(n, &n->copies[step->index]);
    case EDGESEP_RECALL:
        return recall_allowed(n, &n->recalls[step->index]);
    default:
        return lookup_allowed(n, &n->lookups[step->index]);
    }
}

static int network_allowed(const edgesep_network *n) {
    if (n == NULL || n->steps == NULL || n->step_count < 0 || n->recall_count < 0 ||
        n->recall_count > MAX_EXTENT || n->rings_bytes < 0 || n->patch_values < 0 ||
        !inside(n->features, 1, n->features_bytes, n->features_bytes, n->arena_bytes) ||
        !inside(n->mask, 1, n->mask_bytes, n->mask_bytes, n->arena_bytes)) {
        return 0;
    }
    for (int32_t i = 0; i < n->step_count; i++) {
        if (!step_allowed(n, &n->steps[i])) {
            return 0;
        }
    }
    return 1;
}

/* --- memory ----------------------------------------------------------------------------------- */

static size_t aligned(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

static size_t header_bytes(const edgesep_network *n) {
    return aligned(sizeof(edgesep_stream) + (size_t)n->recall_count * sizeof(int32_t));
}

static size_t patch_bytes(const edgesep_network *n) {
    return aligned((size_t)n->patch_values * 2 * sizeof(int16_t)); /* two at a time */
}

size_t edgesep_stream_size(const edgesep_network *network) {
    if (!network_allowed(network)) {
        return 0;
    }
    return header_bytes(network) + patch_bytes(network) + aligned((size_t)network->arena_bytes) +
           (size_t)network->rings_bytes + EDGESEP_ROW_ALIGN; /* vectors read over the end */
}

int edgesep_stream_init(void *memory, size_t size, const edgesep_network *network) {
    const size_t needed = edgesep_stream_size(network);
    if (needed == 0) {
        return EDGESEP_BAD_NETWORK;
    }
    if (memory == NULL || size < needed || (uintptr_t)memory % 8 != 0) {
        return EDGESEP_BAD_MEMORY;
    }
    memset(memory, 0, needed);
    int8_t *bytes = memory;
    edgesep_stream *stream = memory;
    stream->network = network;
    bytes += header_bytes(network);
    stream->patch = (int16_t *)(void *)bytes;
    bytes += patch_bytes(network);
    stream->arena = bytes;
    stream->rings = bytes + aligned((size_t)network->arena_bytes);
    stream->ready = READY;
    return edgesep_stream_reset(stream);
}

int edgesep_stream_reset(edgesep_stream *stream) {
    if (stream == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (stream->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    for (int32_t i = 0; i < stream->network->recall_count; i++) {
        const edgesep_recall *r = &stream->network->recalls[i];
        const size_t bytes = (size_t)r->taps * (size_t)r->dilation * (size_t)r->column_bytes;
        memset(stream->rings + r->ring, r->zero, bytes);
        stream->position[i] = 0;
    }
    return EDGESEP_OK;
}

/* --- one frame -------------------------------------------------------------------------------- */

static void copy(const edgesep_copy *c, int8_t *arena) {
    const int8_t *input = arena + c->input;
    int8_t *output = arena + c->output;
    for (int32_t row = 0; row < c->rows; row++) {
        memcpy(output, input, (size_t)c->row_bytes);
        input += c->row_bytes;
        output += c->output_stride;
    }
}

static void recall(const edgesep_recall *r, int32_t *position, int8_t *rings, int8_t *arena) {
    const size_t bytes = (size_t)r->column_bytes;
    const int32_t columns = r->taps * r->dilation;
    const int8_t *column = arena + r->column;
    int8_t *output = arena + r->output;
    int8_t *ring = rings + r->ring;
    int32_t slot = *position;
    for (int32_t tap = 0; tap < r->taps; tap++) {
        memcpy(output, ring + slot * r->column_bytes, bytes);
        output += bytes;
        slot += r->dilation;
        slot -= slot >= columns ? columns : 0;
    }
    memcpy(output, column, bytes);
    memcpy(ring + *position * r->column_bytes, column, bytes);
    *position = *position + 1 == columns ? 0 : *position + 1;
}

static void look_up(const edgesep_lookup *l, int8_t *arena) {
    const int8_t *input = arena + l->input;
    int8_t *output = arena + l->output;
    for (int32_t k = 0; k < l->count; k++) {
        output[k] = l->table[input[k] + 128];
    }
}

static void run_step(edgesep_stream *stream, edgesep_step step) {
    const edgesep_network *n = stream->network;
    int8_t *arena = stream->arena;
    const edgesep_filter *filter;
    const edgesep_sum *sum;
    switch (step.kind) {
    case EDGESEP_CONV:
        filter = &n->filters[step.index];
        edgesep_convolve(filter, arena + filter->input, stream->patch, arena + filter->output);
        break;
    case EDGESEP_DEPTHWISE:
        filter = &n->filters[step.index];
        edgesep_convolve_depthwise(filter, arena + filter->input, stream->patch,
                                   arena + filter->output);
        break;
    case EDGESEP_SUM:
        sum = &n->sums[step.index];
        edgesep_add(sum, arena + sum->first, arena + sum->second, arena + sum->output);
        break;
    case EDGESEP_COPY:
        copy(&n->copies[step.index], arena);
        break;
    case EDGESEP_RECALL:
        recall(&n->recalls[step.index], &stream->position[step.index], stream->rings, arena);
        break;
    default:
        look_up(&n->lookups[step.index], arena);
        break;
    }
}

int edgesep_stream_step(edgesep_stream *stream, const int8_t *features, int8_t *mask) {
    if (stream == NULL || features == NULL || mask == NULL) {
        return EDGESEP_BAD_ARGUMENT;
    }
    if (stream->ready != READY) {
        return EDGESEP_NOT_READY;
    }
    const edgesep_network *n = stream->network;
    memcpy(stream->arena + n->features, features, (size_t)n->features_bytes);
    for (int32_t i = 0; i < n->step_count; i++) {
        run_step(stream, n->steps[i]);
    }
    memcpy(mask, stream->arena + n->mask, (size_t)n->mask_bytes);
    return EDGESEP_OK;
}
