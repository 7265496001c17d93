"""Live sound from device block to device block: rates, channels, the isolator, safety.

No threads and no devices here: `LivePath.push` is called with one block after the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.live_ends import open_ends
from edgesep.contract import RATE_HZ, WINDOW_SAMPLES
from edgesep.live_settings import LiveSettings

if TYPE_CHECKING:
    from edgesep.isolator import Isolator

__all__ = ["DryWet", "LivePath", "channels_inside"]

Int16 = NDArray[np.int16]

UNITY_Q15 = 1 << 15
COLD = -1  # an isolator that has missed sound


class DryWet:
    """Isolators, the one in use and smaller ones, with a way round them: the input, just as late.

    It changes sides by a crossfade over one hop, so a change makes no click.
    isolators: of the same hop, delay and channels, the largest first.
    """

    def __init__(self, *isolators: Isolator) -> None:
        first = isolators[0]
        hop, channels = first.hop_samples, first.channels
        self._isolators = isolators
        self._shape = (channels, hop)
        self._dry = np.zeros((channels, hop + first.delay_samples), np.int16)
        self._rising_q15 = (np.arange(1, hop + 1) * UNITY_Q15 // hop).astype(np.int64)
        self._warm_hops = -(-WINDOW_SAMPLES // hop)
        for isolator in isolators:
            isolator.reset()
        self._seen_hops = [COLD] * len(isolators)
        self._seen_hops[0] = self._warm_hops  # a stream that starts in silence is warm
        self._heard: int | None = None  # which isolator the last hop came from; None: dry
        self.level = 0
        """Which isolator to use; as many as there are: none."""
        self.bypass = False
        """Let the dry sound out; the isolator goes on, so that it can come back at once."""
        self.cost_s = 0.0
        """What the isolator in use took for the last hop that it got."""

    @property
    def wet(self) -> bool:
        """Whether the last hop came from an isolator."""
        return self._heard is not None

    def process(self, hop: Int16, *, rest: bool = False) -> Int16:
        """Take one hop, int16 (channels, H), and return one, `delay_samples` later.

        rest: spare the isolators. One that comes back, or is new, starts anew, and is heard once
        its window is full; a larger one lets the smaller one go on until then.
        """
        size = self._shape[1]
        self._dry[:, :-size] = self._dry[:, size:]
        self._dry[:, -size:] = hop
        if self._heard == self.level and not (rest or self.bypass):  # as most hops are
            return self._isolate(self.level, hop)
        dry = self._dry[:, :size]
        rest = rest or self.level >= len(self._isolators)
        if rest and self._heard is None:
            self._cool_down()
            return dry.copy()
        before, after, wet = self._heard, None, dry
        if not rest:
            wet = self._isolate(self.level, hop)
            if self._seen_hops[self.level] > self._warm_hops:
                after = self.level
            elif before is not None and before > self.level:
                after = before
        if self.bypass:
            after = None
        old = dry if before is None else wet
        if before is not None and (rest or before != self.level):
            old = self._isolate(before, hop)
        self._cool_down(after, None if rest else self.level)
        self._heard = after
        new = dry if after is None else (old if after == before else wet)
        if before == after:
            return new.copy()
        step = (new.astype(np.int64) - old) * self._rising_q15
        return (old + (step >> 15)).astype(np.int16)

    def _isolate(self, which: int, hop: Int16) -> Int16:
        isolator = self._isolators[which]
        if self._seen_hops[which] == COLD:
            isolator.reset()
            self._seen_hops[which] = 0
        self._seen_hops[which] += 1
        started = time.perf_counter()
        wet = isolator.process(hop[0] if self._shape[0] == 1 else hop).reshape(self._shape)
        if which == self.level:
            self.cost_s = time.perf_counter() - started
        return wet

    def _cool_down(self, *but: int | None) -> None:
        """Note which isolators miss sound from now on: all but these."""
        for which in range(len(self._isolators)):
            if which not in but:
                self._seen_hops[which] = COLD


def channels_inside(channel: str) -> int:
    """Return how many channels the isolator gets."""
    return 2 if channel == "link" else 1


class LivePath:
    """Everything between a block from the microphone and a block for the loudspeaker.

    isolator: opened with `channels_inside(settings.channel)` channels.
    in_rate_hz, out_rate_hz: of the devices; out_channels: of the loudspeaker.
    backend: of both ends, see `native.resolve`. smaller: see `DryWet`.
    It starts closed; set `fader.open`.
    """

    def __init__(
        self,
        isolator: Isolator,
        settings: LiveSettings,
        in_rate_hz: int,
        out_rate_hz: int,
        out_channels: int,
        in_channels: int | None = None,
        backend: str = "auto",
        smaller: Sequence[Isolator] = (),
    ) -> None:
        self._hop_samples = isolator.hop_samples
        self._algorithm_s = isolator.latency_samples / RATE_HZ
        self._in_rate_hz, self._out_rate_hz = in_rate_hz, out_rate_hz
        self._silence = np.zeros((0, out_channels), np.int16)
        fade_frames = round(settings.fade_ms * out_rate_hz / 1000)
        self._in, self._out = open_ends(
            isolator.hop_samples, isolator.channels, settings.channel,
            ((in_rate_hz, in_channels or isolator.channels), (out_rate_hz, out_channels)),
            fade_frames, settings.limiter_dbfs, backend,
        )  # fmt: skip
        self.dry_wet = DryWet(isolator, *smaller)
        self.fader, self.limiter = self._out.fader, self._out.limiter
        self.level_in, self.level_out = self._in.meter, self._out.meter
        self.hops = 0
        """Hops so far."""

    @property
    def hop_frames(self) -> int:
        """Frames at the input's rate that bring one hop, rounded up."""
        return -(-self._hop_samples * self._in_rate_hz // RATE_HZ)

    @property
    def resampling_s(self) -> float:
        """Latency of both rate conversions."""
        return self._in.delay_s + self._out.delay_s

    @property
    def lookahead_s(self) -> float:
        """What the limiter holds back, which would else wait before the output."""
        return self.limiter.lookahead_frames / self._out_rate_hz

    @property
    def algorithm_s(self) -> float:
        """Latency of the isolation itself."""
        return self._algorithm_s

    def push(self, block: Int16, stretch: float = 1.0, *, rest: bool = False) -> Int16:
        """Take int16 (n, device channels), return int16 (m, out_channels), m >= 0.

        stretch: see `FractionalResampler.push`. rest: see `DryWet.process`.
        """
        pieces = []
        for hop in self._in.push(block):
            pieces.append(self._out.push(self.dry_wet.process(hop, rest=rest), stretch))
            self.hops += 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else self._silence
