"""Keep what goes to an ear below a ceiling: an integer look-ahead limiter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Limiter", "ceiling_int16"]

UNITY = 1 << 24  # Q24: a gain of one
LOOKAHEAD_MS = 1.5
RELEASE_MS = 100.0  # from silence to a gain of one


def ceiling_int16(ceiling_dbfs: float) -> int:
    """Return the largest magnitude that `ceiling_dbfs` allows: 32767 for 0 dBFS."""
    return int(32767 * 10 ** (ceiling_dbfs / 20))


class Limiter:
    """Look-ahead peak limiter on integers; all channels share one gain.

    No sample that comes out exceeds the ceiling, whatever goes in. The gain reaches what a peak
    needs by a ramp over the look-ahead, so a burst makes no click, and recovers linearly.
    Below the ceiling samples pass bit by bit, `lookahead_frames` late.

    ceiling_dbfs: -60 .. 0.
    """

    def __init__(self, ceiling_dbfs: float, rate_hz: int, channels: int) -> None:
        self._ceiling = ceiling_int16(ceiling_dbfs)
        self._lookahead = max(1, round(LOOKAHEAD_MS * rate_hz / 1000))
        self._release_q24 = max(1, round(UNITY * 1000 / (RELEASE_MS * rate_hz)))
        self._channels = channels
        self.limited_frames = 0
        """Frames that were turned down so far."""
        self.reset()

    @property
    def lookahead_frames(self) -> int:
        """How far the output lies behind the input."""
        return self._lookahead

    @property
    def release_q24(self) -> int:
        """How much of the gain comes back in a frame, Q24."""
        return self._release_q24

    def set_ceiling(self, ceiling_dbfs: float) -> None:
        """Use another ceiling for what goes in from now on; what is inside is clipped to it."""
        self._ceiling = ceiling_int16(ceiling_dbfs)

    def reset(self) -> None:
        """Forget the stream."""
        self._late = np.zeros((self._lookahead, self._channels), np.int32)
        self._recovering = UNITY
        self._needed = np.full(self._lookahead, UNITY, np.int64)
        self._lowest = np.full(self._lookahead - 1, UNITY, np.int64)

    def push(self, block: NDArray[np.int32]) -> NDArray[np.int16]:
        """Take int32 (n, channels), +-2^30 at most; return int16 (n, channels), delayed."""
        samples = np.concatenate((self._late, block))
        out, self._late = samples[: len(block)], samples[len(block) :]
        gain = self._gain_q24(np.abs(block).max(axis=1, initial=0)) if len(block) else None
        if gain is not None:
            self.limited_frames += int(np.count_nonzero(gain < UNITY))
            out = ((out.astype(np.int64) * gain[:, None]) >> 24).astype(np.int32)
        # Only a ceiling lowered meanwhile, or the floor of a shift, can reach this clip.
        return np.clip(out, -self._ceiling, self._ceiling).astype(np.int16)

    def _gain_q24(self, peaks: NDArray[np.int32]) -> NDArray[np.int64] | None:
        """Return the gain of each frame that comes out, None where all are one."""
        quiet = int(peaks.max()) <= self._ceiling and self._recovering == UNITY
        if (
            quiet
            and int(self._needed.min()) == UNITY
            and int(self._lowest.min(initial=UNITY)) == UNITY
        ):
            return None
        count, reach = len(peaks), self._lookahead
        needed = np.minimum(UNITY, (self._ceiling << 24) // np.maximum(peaks, 1).astype(np.int64))
        # r[n] = min(needed[n], r[n-1] + release), as a running minimum.
        slope = self._release_q24 * np.arange(1, count + 1, dtype=np.int64)
        least = np.minimum.accumulate(np.minimum(needed - slope, self._recovering))
        released = np.minimum(least + slope, UNITY)
        self._recovering = int(released[-1])
        window = np.concatenate((self._needed, released))
        lowest = np.lib.stride_tricks.sliding_window_view(window, reach + 1).min(axis=1)
        ramp = np.concatenate((self._lowest, lowest))
        sums = np.concatenate(([0], np.cumsum(ramp)))
        self._needed, self._lowest = window[count:], ramp[count:]
        gain: NDArray[np.int64] = (sums[reach:] - sums[:-reach]) // reach
        return gain
