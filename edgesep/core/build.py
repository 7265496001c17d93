"""Builder of `edgesep._core`, the cffi binding of the C core: setup.py hooks it in.

    python setup.py build_ext --inplace

The extension uses the limited API, so one build serves every Python. It is optional: without a
C compiler the install goes on and the NumPy twin runs.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("features", "fft", "frame", "frontend", "kernels", "mask", "network", "tables")
# No part of the core: in float, or for threads, and of no use to firmware.
LIVE = ("edgesep/audio/edgesep_live", "edgesep/audio/edgesep_live_io")

DECLARATIONS = """
typedef struct edgesep_contract {
    int32_t hop_samples, fade_samples, channels, bands, floor_rise_shift, floor_fall_shift;
    const uint16_t *band_edges;
} edgesep_contract;
typedef struct edgesep_frontend edgesep_frontend;

const char *edgesep_status_text(int status);
size_t edgesep_frontend_size(const edgesep_contract *contract);
int edgesep_frontend_init(void *memory, size_t size, const edgesep_contract *contract);
int edgesep_frontend_reset(edgesep_frontend *frontend);
int edgesep_analyse(edgesep_frontend *frontend, const int16_t *hop, int8_t *features);
int edgesep_synthesise(edgesep_frontend *frontend, const int8_t *mask, const uint16_t *gains_q15,
                       int16_t *hop);
int edgesep_gain_table(int32_t floor_q15, int32_t wet_q15, int background, uint16_t *gains_q15);
int edgesep_forward(const int16_t *frames, int count, int32_t *re, int32_t *im, int32_t *exponent);
int edgesep_inverse(const int32_t *re, const int32_t *im, const int32_t *exponent, int count,
                    int32_t *samples, int32_t *out_exponent);

typedef struct edgesep_scale { int32_t multiplier, shift; } edgesep_scale;
typedef struct edgesep_filter {
    int32_t input, output, in_height, in_width, in_channels, out_height, out_width, out_channels,
        kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left, in_zero,
        out_zero, low, right_only, row_bytes;
    const int8_t *weights;
    const int32_t *bias, *multiplier;
    const int8_t *shift;
} edgesep_filter;
typedef struct edgesep_sum {
    int32_t first, second, output, count, first_zero, second_zero, out_zero, low;
    edgesep_scale first_scale, second_scale, out_scale;
} edgesep_sum;
typedef struct edgesep_copy {
    int32_t input, output, rows, row_bytes, output_stride;
} edgesep_copy;
typedef struct edgesep_recall {
    int32_t column, output, ring, taps, dilation, column_bytes, zero;
} edgesep_recall;
typedef struct edgesep_lookup {
    int32_t input, output, count;
    const int8_t *table;
} edgesep_lookup;
typedef struct edgesep_step { int32_t kind, index; } edgesep_step;
typedef struct edgesep_network {
    int32_t features, features_bytes, mask, mask_bytes, arena_bytes, rings_bytes, patch_values,
        step_count, filter_count, sum_count, copy_count, recall_count, lookup_count;
    const edgesep_step *steps;
    const edgesep_filter *filters;
    const edgesep_sum *sums;
    const edgesep_copy *copies;
    const edgesep_recall *recalls;
    const edgesep_lookup *lookups;
} edgesep_network;
typedef struct edgesep_stream edgesep_stream;

size_t edgesep_stream_size(const edgesep_network *network);
int edgesep_stream_init(void *memory, size_t size, const edgesep_network *network);
int edgesep_stream_reset(edgesep_stream *stream);
int edgesep_stream_step(edgesep_stream *stream, const int8_t *features, int8_t *mask);

typedef struct edgesep_resampler {
    const float *table;
    float *history, *weights;
    double step, position;
    int32_t taps, channels, capacity, filled;
} edgesep_resampler;
typedef struct edgesep_live_in {
    edgesep_resampler resampler;
    int16_t *hop;
    double power;
    int64_t powered;
    int32_t hop_samples, device_channels, choice, same_rate, hop_filled;
} edgesep_live_in;
typedef struct edgesep_live_out {
    edgesep_resampler resampler;
    int32_t *late, *needed, *lowest;
    double power;
    int64_t powered, lowest_sum, limited_frames;
    int32_t fade_frames, fade_level, fade_open, ceiling, release_q24, recovering, lookahead,
        device_channels, at, needed_at, quiet;
} edgesep_live_out;

int edgesep_live_pull(edgesep_live_in *in, const int16_t *block, int32_t frames, int32_t *used);
int edgesep_live_push(edgesep_live_out *out, const int16_t *hop, int32_t samples, double stretch,
                        int16_t *frames, int32_t room);

typedef struct edgesep_ring {
    int16_t *frames;
    uint32_t written, taken;
    int32_t capacity, channels;
} edgesep_ring;
typedef struct edgesep_inlet {
    edgesep_ring ring;
    int32_t bell, blocks, lost_frames, overflows;
} edgesep_inlet;
typedef struct edgesep_outlet {
    edgesep_ring ring;
    const float *falling, *rising;
    float *last;
    int32_t repair, rate_hz, step_frames, refill_frames, headroom_frames, ending, dry, risen,
        fallen, blocks, starvations, underflows, late_requests, patience_us;
    uint32_t written_at_us, asked_at_us;
} edgesep_outlet;

int32_t edgesep_ring_available(const edgesep_ring *ring);
int32_t edgesep_ring_write(edgesep_ring *ring, const int16_t *block, int32_t frames);
int32_t edgesep_ring_read(edgesep_ring *ring, int16_t *block, int32_t frames);
uint32_t edgesep_now_us(void);
int edgesep_inlet_call(const void *input, void *output, unsigned long frames, const void *times,
                       unsigned long flags, void *inlet);
int edgesep_outlet_call(const void *input, void *output, unsigned long frames, const void *times,
                        unsigned long flags, void *outlet);
"""

INCLUDES = """
#include "edgesep_frame.h"
#include "edgesep_frontend.h"
#include "edgesep_live.h"
#include "edgesep_live_io.h"
#include "edgesep_mask.h"
#include "edgesep_network.h"
"""


def _macros() -> list[tuple[str, str | None]]:
    """Ask for AVX2 clones of the hot loops where the C library can pick them (same bits)."""
    glibc = platform.libc_ver()[0] == "glibc"
    return [("EDGESEP_X86_CLONES", None)] if glibc and platform.machine() == "x86_64" else []


ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "edgesep._core",
    INCLUDES,
    # setuptools wants paths relative to setup.py
    sources=[
        *(f"edgesep/core/edgesep_{name}.c" for name in SOURCES),
        *(f"{path}.c" for path in LIVE),
    ],
    depends=[
        *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "edgesep/core").glob("*.h"))),
        *(f"{path}.h" for path in LIVE),
    ],
    include_dirs=["edgesep/core", "edgesep/audio"],
    define_macros=_macros(),
    extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3", "-g0"],
    optional=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
