"""Live sound from device block to device block: rates, channels, the isolator, safety.

No threads and no devices here: `LivePath.push` is called with one block after the other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.fractional import FractionalResampler
from edgesep.audio.limiter import Limiter
from edgesep.audio.samples import to_float32, to_int16
from edgesep.contract import RATE_HZ, WINDOW_SAMPLES
from edgesep.live_settings import LiveSettings, parse_channel

if TYPE_CHECKING:
    from edgesep.isolator import Isolator

__all__ = ["DryWet", "Fader", "LivePath", "Meter", "channels_inside", "pick_channels"]

UNITY_Q15 = 1 << 15


class DryWet:
    """The isolator with a way round it: the input, as late as the isolated sound.

    It changes sides by a crossfade over one hop, so a change makes no click.
    """

    def __init__(self, isolator: Isolator) -> None:
        isolator.reset()
        self._isolator = isolator
        hop, channels = isolator.hop_samples, isolator.channels
        self._shape = (channels, hop)
        self._dry = np.zeros((channels, hop + isolator.delay_samples), np.int16)
        self._rising_q15 = (np.arange(1, hop + 1) * UNITY_Q15 // hop).astype(np.int64)
        self._warm_hops = -(-WINDOW_SAMPLES // hop)
        self._seen_hops = self._warm_hops  # a stream that starts in silence needs no warming up
        self._wet = False
        self.bypass = False
        """Let the dry sound out; the isolator goes on, so that it can come back at once."""
        self.cost_s = 0.0
        """What the isolator took for the last hop that it got."""

    @property
    def wet(self) -> bool:
        """Whether the last hop came from the isolator."""
        return self._wet

    def process(self, hop: NDArray[np.int16], *, rest: bool = False) -> NDArray[np.int16]:
        """Take one hop, int16 (channels, H), and return one, `delay_samples` later.

        rest: spare the isolator. It starts anew afterwards, and is heard once its window is full.
        """
        size = self._shape[1]
        self._dry[:, :-size] = self._dry[:, size:]
        self._dry[:, -size:] = hop
        dry = self._dry[:, :size]
        if rest and not self._wet:
            self._seen_hops = -1
            return dry.copy()
        if self._seen_hops < 0:
            self._isolator.reset()
        self._seen_hops += 1
        frames = hop[0] if self._shape[0] == 1 else hop
        started = time.perf_counter()
        wet = self._isolator.process(np.ascontiguousarray(frames)).reshape(self._shape)
        self.cost_s = time.perf_counter() - started
        want_wet = not (rest or self.bypass) and self._seen_hops > self._warm_hops
        before, self._wet = self._wet, want_wet
        if before == want_wet:
            return wet if want_wet else dry.copy()
        old, new = (dry, wet) if want_wet else (wet, dry)
        step = (new.astype(np.int64) - old) * self._rising_q15
        return (old + (step >> 15)).astype(np.int16)


class Fader:
    """A gain that moves to 0 or 1 by a straight line."""

    def __init__(self, fade_frames: int) -> None:
        self._frames = max(1, fade_frames)
        self._level = 0  # 0 .. frames
        self.open = False
        """Whether it goes to (or stays at) one."""

    @property
    def closed(self) -> bool:
        """Whether nothing comes through any more."""
        return self._level == 0 and not self.open

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

    def add(self, block: NDArray[np.int16]) -> None:
        """Take int16 of any shape."""
        flat = block.astype(np.float32).ravel()
        self._sum += float(flat @ flat)
        self._count += flat.size

    def read_dbfs(self) -> float:
        """Return the mean power since the last call, -96 at the least; 0 is full-scale DC."""
        mean = self._sum / max(self._count, 1) / 32768.0**2
        self._sum, self._count = 0.0, 0
        return max(-96.0, 10.0 * float(np.log10(max(mean, 1e-10))))


def channels_inside(channel: str) -> int:
    """Return how many channels the isolator gets."""
    return 2 if channel == "link" else 1


def pick_channels(block: NDArray[np.int16], channel: str) -> NDArray[np.float32]:
    """Take int16 (n, device channels); return float32 (n, channels inside), 1.0 at full scale."""
    choice = parse_channel(channel)
    if choice == "mix":
        return to_float32(block).mean(axis=1, keepdims=True, dtype=np.float32)
    if choice == "link":
        return to_float32(block[:, :2])
    return to_float32(block[:, int(choice) : int(choice) + 1])


class LivePath:
    """Everything between a block from the microphone and a block for the loudspeaker.

    isolator: opened with `channels_inside(settings.channel)` channels.
    in_rate_hz, out_rate_hz: of the devices; out_channels: of the loudspeaker.
    It starts closed; set `fader.open`.
    """

    def __init__(
        self,
        isolator: Isolator,
        settings: LiveSettings,
        in_rate_hz: int,
        out_rate_hz: int,
        out_channels: int,
    ) -> None:
        inside = isolator.channels
        self._channel = settings.channel
        self._out_channels = out_channels
        self._same_in_rate = in_rate_hz == RATE_HZ
        self._input = FractionalResampler(in_rate_hz, RATE_HZ, inside)
        self._output = FractionalResampler(RATE_HZ, out_rate_hz, inside)
        self._pending = np.zeros((0, inside), np.int16)
        self._hop_samples = isolator.hop_samples
        self._algorithm_s = isolator.latency_samples / RATE_HZ
        self._in_rate_hz, self._out_rate_hz = in_rate_hz, out_rate_hz
        self.dry_wet = DryWet(isolator)
        self.fader = Fader(round(settings.fade_ms * out_rate_hz / 1000))
        self.limiter = Limiter(settings.limiter_dbfs, out_rate_hz, inside)
        self.level_in, self.level_out = Meter(), Meter()
        self.hops = 0
        """Hops so far."""

    @property
    def hop_frames(self) -> int:
        """Frames at the input's rate that bring one hop, rounded up."""
        return -(-self._hop_samples * self._in_rate_hz // RATE_HZ)

    @property
    def resampling_s(self) -> float:
        """Latency of both rate conversions."""
        return (0.0 if self._same_in_rate else self._input.delay_s) + self._output.delay_s

    @property
    def lookahead_s(self) -> float:
        """What the limiter holds back, which would else wait before the output."""
        return self.limiter.lookahead_frames / self._out_rate_hz

    @property
    def algorithm_s(self) -> float:
        """Latency of the isolation itself."""
        return self._algorithm_s

    def push(
        self, block: NDArray[np.int16], stretch: float = 1.0, *, rest: bool = False
    ) -> NDArray[np.int16]:
        """Take int16 (n, device channels), return int16 (m, out_channels), m >= 0.

        stretch: see `FractionalResampler.push`. rest: see `DryWet.process`.
        """
        chosen = pick_channels(block, self._channel)
        samples = to_int16(chosen if self._same_in_rate else self._input.push(chosen))
        pending = np.concatenate((self._pending, samples))
        count = len(pending) // self._hop_samples
        whole, self._pending = np.split(pending, [count * self._hop_samples])
        out = (
            [self._hop(hop, stretch, rest=rest) for hop in np.split(whole, count)] if count else []
        )
        self.hops += count
        if not out:
            return np.zeros((0, self._out_channels), np.int16)
        return self._to_device(np.concatenate(out))

    def _hop(self, hop: NDArray[np.int16], stretch: float, *, rest: bool) -> NDArray[np.int16]:
        """Take int16 (H, channels inside) at 16 kHz; return int16 at the output's rate."""
        self.level_in.add(hop)
        isolated = self.dry_wet.process(np.ascontiguousarray(hop.T), rest=rest).T
        self.level_out.add(isolated)
        fine = self._output.push(to_float32(isolated), stretch)
        return self.limiter.push(self.fader.push(np.rint(fine * 32768.0).astype(np.int32)))

    def _to_device(self, block: NDArray[np.int16]) -> NDArray[np.int16]:
        """Spread one channel over all; two go to the first two, others stay silent."""
        inside = block.shape[1]
        if inside == self._out_channels:
            return block
        if inside == 1:
            return np.repeat(block, self._out_channels, axis=1)
        if self._out_channels == 1:
            return to_int16(to_float32(block).mean(axis=1, keepdims=True, dtype=np.float32))
        wide = np.zeros((len(block), self._out_channels), np.int16)
        wide[:, :inside] = block
        return wide
