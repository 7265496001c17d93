/* Int8 kernels; see edgesep_kernels.h.
 *
 * Here is where kernels lie over their input; the arithmetic is in edgesep_dot.h.
 */
#include "edgesep_kernels.h"

#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_dot.h"

/* --- where a kernel lies ---------------------------------------------------------------------- */

/* Positions of a row, first to the one before last, at which the kernel lies within the input. */
typedef struct span {
    int32_t first, last;
} span;

EDGESEP_INLINE span within(const edgesep_filter *f, int32_t top) {
    const int32_t room = f->in_width + f->pad_left - f->kernel_width;
    const int32_t last = room < 0 ? 0 : room / f->stride_width + 1;
    const int inside = top >= 0 && top + f->kernel_height <= f->in_height;
    const span s = {
        .first = inside ? (f->pad_left + f->stride_width - 1) / f->stride_width : f->out_width,
        .last = last < f->out_width ? last : f->out_width,
    };
    return s;
}

EDGESEP_INLINE const int8_t *input_at(const edgesep_filter *f, const int8_t *input, int32_t top,
                                      int32_t left) {
    return input + (top * f->in_width + left) * f->in_channels;
}

/* --- convolution ------------------------------------------------------------------------------ */

/* How the bytes under a kernel lie: so many pieces, in the input and in a patch. */
typedef struct pieces {
    int32_t count, values, apart, patch_apart;
} pieces;

EDGESEP_INLINE pieces pieces_of(const edgesep_filter *f) {
    const int32_t values = f->kernel_width * f->in_channels;
    const int one = f->kernel_height == 1 || (f->kernel_width == f->in_width && values % 4 == 0);
    const pieces p = {
        .count = one ? 1 : f->kernel_height,
        .values = one ? values * f->kernel_height : values,
        .apart = f->in_width * f->in_channels,
        .patch_apart = edgesep_row_values(f),
    };
    return p;
}

/* Lay out what a kernel sees that lies within the input. */
EDGESEP_INLINE void gather(pieces p, const int8_t *source, edgesep_value *patch, int32_t step) {
    int32_t place = 0;
    for (int32_t i = p.count; i > 0; i--, source += p.apart, place += p.patch_apart) {
        patch_put(patch, step, place, source, p.values);
    }
}

/* The same where it reaches over the edge: what lies outside holds the zero point. */
static void gather_clipped(const edgesep_filter *f, const int8_t *input, int32_t top, int32_t left,
                           edgesep_value *patch) {
    const int32_t values = f->kernel_width * f->in_channels;
    const int32_t first = left * f->in_channels;
    const int32_t row_bytes = f->in_width * f->in_channels;
    for (int32_t i = 0; i < f->kernel_height; i++) {
        const int32_t row = top + i;
        const int inside = row >= 0 && row < f->in_height;
        const int8_t *source = input + (inside ? row : 0) * row_bytes;
        for (int32_t k = 0; k < values; k++) {
            const int32_t at = first + k;
            const int seen = inside && at >= 0 && at < row_bytes;
            patch_set(patch, i * edgesep_row_values(f) + k, seen ? source[at] : f->in_zero);
        }
    }
}

EDGESEP_HOT
void edgesep_convolve(const edgesep_filter *f, const int8_t *input, int16_t *scratch,
                      int8_t *output) {
    edgesep_value *patch = (edgesep_value *)(void *)scratch;
    const pieces p = pieces_of(f);
    const int32_t step = f->stride_width * f->in_channels;
    const int32_t channels = f->out_channels;
    const int32_t out_width = f->out_width;
    for (int32_t y = 0; y < f->out_height; y++) {
        const int32_t top = y * f->stride_height - f->pad_top;
        const span s = within(f, top);
        int32_t count;
        for (int32_t x = 0; x < out_width; x += count, output += count * channels) {
            const int32_t left = x * f->stride_width - f->pad_left;
            count = 1;
            if (x < s.first || x >= s.last) {
                gather_clipped(f, input, top, left, patch);
                convolve_positions(f, patch, 0, 1, output);
                continue;
            }
            const int8_t *source = input_at(f, input, top, left);
            count = x + PATCHES <= s.last ? PATCHES : 1;
            if (PATCH_DIRECT && p.count == 1) {
                convolve_positions(f, (const edgesep_value *)source, step, count, output);
                continue;
            }
            for (int32_t n = 0; n < count; n++, source += step) {
                gather(p, source, patch + PATCH_OFFSET(f, n), PATCH_STEP(count));
            }
            convolve_positions(f, patch, PATCH_OFFSET(f, 1), count, output);
        }
    }
}

/* --- depthwise -------------------------------------------------------------------------------- */

/* Lay out what a depthwise kernel sees where it reaches over the edge. */
static void gather_bytes(const edgesep_filter *f, const int8_t *input, int32_t top, int32_t left,
                         int8_t *window) {
    const size_t channels = (size_t)f->in_channels;
    for (int32_t i = top; i < top + f->kernel_height; i++) {
        for (int32_t j = left; j < left + f->kernel_width; j++, window += channels) {
            if (i >= 0 && i < f->in_height && j >= 0 && j < f->in_width) {
                memcpy(window, input_at(f, input, i, j), channels);
            } else {
                memset(window, f->in_zero, channels);
            }
        }
    }
}

/* Several output channels to an input channel: those of one position, one by one. */
static void depthwise_spread(const edgesep_filter *f, const int8_t *x, edgesep_taps taps,
                             int8_t *output) {
    const int32_t copies = f->out_channels / f->in_channels;
    for (int32_t c = 0; c < f->out_channels; c++) {
        const int8_t *w = f->weights + c;
        int32_t sum = f->bias[c];
        for (int32_t i = 0; i < taps.rows; i++) {
            for (int32_t j = 0; j < taps.columns; j++, w += f->out_channels) {
                sum += x[i * taps.row_stride + j * f->in_channels + c / copies] * *w;
            }
        }
        const int32_t scaled = fx_scale(sum, f->multiplier[c], f->shift[c]);
        output[c] = (int8_t)fx_clamp(scaled + f->out_zero, f->low, 127);
    }
}

EDGESEP_HOT
void edgesep_convolve_depthwise(const edgesep_filter *f, const int8_t *input, int16_t *scratch,
                                int8_t *output) {
    const int32_t positions = f->kernel_height * f->kernel_width;
    const int32_t channels = f->out_channels;
    const int32_t step = f->stride_width * f->in_channels;
    const int in_a_row = f->kernel_height == 1 || f->kernel_width == f->in_width;
    const int one_to_one = f->in_channels == channels;
    int8_t *window = (int8_t *)scratch;
    const edgesep_taps clipped = {.rows = 1, .columns = positions, .row_stride = 0};
    const edgesep_taps whole = {
        .rows = in_a_row ? 1 : f->kernel_height,
        .columns = in_a_row ? positions : f->kernel_width,
        .row_stride = f->in_width * f->in_channels,
    };
    for (int32_t y = 0; y < f->out_height; y++) {
        const int32_t top = y * f->stride_height - f->pad_top;
        const span s = within(f, top);
        int32_t count;
        for (int32_t x = 0; x < f->out_width; x += count, output += count * channels) {
            const int32_t left = x * f->stride_width - f->pad_left;
            const int inside = x >= s.first && x < s.last;
            const int8_t *source = inside ? input_at(f, input, top, left) : window;
            const edgesep_taps taps = inside ? whole : clipped;
            if (!inside) {
                gather_bytes(f, input, top, left, window);
            }
            count = inside && one_to_one ? s.last - x : 1;
            if (one_to_one) {
                depthwise_positions(f, source, step, taps, count, output);
            } else {
                depthwise_spread(f, source, taps, output);
            }
        }
    }
}

/* --- sum -------------------------------------------------------------------------------------- */

EDGESEP_HOT
void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                 int8_t *output) {
    add_values(sum, first, second, output);
}
