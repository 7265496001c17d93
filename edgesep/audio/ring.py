"""A lock-free ring of int16 frames between one writing and one reading thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring"]


class Ring:
    """Preallocated FIFO, one producer and one consumer, no lock.

    Each counter is written by one side only and read by the other: `written` after the samples
    are in place, `taken` after they have been copied out. The counters only grow.
    """

    def __init__(self, frames: int, channels: int) -> None:
        self._samples = np.zeros((frames, channels), np.int16)
        self._frames = frames
        self.written = 0
        """Frames ever written; the producer's."""
        self.taken = 0
        """Frames ever taken; the consumer's."""

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return self._samples.shape[1]

    @property
    def available(self) -> int:
        """Frames that can be read now; for the producer: at most so many are still unread."""
        return self.written - self.taken

    def write(self, block: NDArray[np.int16]) -> int:
        """Append int16 (n, channels); return how many frames found no place and were dropped."""
        count = min(len(block), self._frames - self.available)
        start = self.written % self._frames
        first = min(count, self._frames - start)
        self._samples[start : start + first] = block[:first]
        self._samples[: count - first] = block[first:count]
        self.written += count
        return len(block) - count

    def read_into(self, block: NDArray[np.int16]) -> int:
        """Fill int16 (n, channels) from its start; return how many frames there were, 0 .. n."""
        count = min(len(block), self.available)
        start = self.taken % self._frames
        first = min(count, self._frames - start)
        block[:first] = self._samples[start : start + first]
        block[first:count] = self._samples[: count - first]
        self.taken += count
        return count

    def skip(self, frames: int) -> int:
        """Drop up to `frames` unread frames; only the consumer may. Return how many."""
        count = min(frames, self.available)
        self.taken += count
        return count
