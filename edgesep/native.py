"""The compiled C core, where there is one: loading, and the one place that checks its statuses."""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgesep.contract import BINS, WINDOW_SAMPLES, FrameContract
from edgesep.errors import EngineError, SamplesError, SettingsError, unknown_name

if TYPE_CHECKING:
    from edgesep.engine.plan import Plan

_core: Any
try:
    _core = importlib.import_module("edgesep._core")
except ImportError as error:
    _core, _reason = None, str(error)

BACKENDS = ("auto", "c", "numpy")
HOW_TO_BUILD = "install a C compiler (apt install gcc python3-dev) and reinstall edgesep"

Int32 = NDArray[np.int32]


def available() -> bool:
    """Tell whether the compiled core is installed."""
    return _core is not None


def resolve(backend: str) -> str:
    """Turn "auto", "c" or "numpy" into the backend that runs: "c" or "numpy".

    "auto" without the compiled core is the NumPy twin, with one logged warning per process. Raises
    EngineError when "c" is asked for and missing, SettingsError for another name.
    """
    if backend not in BACKENDS:
        raise SettingsError(unknown_name("backend", backend, BACKENDS))
    if backend == "numpy" or available():
        return "numpy" if backend == "numpy" else "c"
    if backend == "c":
        raise EngineError(f"backend 'c' is not built ({_reason}): {HOW_TO_BUILD}")
    _say_once_that_the_twin_runs()
    return "numpy"


@functools.cache
def _say_once_that_the_twin_runs() -> None:
    """Log one line, which goes to stderr unless the application has set up logging."""
    logging.getLogger("edgesep").warning(
        "edgesep: the C core is not built: the slower NumPy twin runs (same bits); %s",
        HOW_TO_BUILD,
    )


def library() -> tuple[Any, Any]:
    """Return cffi's `ffi` and `lib` of the compiled core."""
    resolve("c")
    return _core.ffi, _core.lib


def check(status: int) -> None:
    """Raise SamplesError with the core's own words when it refused a call."""
    if status != 0:
        ffi, lib = library()
        raise SamplesError(f"C core: {ffi.string(lib.edgesep_status_text(status)).decode()}")


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


def _contract(contract: FrameContract, channels: int) -> tuple[Any, Any]:
    """Return an edgesep_contract, and its edges, which must be kept alive meanwhile."""
    ffi, _ = library()
    edges = ffi.new("uint16_t[]", contract.band_edges)
    names = ("hop_samples", "fade_samples", "bands", "floor_rise_shift", "floor_fall_shift")
    values = {name: getattr(contract, name) for name in names}
    struct = ffi.new("edgesep_contract *", {**values, "channels": channels, "band_edges": edges})
    return struct, edges


class CStream:
    """The frame path in C: owns the core's memory and the buffers of one stream."""

    def __init__(self, contract: FrameContract, channels: int) -> None:
        """Set the core up for a stream of so many channels."""
        ffi, lib = library()
        self._from_buffer = ffi.from_buffer
        self._analyse, self._synthesise = lib.edgesep_analyse, lib.edgesep_synthesise
        self._reset = lib.edgesep_frontend_reset
        description, _edges = _contract(contract, channels)
        size = lib.edgesep_frontend_size(description)
        self._memory = ffi.new("uint64_t[]", (size + 7) // 8)  # aligned to eight bytes
        check(lib.edgesep_frontend_init(self._memory, size, description))
        self._state = ffi.cast("edgesep_frontend *", self._memory)
        self._hop = np.zeros((channels, contract.hop_samples), np.int16)
        self._hop_pointer = ffi.from_buffer("int16_t[]", self._hop)
        self._features = np.zeros((contract.bands, 2), np.int8)
        self._features_pointer = ffi.from_buffer("int8_t[]", self._features)
        self._gains: NDArray[np.uint16] | None = None  # the table _gains_pointer points to
        self._gains_pointer: Any = None

    def analyse(self, hop: NDArray[np.int16]) -> NDArray[np.int8]:
        """Take a hop (channels, H); return its features (bands, 2), overwritten by the next."""
        pointer = self._from_buffer("int16_t[]", hop)
        status = self._analyse(self._state, pointer, self._features_pointer)
        if status:
            check(status)
        return self._features

    def synthesise(
        self, mask: NDArray[np.int8], gains_q15: NDArray[np.uint16]
    ) -> NDArray[np.int16]:
        """Return the masked hop (channels, H)."""
        if gains_q15 is not self._gains:  # the table stays the same for most hops
            self._take_gains(gains_q15)
        pointer = self._from_buffer("int8_t[]", mask)
        status = self._synthesise(self._state, pointer, self._gains_pointer, self._hop_pointer)
        if status:
            check(status)
        return self._hop.copy()

    def _take_gains(self, gains_q15: NDArray[np.uint16]) -> None:
        """Point at another gain table and keep it alive."""
        self._gains_pointer = self._from_buffer("uint16_t[]", gains_q15)
        self._gains = gains_q15

    def reset(self) -> None:
        """Forget the stream."""
        check(self._reset(self._state))


def frontend_memory_bytes(contract: FrameContract) -> int:
    """Return the memory of a one-channel front end, aligned to 16 bytes."""
    _, lib = library()
    description, _edges = _contract(contract, 1)
    return _aligned(lib.edgesep_frontend_size(description))


def stream_memory_bytes(contract: FrameContract, plan: Plan) -> int:
    """Return the memory of a one-channel stream, front end and network, aligned to 16 bytes."""
    return frontend_memory_bytes(contract) + _aligned(CNetwork(plan).memory_bytes)


def _aligned(size: int) -> int:
    return -(-int(size) // 16) * 16


class CNetwork:
    """A network in C: owns its tables and the memory of one stream."""

    def __init__(self, plan: Plan) -> None:
        """Hand the tables over and set up a stream."""
        ffi, lib = library()
        self._from_buffer = ffi.from_buffer
        self._step, self._reset = lib.edgesep_stream_step, lib.edgesep_stream_reset
        self._mask_bytes = plan.mask_bytes
        self._features_bytes = plan.features_bytes
        self._tables: list[Any] = []  # what the core points to
        network = self._network(plan)
        size = lib.edgesep_stream_size(network)
        self.memory_bytes = int(size)
        self._memory = ffi.new("uint64_t[]", (size + 7) // 8)  # aligned to eight bytes
        check(lib.edgesep_stream_init(self._memory, size, network))
        self._stream = ffi.cast("edgesep_stream *", self._memory)

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame: features (bands, 2) -> mask (bands,), a fresh array."""
        if features.nbytes != self._features_bytes or features.dtype != np.int8:
            raise SamplesError(f"features are {features.dtype} {features.shape}")
        frame = self._from_buffer("int8_t[]", np.ascontiguousarray(features))
        mask = np.empty(self._mask_bytes, np.int8)
        status = self._step(self._stream, frame, self._from_buffer("int8_t[]", mask))
        if status:
            check(status)
        return mask

    def reset(self) -> None:
        """Forget the stream."""
        check(self._reset(self._stream))

    def _network(self, plan: Plan) -> Any:
        ffi, _ = library()
        values: dict[str, Any] = {}
        for field in fields(plan):
            value = getattr(plan, field.name)
            if isinstance(value, tuple):  # steps, filters, sums ...
                values[field.name] = self._array(_STRUCTS[field.name], value)
                values[_COUNTS[field.name]] = len(value)
            else:
                values[field.name] = value
        return self._keep(ffi.new("edgesep_network *", values))

    def _array(self, struct: str, rows: tuple[Any, ...]) -> Any:
        ffi, _ = library()
        items = [row if isinstance(row, tuple) else self._struct(row) for row in rows]
        return self._keep(ffi.new(f"{struct}[]", items))

    def _struct(self, row: Any) -> dict[str, Any]:
        values = {field.name: getattr(row, field.name) for field in fields(row)}
        return {name: self._value(v) for name, v in values.items() if not isinstance(v, str)}

    def _value(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._keep(self._from_buffer(f"{value.dtype.name}_t[]", value))
        return value if isinstance(value, int) else self._struct(value)

    def _keep(self, table: Any) -> Any:
        self._tables.append(table)
        return table


_STRUCTS = {
    "steps": "edgesep_step",
    "filters": "edgesep_filter",
    "sums": "edgesep_sum",
    "copies": "edgesep_copy",
    "recalls": "edgesep_recall",
    "lookups": "edgesep_lookup",
}
_COUNTS = {
    "steps": "step_count",
    "filters": "filter_count",
    "sums": "sum_count",
    "copies": "copy_count",
    "recalls": "recall_count",
    "lookups": "lookup_count",
}
