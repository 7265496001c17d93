"""The ends of the live loop in C, where PortAudio's threads need not wait for the interpreter.

`audio/live_io.py` holds their twins, which do where there is no compiled core, or no way past
PyAudio to PortAudio.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep import native
from edgesep.audio.live_io import CONTINUE, HOLD, RING_SECONDS, Bell, fades
from edgesep.audio.portaudio_native import NativeCallback

__all__ = ["NativeInlet", "NativeOutlet", "NativeRing"]

MOST_FRAMES = (1 << 31) - 1

Int16 = NDArray[np.int16]


class NativeRing:
    """`ring.Ring`, in C: one producer and one consumer, no lock.

    struct: a zeroed edgesep_ring, which the caller keeps.
    """

    def __init__(self, struct: Any, frames: int, channels: int) -> None:
        ffi, self._lib = native.library()
        self._from_buffer, self._null = ffi.from_buffer, ffi.NULL
        self._samples = np.zeros((frames, channels), np.int16)
        struct.frames = self._kept = ffi.from_buffer("int16_t[]", self._samples)
        struct.capacity, struct.channels = frames, channels
        self._struct, self.channels = struct, channels

    @property
    def available(self) -> int:
        """Frames that can be read now; for the producer: at most so many are still unread."""
        return int(self._lib.edgesep_ring_available(self._struct))

    def write(self, block: Int16) -> int:
        """Append int16 (n, channels); return how many frames found no place and were dropped."""
        data = self._from_buffer("int16_t[]", np.ascontiguousarray(block))
        return len(block) - int(self._lib.edgesep_ring_write(self._struct, data, len(block)))

    def read_into(self, block: Int16) -> int:
        """Fill int16 (n, channels) from its start; return how many frames there were, 0 .. n."""
        data = self._from_buffer("int16_t[]", block, require_writable=True)
        return int(self._lib.edgesep_ring_read(self._struct, data, len(block)))

    def skip(self, frames: int) -> int:
        """Drop up to `frames` unread frames; only the consumer may. Return how many."""
        return int(self._lib.edgesep_ring_read(self._struct, self._null, frames))


class _Counter:
    """A field of the struct as an attribute."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, _: type | None = None) -> int:
        return int(getattr(owner._struct, self._name))

    def __set__(self, owner: Any, value: int) -> None:
        setattr(owner._struct, self._name, value)


class NativeInlet:
    """`live_io.Inlet`, in C."""

    blocks = _Counter("Callbacks so far.")
    lost_frames = _Counter("Frames that found the ring full.")
    overflows = _Counter("Times that PortAudio has reported a loss.")

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._ffi, self._lib = native.library()
        self._struct = struct = self._ffi.new("edgesep_inlet *")
        self.ring = NativeRing(self._ffi.addressof(struct, "ring"),
                               round(RING_SECONDS * rate_hz), channels)  # fmt: skip
        self.bell = Bell()
        struct.bell = self.bell.number

    @property
    def for_portaudio(self) -> NativeCallback:
        """What PortAudio calls."""
        return _native_callback("edgesep_inlet_call", self._struct, self)

    def callback(self, raw: bytes, frames: int, _: Any, status: int) -> tuple[None, int]:
        """Take a block as from PortAudio; for tests."""
        data = self._ffi.from_buffer(raw)
        self._lib.edgesep_inlet_call(data, self._ffi.NULL, frames, self._ffi.NULL, status,
                                     self._struct)  # fmt: skip
        return None, CONTINUE


class NativeOutlet:
    """`live_io.Outlet`, in C. patience_s: see `Outlet`."""

    blocks = _Counter("Callbacks so far.")
    starvations = _Counter("Times that the ring ran empty.")
    underflows = _Counter("Times that PortAudio has reported a gap.")
    late_requests = _Counter("Times that PortAudio asked later than its own buffer lasts.")

    def __init__(self, rate_hz: int, channels: int, block_s: float, patience_s: float) -> None:
        self._ffi, self._lib = native.library()
        self._struct = struct = self._ffi.new("edgesep_outlet *")
        self.ring = NativeRing(self._ffi.addressof(struct, "ring"),
                               round(RING_SECONDS * rate_hz), channels)  # fmt: skip
        self._rate_hz, self._channels = rate_hz, channels
        falling, rising = fades(rate_hz)
        self._arrays = falling, rising, np.zeros(channels, np.float32)
        struct.falling, struct.rising, struct.last = self._kept = tuple(
            self._ffi.from_buffer("float[]", array) for array in self._arrays
        )
        struct.repair, struct.rate_hz = len(falling), rate_hz
        struct.step_frames, struct.dry = round(block_s * rate_hz), 1
        struct.patience_us = round(patience_s * 1e6)
        self.refill_frames, self.headroom_s = HOLD, math.inf

    @property
    def for_portaudio(self) -> NativeCallback:
        """What PortAudio calls."""
        return _native_callback("edgesep_outlet_call", self._struct, self)

    @property
    def refill_frames(self) -> int:
        """After it has run empty, nothing is taken before the ring holds so many frames."""
        return int(self._struct.refill_frames)

    @refill_frames.setter
    def refill_frames(self, frames: int) -> None:
        self._struct.refill_frames = min(frames, MOST_FRAMES)

    @property
    def headroom_s(self) -> float:
        """See `Outlet.headroom_s`."""
        frames = self._struct.headroom_frames
        return math.inf if frames == MOST_FRAMES else frames / self._rate_hz

    @headroom_s.setter
    def headroom_s(self, seconds: float) -> None:
        frames = MOST_FRAMES if seconds == math.inf else round(seconds * self._rate_hz)
        self._struct.headroom_frames = frames

    @property
    def ending(self) -> bool:
        """Whether nobody writes any more: an empty ring is no longer a starvation."""
        return bool(self._struct.ending)

    @ending.setter
    def ending(self, value: bool) -> None:
        self._struct.ending = value

    def write(self, block: Int16) -> None:
        """Append int16 (n, channels) to the ring; what finds no place is dropped."""
        self.ring.write(block)
        self._struct.written_at_us = self._lib.edgesep_now_us()

    def callback(self, _: Any, frames: int, __: Any, status: int) -> tuple[bytes, int]:
        """Give a block as to PortAudio; for tests."""
        block = np.empty((frames, self._channels), np.int16)
        self._lib.edgesep_outlet_call(self._ffi.NULL, self._ffi.from_buffer(block), frames,
                                      self._ffi.NULL, status, self._struct)  # fmt: skip
        return block.tobytes(), CONTINUE


def _native_callback(name: str, struct: Any, owner: object) -> NativeCallback:
    ffi, lib = native.library()
    function = ffi.cast("uintptr_t", ffi.addressof(lib, name))
    return NativeCallback(int(function), int(ffi.cast("uintptr_t", struct)), owner)
