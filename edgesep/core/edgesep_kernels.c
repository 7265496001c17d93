/* Int8 kernels; see edgesep_kernels.h.
 *
 * Here is where kernels lie over their input; the arithmetic is in edgesep_dot.h.
 */
#include "edgesep_kernels.h"

#include <string.h>

#include "edgesep_clones.h"
#include "edgesep_dot.h"

/* --- what a kernel sees ----------------------------------------------------------------------- */

/* True where the kernel at row `top`, position `left` lies within the input. */
EDGESEP_INLINE int within(const edgesep_filter *f, int32_t top, int32_t left) {
    return top >= 0 && left >= 0 && top + f->kernel_height <= f->in_height &&
           left + f->kernel_width <= f->in_width;
}

EDGESEP_INLINE const int8_t *input_at(const edgesep_filter *f, const int8_t *input, int32_t top,
                                      int32_t left) {
    return input + (top * f->in_width + left) * f->in_channels;
}

/* True where the bytes under the kernel lie as a row of weights does, without gaps. */
EDGESEP_INLINE int in_a_row(const edgesep_filter *f) {
    return f->kernel_height == 1 ||
           (f->kernel_width == f->in_width && f->kernel_width * f->in_channels % 4 == 0);
}

/* Lay out row `row` of the input from position `left` on at a place of a patch; what lies outside
 * holds the zero point. */
EDGESEP_INLINE void gather_clipped(const edgesep_filter *f, const int8_t *input, int32_t row,
                                   int32_t left, edgesep_value *patch, int32_t step,
                                   int32_t place) {
    const int32_t values = f->kernel_width * f->in_channels;
    const int32_t first = left * f->in_channels;
    const int32_t end = f->in_width * f->in_channels;
    const int inside = row >= 0 && row < f->in_height;
    const int8_t *source = input + (inside ? row : 0) * end;
    for (int32_t k = 0; k < values; k++) {
        const int32_t at = first + k;
        const int seen = inside && at >= 0 && at < end;
        patch_set(patch, step, place + k, seen ? source[at] : f->in_zero);
    }
}

/* Lay out what a convolution sees: rows of the kernel, filled up to four. */
EDGESEP_INLINE void gather(const edgesep_filter *f, const int8_t *input, int32_t top, int32_t left,
                           edgesep_value *patch, int32_t step) {
    const int32_t row_values = f->kernel_width * f->in_channels;
    if (within(f, top, left)) {
        const int32_t whole = in_a_row(f);
        const int32_t rows = whole ? 1 : f->kernel_height;
        const int32_t values = whole ? row_values * f->kernel_height : row_values;
        const int8_t *source = input_at(f, input, top, left);
        for (int32_t i = 0, place = 0; i < rows; i++) {
            patch_put(patch, step, place, source, values);
            source += f->in_width * f->in_channels;
            place += edgesep_row_values(f);
        }
    } else {
        for (int32_t i = 0; i < f->kernel_height; i++) {
            gather_clipped(f, input, top + i, left, patch, step, i * edgesep_row_values(f));
        }
    }
}

/* --- kernels ---------------------------------------------------------------------------------- */

EDGESEP_HOT
void edgesep_convolve(const edgesep_filter *f, const int8_t *input, int16_t *scratch,
                      int8_t *output) {
    edgesep_value *patches = (edgesep_value *)(void *)scratch;
    for (int32_t y = 0; y < f->out_height; y++) {
        const int32_t top = y * f->stride_height - f->pad_top;
        int32_t left = -f->pad_left;
        int32_t count;
        for (int32_t x = 0; x < f->out_width; x += count, output += count * f->out_channels) {
            const edgesep_value *seen[PATCHES];
            count = x + PATCHES <= f->out_width ? PATCHES : 1;
            for (int32_t n = 0; n < count; n++, left += f->stride_width) {
                edgesep_value *patch = patches + PATCH_OFFSET(f, n);
                seen[n] = patch;
#if PATCH_DIRECT
                if (in_a_row(f) && within(f, top, left)) {
                    seen[n] = input_at(f, input, top, left);
                    continue;
                }
#endif
                gather(f, input, top, left, patch, PATCH_STEP(count));
            }
            convolve_positions(f, seen, count, output);
        }
    }
}

/* Lay out what a depthwise kernel sees where it reaches over the edge. */
EDGESEP_INLINE void gather_bytes(const edgesep_filter *f, const int8_t *input, int32_t top,
                                 int32_t left, int8_t *window) {
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
static void depthwise_spread(const edgesep_filter *f, const int8_t *x, int32_t row_stride,
                             int32_t rows, int32_t columns, int8_t *output) {
    const int32_t copies = f->out_channels / f->in_channels;
    for (int32_t c = 0; c < f->out_channels; c++) {
        const int8_t *w = f->weights + c;
        int32_t sum = f->bias[c];
        for (int32_t i = 0; i < rows; i++) {
            for (int32_t j = 0; j < columns; j++, w += f->out_channels) {
                sum += x[i * row_stride + j * f->in_channels + c / copies] * *w;
            }
        }
        const int32_t scaled = fx_scale(sum, f->multiplier[c], f->shift[c]);
        output[c] = (int8_t)fx_clamp(scaled + f->out_zero, f->low, 127);
    }
}

EDGESEP_HOT
void edgesep_convolve_depthwise(const edgesep_filter *f, const int8_t *input, int16_t *scratch,
                                int8_t *output) {
    const int32_t taps = f->kernel_height * f->kernel_width;
    const int32_t row_stride = f->in_width * f->in_channels;
    const int whole = f->kernel_height == 1 || f->kernel_width == f->in_width;
    for (int32_t y = 0; y < f->out_height; y++) {
        const int32_t top = y * f->stride_height - f->pad_top;
        for (int32_t x = 0; x < f->out_width; x++, output += f->out_channels) {
            const int32_t left = x * f->stride_width - f->pad_left;
            const int clipped = !within(f, top, left);
            const int32_t rows = whole || clipped ? 1 : f->kernel_height;
            const int32_t columns = whole || clipped ? taps : f->kernel_width;
            const int8_t *window = (const int8_t *)scratch;
            if (clipped) {
                gather_bytes(f, input, top, left, (int8_t *)scratch);
            } else {
                window = input_at(f, input, top, left);
            }
            if (f->in_channels == f->out_channels) {
                depthwise_window(f, window, row_stride, rows, columns, output);
            } else {
                depthwise_spread(f, window, row_stride, rows, columns, output);
            }
        }
    }
}

EDGESEP_HOT
void edgesep_add(const edgesep_sum *sum, const int8_t *first, const int8_t *second,
                 int8_t *output) {
    add_values(sum, first, second, output);
}
