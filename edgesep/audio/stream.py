"""A stream of any rate and block size through an Isolator: as long as the input, and aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.resample import Resampler
from edgesep.audio.samples import Samples, to_float32, to_int16
from edgesep.contract import RATE_HZ

if TYPE_CHECKING:
    from edgesep.isolator import Isolator

__all__ = ["CoreInput", "HopStream", "SeparatedStream", "StemStream"]

SILENCE_SECONDS = 0.02  # how much is pushed at a time to get a stream's end out


class HopStream:
    """Cut 16 kHz blocks into hops, isolate them, and take the isolator's delay out of the stream.

    isolator: is reset; one hop of its delay is held back at first, so output sample k belongs to
    input sample k.
    """

    def __init__(self, isolator: Isolator) -> None:
        isolator.reset()
        self._isolator = isolator
        self._pending = np.zeros((isolator.channels, 0), np.int16)
        self._skip_samples = isolator.delay_samples

    def push(self, block: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take int16 (n, channels) and return what is ready, int16 (m, channels), m >= 0."""
        hop_samples, channels = self._isolator.hop_samples, self._isolator.channels
        samples = np.concatenate((self._pending, block.T), axis=1)
        count = samples.shape[1] // hop_samples
        whole, self._pending = np.split(samples, [count * hop_samples], axis=1)
        hops = whole.reshape(channels, count, hop_samples).swapaxes(0, 1)  # (count, channels, H)
        isolated = np.empty((count * hop_samples, channels), np.int16)
        for index, hop in enumerate(hops):
            place = isolated[index * hop_samples : (index + 1) * hop_samples]
            if channels == 1:
                place[:, 0] = self._isolator.process(hop[0])
            else:
                place[:] = self._isolator.process(np.ascontiguousarray(hop)).T
        skip = min(self._skip_samples, len(isolated))
        self._skip_samples -= skip
        return isolated[skip:]


class CoreInput:
    """Bring blocks of a file or pipe to what the core takes: int16 at 16 kHz.

    int16 blocks at 16 kHz pass through untouched, bit by bit.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._resampler = Resampler(rate_hz, RATE_HZ, channels)
        self._same_rate = rate_hz == RATE_HZ

    def push(self, block: Samples) -> NDArray[np.int16]:
        """Take (n, channels), return int16 (m, channels) at 16 kHz."""
        if self._same_rate:
            return to_int16(block)
        return to_int16(self._resampler.push(to_float32(block)))


class SeparatedStream:
    """Isolate a stream at its own rate.

    rate_hz, channels: of the blocks; the isolator must have been opened for as many channels.
    Output sample k belongs to input sample k, and after `finish` there are exactly as many.
    Blocks come back as int16 at 16 kHz and as float32 at every other rate.
    """

    def __init__(self, isolator: Isolator, rate_hz: int, channels: int) -> None:
        self._input = CoreInput(rate_hz, channels)
        self._hops = HopStream(isolator)
        self._output = Resampler(RATE_HZ, rate_hz, channels)
        self._rate_hz, self._channels = rate_hz, channels
        self._frames_in = self._frames_out = 0

    def push(self, block: Samples) -> Samples:
        """Take (n, channels), int16 or float32, and return what is ready, (m, channels)."""
        self._frames_in += len(block)
        return self._take(block)

    def finish(self) -> Samples:
        """Return the rest of the stream; nothing may be pushed after it."""
        silence = np.zeros((round(SILENCE_SECONDS * self._rate_hz), self._channels), np.int16)
        rest = [self._take(silence[:0])]
        while self._frames_out < self._frames_in:
            rest.append(self._take(silence))
        excess = self._frames_out - self._frames_in
        rest[-1] = rest[-1][: len(rest[-1]) - excess]
        if self._rate_hz == RATE_HZ:
            return np.concatenate(rest).astype(np.int16, copy=False)
        return np.concatenate(rest).astype(np.float32, copy=False)

    def _take(self, block: Samples) -> Samples:
        isolated: Samples = self._hops.push(self._input.push(block))
        if self._rate_hz != RATE_HZ:
            isolated = self._output.push(to_float32(isolated))
        self._frames_out += len(isolated)
        return isolated


class StemStream:
    """Split a stream into speech and background at 16 kHz, int16, whose sum is the input there.

    The input there is the input itself for int16 at 16 kHz, else what it becomes when it is
    resampled and rounded to that. Where background would leave int16, speech gives way, so the
    sum holds for every sample. `frames_out` samples come out in all: the input's, to scale.
    """

    def __init__(self, isolator: Isolator, rate_hz: int, channels: int) -> None:
        self._input = CoreInput(rate_hz, channels)
        self._hops = HopStream(isolator)
        self._rate_hz, self._channels = rate_hz, channels
        self._waiting = np.zeros((0, channels), np.int16)  # input whose speech is not out yet
        self._frames_in = self._frames_out = 0

    def push(self, block: Samples) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Take (n, channels); return speech and background, int16 (m, channels) each."""
        self._frames_in += len(block)
        return self._take(block)

    def finish(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Return the rest of both stems; nothing may be pushed after it."""
        wanted = max(1, round(self._frames_in * RATE_HZ / self._rate_hz))
        silence = np.zeros((round(SILENCE_SECONDS * self._rate_hz), self._channels), np.int16)
        rest = [self._take(silence[:0])]
        while self._frames_out < wanted:
            rest.append(self._take(silence))
        speech = np.concatenate([pair[0] for pair in rest])
        background = np.concatenate([pair[1] for pair in rest])
        keep = len(speech) - (self._frames_out - wanted)
        return speech[:keep], background[:keep]

    def _take(self, block: Samples) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        core_block = self._input.push(block)
        speech = self._hops.push(core_block)
        waiting = np.concatenate((self._waiting, core_block))
        mixture, self._waiting = waiting[: len(speech)], waiting[len(speech) :]
        self._frames_out += len(speech)
        return split_exactly(mixture, speech)


def split_exactly(
    mixture: NDArray[np.int16], speech: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return speech and background, int16, whose sum is `mixture`; all of the same shape."""
    whole = mixture.astype(np.int32)
    background = np.clip(whole - speech, -32768, 32767)
    return (whole - background).astype(np.int16), background.astype(np.int16)
