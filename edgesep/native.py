"""The compiled C core, where there is one: loading, and the one place that checks its statuses."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.contract import BINS, WINDOW_SAMPLES
from edgesep.errors import EngineError, SettingsError, unknown_name

try:
    from edgesep import _core  # type: ignore[attr-defined]
except ImportError as error:
    _core = None
    _reason = str(error)

BACKENDS = ("auto", "c", "numpy")
HOW_TO_BUILD = "install a C compiler (apt install gcc) and reinstall edgesep"

Int32 = NDArray[np.int32]


def available() -> bool:
    """Tell whether the compiled core is installed."""
    return _core is not None


def resolve(backend: str) -> str:
    """Turn "auto", "c" or "numpy" into the backend that runs: "c" or "numpy".

    "auto" without the compiled core is the NumPy twin, with one warning per process. Raises
    EngineError when "c" is asked for and missing, SettingsError for another name.
    """
    if backend not in BACKENDS:
        raise SettingsError(unknown_name("backend", backend, BACKENDS))
    if backend == "numpy" or available():
        return "numpy" if backend == "numpy" else "c"
    if backend == "c":
        raise EngineError(f"backend 'c' is not built ({_reason}): {HOW_TO_BUILD}")
    # The warnings registry shows a message once per place: this is that one place.
    warnings.warn(
        f"the C core is not built: the slower NumPy twin runs (same bits); {HOW_TO_BUILD}",
        RuntimeWarning,
        stacklevel=1,
    )
    return "numpy"


def library() -> tuple[Any, Any]:
    """Return cffi's `ffi` and `lib` of the compiled core."""
    resolve("c")
    return _core.ffi, _core.lib


def check(status: int) -> None:
    """Raise ValueError when the core refused a call; callers validate before, so this is a bug."""
    if status != 0:
        ffi, lib = library()
        raise ValueError(f"C core: {ffi.string(lib.edgesep_status_text(status)).decode()}")


def forward(frames: NDArray[np.int16]) -> tuple[Int32, Int32, Int32]:
    """Transform C-contiguous int16 frames (n, 512): see `edgesep.stft.forward`."""
    ffi, lib = library()
    count = len(frames)
    re, im = np.empty((count, BINS), np.int32), np.empty((count, BINS), np.int32)
    exponent = np.empty(count, np.int32)
    check(
        lib.edgesep_forward(
            ffi.from_buffer("int16_t[]", frames),
            count,
            ffi.from_buffer("int32_t[]", re),
            ffi.from_buffer("int32_t[]", im),
            ffi.from_buffer("int32_t[]", exponent),
        )
    )
    return re, im, exponent


def inverse(re: Int32, im: Int32, exponent: Int32) -> tuple[Int32, Int32]:
    """Transform C-contiguous int32 spectra back: see `edgesep.stft.inverse`."""
    ffi, lib = library()
    count = len(re)
    samples = np.empty((count, WINDOW_SAMPLES), np.int32)
    out_exponent = np.empty(count, np.int32)
    check(
        lib.edgesep_inverse(
            ffi.from_buffer("int32_t[]", re),
            ffi.from_buffer("int32_t[]", im),
            ffi.from_buffer("int32_t[]", exponent),
            count,
            ffi.from_buffer("int32_t[]", samples),
            ffi.from_buffer("int32_t[]", out_exponent),
        )
    )
    return samples, out_exponent
