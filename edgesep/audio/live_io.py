"""The ends of the live loop on PortAudio's thread: they copy and count, nothing else.

In C (`native_io.py`) where the core is built; these are the twins, bit by bit.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.ring import Ring

__all__ = ["Bell", "Inlet", "Outlet", "fades"]

CONTINUE = 0  # PyAudio's paContinue
RING_SECONDS = 1.0
HOLD = 1 << 62  # more frames than a ring ever has: the output waits for the first word
REPAIR_MS = 4.0  # fade into and out of a hole


class Bell:
    """Wakes up one thread from another, without a lock: a pipe that nobody waits to write to."""

    def __init__(self) -> None:
        self._reader, self.number = os.pipe()
        os.set_inheritable(self.number, False)
        if os.name == "posix":
            os.set_blocking(self.number, False)

    def ring(self) -> None:
        """Let `wait` return."""
        try:
            os.write(self.number, b"\0")
        except BlockingIOError:
            pass  # there is enough in it to wake up anybody

    def wait(self) -> None:
        """Return once it has rung since the last call."""
        os.read(self._reader, 4096)

    def close(self) -> None:
        """Give both ends back; nobody may wait or ring any more."""
        for number in (self._reader, self.number):
            os.close(number)


def fades(rate_hz: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the falling and the rising gains around a hole, float32 (frames,)."""
    frames = max(1, round(REPAIR_MS * rate_hz / 1000))
    falling = np.linspace(1, 0, frames, endpoint=False, dtype=np.float32)
    return falling, 1 - falling


class Inlet:
    """Puts what the microphone brings into a ring."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.ring = Ring(round(RING_SECONDS * rate_hz), channels)
        self.bell = Bell()
        """Rings with every block."""
        self.blocks = 0
        """Callbacks so far."""
        self.lost_frames = 0
        """Frames that found the ring full."""
        self.overflows = 0
        """Times that PortAudio has reported a loss."""

    @property
    def for_portaudio(self) -> Any:
        """What PortAudio calls."""
        return self.callback

    def callback(self, raw: Any, frames: int, _: Any, status: int) -> tuple[bytes | None, int]:
        """Take a block from PortAudio."""
        block = np.frombuffer(raw, np.int16).reshape(frames, -1)
        self.lost_frames += self.ring.write(block)
        self.overflows += status != 0
        self.blocks += 1
        self.bell.ring()
        return None, CONTINUE


class Outlet:
    """Feeds the loudspeaker from a ring; where that is empty, the last sample fades to silence.

    block_s: how much arrives in the ring at a time. patience_s: a request that comes later after
    the one before has left the device without sound.
    """

    def __init__(self, rate_hz: int, channels: int, block_s: float, patience_s: float) -> None:
        self.ring = Ring(round(RING_SECONDS * rate_hz), channels)
        self._rate_hz, self._block_s, self._patience_s = rate_hz, block_s, patience_s
        self._falling, self._rising = (gains[:, None] for gains in fades(rate_hz))
        self._last = np.zeros(channels, np.float32)
        self._block = np.zeros((round(RING_SECONDS * rate_hz), channels), np.int16)
        self.refill_frames = HOLD
        """After it has run empty, nothing is taken from the ring before it holds so many frames."""
        self._dry = True  # the ring was empty: the next sound fades in
        self._risen = self._fallen = 0  # frames of the fades that have passed
        self.ending = False
        """Whether nobody writes any more: an empty ring is no longer a starvation."""
        self.blocks = 0
        """Callbacks so far."""
        self.starvations = 0
        """Times that the ring ran empty."""
        self.underflows = 0
        """Times that PortAudio has reported a gap."""
        self.late_requests = 0
        """Times that PortAudio asked later than its own buffer lasts."""
        self._written_at_s = self._asked_at_s = 0.0
        self.headroom_s = float("inf")
        """Least sound that would have been left, had the blocks come evenly and at their worst
        phase; the other side sets it back."""

    @property
    def for_portaudio(self) -> Any:
        """What PortAudio calls."""
        return self.callback

    def write(self, block: NDArray[np.int16]) -> None:
        """Append int16 (n, channels) to the ring; what finds no place is dropped."""
        self.ring.write(block)
        self._written_at_s = time.perf_counter()

    def callback(self, _: Any, frames: int, __: Any, status: int) -> tuple[bytes | None, int]:
        """Give a block to PortAudio."""
        now_s = time.perf_counter()
        block = self._block[:frames]
        waiting = self._dry and self.ring.available < self.refill_frames
        got = 0 if waiting else self.ring.read_into(block)
        if got:
            self._fade_in(block, got)
        if got < frames:
            self._fill_hole(block, got)
        else:
            since_s = now_s - self._written_at_s
            left_s = self.ring.available / self._rate_hz + min(since_s, self._block_s)
            self.headroom_s = min(self.headroom_s, left_s - self._block_s)
            self._last[:] = block[-1]
        late = now_s - self._asked_at_s > self._patience_s
        self.late_requests += self.blocks > 0 and not self._dry and late
        self._asked_at_s = now_s
        self.underflows += status != 0
        self.blocks += 1
        return block.tobytes(), CONTINUE

    def _fade_in(self, block: np.ndarray, got: int) -> None:
        """Continue the fade in, if there is one."""
        if self._dry:
            self._dry, self._risen = False, 0
        length = min(got, len(self._rising) - self._risen)
        if length:
            gains = self._rising[self._risen : self._risen + length]
            block[:length] = block[:length] * gains
            self._risen += length

    def _fill_hole(self, block: np.ndarray, got: int) -> None:
        """Let the last sample fade, over as many blocks as that takes, and then be silent."""
        block[got:] = 0
        if not self._dry:
            self.starvations += not self.ending
            self._dry, self._fallen = True, 0
            if got:
                self._last[:] = block[got - 1]
        length = min(len(block) - got, len(self._falling) - self._fallen)
        if length:
            gains = self._falling[self._fallen : self._fallen + length]
            block[got : got + length] = self._last * gains
            self._fallen += length
