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
SOURCES = ("features", "fft", "frame", "frontend", "mask", "tables")

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
"""

INCLUDES = """
#include "edgesep_frame.h"
#include "edgesep_frontend.h"
#include "edgesep_mask.h"
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
    sources=[f"edgesep/core/edgesep_{name}.c" for name in SOURCES],
    depends=[str(p.relative_to(ROOT)) for p in sorted((ROOT / "edgesep/core").glob("*.h"))],
    include_dirs=["edgesep/core"],
    define_macros=_macros(),
    extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3", "-g0"],
    optional=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
