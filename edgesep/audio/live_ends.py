"""The ends of the live path, in C (`edgesep_live.c`) where that is built, else in NumPy.

`PathIn` brings device frames to hops of 16 kHz; `PathOut` brings hops to faded and limited device
frames. C and NumPy round alike; only the order of a filter's sums differs, by one step at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesep import native
from edgesep.audio.fractional import FractionalResampler
from edgesep.audio.limiter import UNITY, Limiter, ceiling_int16
from edgesep.audio.samples import to_float32, to_int16
from edgesep.contract import RATE_HZ
from edgesep.errors import SamplesError
from edgesep.live_settings import parse_channel

__all__ = ["Fader", "Meter", "PathIn", "PathOut", "open_ends", "pick_channels"]

CHUNK_FRAMES = 512  # of the input at a time, in C
STRETCH_MOST = 1.02  # more than drift control ever asks for
CHOICES = {"mix": -1, "link": -2}

Int16 = NDArray[np.int16]


class Fading(Protocol):
    """A gain that moves to 0 or 1 by a straight line."""

    open: bool
    """Whether it goes to (or stays at) one."""

    @property
    def closed(self) -> bool:
        """Whether nothing comes through any more."""

    def shorten(self, fade_frames: int) -> None:
        """Take `fade_frames`, at least 1, where it was more; between two blocks only."""


class Limiting(Protocol):
    """The limiter, as far as others care."""

    @property
    def limited_frames(self) -> int:
        """Frames that were turned down so far."""

    @property
    def lookahead_frames(self) -> int:
        """How far the output lies behind the input."""

    def set_ceiling(self, ceiling_dbfs: float) -> None:
        """Use another ceiling from now on."""


class Metering(Protocol):
    """Power since it was last read."""

    def read_dbfs(self) -> float:
        """Return the mean power since the last call, -96 at the least; 0 is full-scale DC."""


class PathIn(Protocol):
    """Device frames in, hops of 16 kHz out."""

    meter: Metering

    @property
    def delay_s(self) -> float:
        """Latency of the rate conversion."""

    def push(self, block: Int16) -> Iterator[Int16]:
        """Take int16 (n, device channels); yield hops, (channels, H), overwritten by the next."""


class PathOut(Protocol):
    """Hops in, device frames out."""

    meter: Metering
    fader: Fading
    limiter: Limiting

    @property
    def delay_s(self) -> float:
        """Latency of the rate conversion; the limiter's comes on top."""

    def push(self, hop: Int16, stretch: float) -> Int16:
        """Take int16 (channels, H), return a fresh int16 (n, device channels)."""


def open_ends(
    hop_samples: int,
    channels: int,
    channel: str,
    devices: tuple[tuple[int, int], tuple[int, int]],
    fade_frames: int,
    limiter_dbfs: float,
    backend: str = "auto",
) -> tuple[PathIn, PathOut]:
    """Return both ends for (rate in Hz, channels) of the two devices.

    channels: inside. channel: see `LiveSettings`. backend: see `native.resolve`.
    """
    (in_hz, in_channels), (out_hz, out_channels) = devices
    if native.resolve(backend) == "c":
        return (
            _CIn(in_hz, in_channels, hop_samples, channels, channel),
            _COut(out_hz, out_channels, hop_samples, channels, fade_frames, limiter_dbfs),
        )
    return (
        _NumpyIn(in_hz, hop_samples, channels, channel),
        _NumpyOut(out_hz, out_channels, channels, fade_frames, limiter_dbfs),
    )


# --- NumPy ---------------------------------------------------------------------------------------


class Fader:
    """A gain that moves to 0 or 1 by a straight line over `fade_frames`."""

    def __init__(self, fade_frames: int) -> None:
        self._frames = max(1, fade_frames)
        self._level = 0  # 0 .. frames
        self.open = False
        """Whether it goes to (or stays at) one."""

    @property
    def closed(self) -> bool:
        """Whether nothing comes through any more."""
        return self._level == 0 and not self.open

    def shorten(self, fade_frames: int) -> None:
        """Take `fade_frames`, at least 1, where it was more; between two blocks only."""
        if fade_frames < self._frames:
            self._level = self._level * fade_frames // self._frames
            self._frames = fade_frames

    def push(self, block: NDArray[np.int32]) -> NDArray[np.int32]:
        """Fade int32 (n, channels)."""
        goal = self._frames if self.open else 0
        if self._level == goal:
            return block if goal else np.zeros_like(block)
        steps = np.arange(1, len(block) + 1)
        levels = np.clip(self._level + (steps if self.open else -steps), 0, self._frames)
        self._level = int(levels[-1]) if len(levels) else self._level
        return (block.astype(np.int64) * levels[:, None] // self._frames).astype(np.int32)


class Meter:
    """Power since it was last read."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, block: Int16) -> None:
        """Take int16 of any shape."""
        flat = block.astype(np.float32).ravel()
        self._sum += float(flat @ flat)
        self._count += flat.size

    def read_dbfs(self) -> float:
        """Return the mean power since the last call, -96 at the least; 0 is full-scale DC."""
        total, count = self._sum, self._count
        self._sum, self._count = 0.0, 0
        return power_dbfs(total, count)


def power_dbfs(total: float, count: int) -> float:
    """Return the level of a sum of squares of int16: 0 is full-scale DC, -96 the least."""
    return max(-96.0, 10.0 * math.log10(max(total / max(count, 1) / 32768.0**2, 1e-10)))


def pick_channels(block: Int16, channel: str) -> NDArray[np.float32]:
    """Take int16 (n, device channels); return float32 (n, channels inside), 1.0 at full scale."""
    choice = parse_channel(channel)
    if choice == "mix":
        return to_float32(block).mean(axis=1, keepdims=True, dtype=np.float32)
    if choice == "link":
        return to_float32(block[:, :2])
    return to_float32(block[:, int(choice) : int(choice) + 1])


class _NumpyIn:
    def __init__(self, rate_hz: int, hop_samples: int, channels: int, channel: str) -> None:
        same = rate_hz == RATE_HZ
        self._resampler = None if same else FractionalResampler(rate_hz, RATE_HZ, channels)
        self._channel, self._hop_samples = channel, hop_samples
        self._pending = np.zeros((0, channels), np.int16)
        self.meter: Metering = Meter()

    @property
    def delay_s(self) -> float:
        return 0.0 if self._resampler is None else self._resampler.delay_s

    def push(self, block: Int16) -> Iterator[Int16]:
        samples = pick_channels(block, self._channel)
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        self._pending = np.concatenate((self._pending, to_int16(samples)))
        while len(self._pending) >= self._hop_samples:
            hop, self._pending = np.split(self._pending, [self._hop_samples])
            assert isinstance(self.meter, Meter)
            self.meter.add(hop)
            yield np.ascontiguousarray(hop.T)


class _NumpyOut:
    def __init__(
        self, rate_hz: int, device_channels: int, channels: int, fade: int, ceiling_dbfs: float
    ) -> None:
        self._resampler = FractionalResampler(RATE_HZ, rate_hz, channels)
        self._device_channels = device_channels
        self._fader, self._limiter = Fader(fade), Limiter(ceiling_dbfs, rate_hz, channels)
        self._meter = Meter()
        self.meter: Metering = self._meter
        self.fader: Fading = self._fader
        self.limiter: Limiting = self._limiter

    @property
    def delay_s(self) -> float:
        return self._resampler.delay_s

    def push(self, hop: Int16, stretch: float) -> Int16:
        self._meter.add(hop)
        fine = self._resampler.push(to_float32(hop.T), stretch)
        whole = np.rint(fine * np.float32(32768.0)).astype(np.int32)
        return self._to_device(self._limiter.push(self._fader.push(whole)))

    def _to_device(self, block: Int16) -> Int16:
        """Spread one channel over all; two go to the first two, others stay silent."""
        inside = block.shape[1]
        if inside == self._device_channels:
            return block
        if inside == 1:
            return np.repeat(block, self._device_channels, axis=1)
        if self._device_channels == 1:
            return to_int16(to_float32(block).mean(axis=1, keepdims=True, dtype=np.float32))
        wide = np.zeros((len(block), self._device_channels), np.int16)
        wide[:, :inside] = block
        return wide


# --- C -------------------------------------------------------------------------------------------


class _CResampler:
    """What the C struct of a resampler points to."""

    def __init__(self, struct: Any, in_hz: int, out_hz: int, channels: int, chunk: int) -> None:
        ffi, _ = native.library()
        twin = FractionalResampler(in_hz, out_hz, channels)
        taps = twin.table.shape[1]
        history = np.zeros((channels, taps - 1 + chunk), np.float32)
        self._kept = twin.table, history, np.zeros(taps, np.float32)
        struct.table, struct.history, struct.weights = (
            ffi.from_buffer("float[]", array) for array in self._kept
        )
        struct.step, struct.taps, struct.channels = in_hz / out_hz, taps, channels
        struct.capacity, struct.filled = history.shape[1], taps - 1
        self.delay_s = twin.delay_s


class _CMeter:
    def __init__(self, struct: Any) -> None:
        self._struct = struct

    def read_dbfs(self) -> float:
        struct = self._struct
        total, count = struct.power, struct.powered
        struct.power, struct.powered = 0.0, 0
        return power_dbfs(total, count)


class _CIn:
    def __init__(
        self, rate_hz: int, device_channels: int, hop_samples: int, channels: int, channel: str
    ) -> None:
        ffi, lib = native.library()
        self._from_buffer, self._pull = ffi.from_buffer, lib.edgesep_live_pull
        self._struct = struct = ffi.new("edgesep_live_in *")
        self._resampler = _CResampler(struct.resampler, rate_hz, RATE_HZ, channels, CHUNK_FRAMES)
        self._hop = np.zeros((channels, hop_samples), np.int16)
        struct.hop = self._kept = ffi.from_buffer("int16_t[]", self._hop)
        choice = parse_channel(channel)
        struct.choice = choice if isinstance(choice, int) else CHOICES[choice]
        struct.hop_samples, struct.device_channels = hop_samples, device_channels
        struct.same_rate = rate_hz == RATE_HZ
        self._device_channels = device_channels
        self._used = ffi.new("int32_t *")
        self.meter: Metering = _CMeter(struct)

    @property
    def delay_s(self) -> float:
        return 0.0 if self._struct.same_rate else self._resampler.delay_s

    def push(self, block: Int16) -> Iterator[Int16]:
        if block.shape[1] != self._device_channels:  # C would read past its end
            raise SamplesError(f"a block of {self._device_channels} channels, not {block.shape[1]}")
        data = self._from_buffer("int16_t[]", np.ascontiguousarray(block))
        at, frames = 0, len(block)
        while True:
            full = self._pull(self._struct, data + at * self._device_channels, frames - at,
                              self._used)  # fmt: skip
            if full < 0:
                native.check(full)
            at += self._used[0]
            if not full:
                return
            yield self._hop


class _CFader:
    def __init__(self, struct: Any) -> None:
        self._struct = struct

    @property
    def open(self) -> bool:
        return bool(self._struct.fade_open)

    @open.setter
    def open(self, value: bool) -> None:
        self._struct.fade_open = value

    @property
    def closed(self) -> bool:
        return self._struct.fade_level == 0 and not self._struct.fade_open

    def shorten(self, fade_frames: int) -> None:
        struct = self._struct
        if fade_frames < struct.fade_frames:
            struct.fade_level = struct.fade_level * fade_frames // struct.fade_frames
            struct.fade_frames = fade_frames


class _CLimiter:
    def __init__(self, struct: Any) -> None:
        self._struct = struct

    @property
    def limited_frames(self) -> int:
        return int(self._struct.limited_frames)

    @property
    def lookahead_frames(self) -> int:
        return int(self._struct.lookahead)

    def set_ceiling(self, ceiling_dbfs: float) -> None:
        self._struct.ceiling = ceiling_int16(ceiling_dbfs)


class _COut:
    def __init__(
        self, rate_hz: int, device_channels: int, hop_samples: int, channels: int, fade: int,
        ceiling_dbfs: float,
    ) -> None:  # fmt: skip
        ffi, lib = native.library()
        self._from_buffer, self._push = ffi.from_buffer, lib.edgesep_live_push
        self._struct = struct = ffi.new("edgesep_live_out *")
        self._resampler = _CResampler(struct.resampler, RATE_HZ, rate_hz, channels, 2 * hop_samples)
        twin = Limiter(ceiling_dbfs, rate_hz, channels)
        reach = twin.lookahead_frames
        late = np.zeros((reach, channels), np.int32)
        rings = late, np.full(reach + 1, UNITY, np.int32), np.full(reach, UNITY, np.int32)
        struct.late, struct.needed, struct.lowest = (
            ffi.from_buffer("int32_t[]", ring) for ring in rings
        )
        self._rings = rings
        struct.lookahead, struct.release_q24 = reach, twin.release_q24
        struct.lowest_sum, struct.recovering, struct.quiet = reach * UNITY, UNITY, 4 * reach
        struct.ceiling = ceiling_int16(ceiling_dbfs)
        struct.fade_frames, struct.device_channels = max(1, fade), device_channels
        room = math.ceil(hop_samples * rate_hz / RATE_HZ * STRETCH_MOST) + 2
        self._frames = np.zeros((room, device_channels), np.int16)
        self._frames_data = ffi.from_buffer("int16_t[]", self._frames)
        self._hop_samples = hop_samples
        self.meter: Metering = _CMeter(struct)
        self.fader: Fading = _CFader(struct)
        self.limiter: Limiting = _CLimiter(struct)

    @property
    def delay_s(self) -> float:
        return self._resampler.delay_s

    def push(self, hop: Int16, stretch: float) -> Int16:
        data = self._from_buffer("int16_t[]", np.ascontiguousarray(hop))
        count = self._push(self._struct, data, self._hop_samples, stretch, self._frames_data,
                           len(self._frames))  # fmt: skip
        if count < 0:
            native.check(count)
        return self._frames[:count].copy()
