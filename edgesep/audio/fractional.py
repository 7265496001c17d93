"""Change the rate of a live stream by any ratio, at once, with little delay."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["FractionalResampler"]

PHASES = 256  # of the filter table; between two the taps are interpolated: error below -100 dB
ZERO_CROSSINGS = 24  # on either side, at the lower of the two rates
ROLLOFF = 0.95  # cut-off (-6 dB) as a share of the lower Nyquist frequency
KAISER_BETA = 7.0  # stopband about -70 dB


class FractionalResampler:
    """Windowed-sinc rate conversion whose ratio may change from block to block.

    It delays by `delay_s` (1.5 ms at 16 kHz) and gives every sample as soon as its filter is
    full. libsoxr, which files go through, works in blocks of up to 60 ms, and its variable-rate
    mode delays by 15 ms: docs/decisions/0009 has the figures.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int, channels: int) -> None:
        self._step = in_rate_hz / out_rate_hz
        narrow = min(1.0, out_rate_hz / in_rate_hz)
        self._half = math.ceil(ZERO_CROSSINGS / narrow)
        self._table = _filter_table(self._half, narrow)  # (PHASES + 2, taps)
        self._rise = np.diff(self._table, axis=0)
        self._in_rate_hz = in_rate_hz
        self._history = np.zeros((2 * self._half - 1, channels), np.float32)
        self._position = 0.0  # of the next output sample, in samples of `_history`

    @property
    def table(self) -> NDArray[np.float32]:
        """The filter, float32 (PHASES + 2, taps)."""
        return self._table

    @property
    def delay_s(self) -> float:
        """Time from a sample in to the same moment out."""
        return self._half / self._in_rate_hz

    def push(self, block: NDArray[np.float32], stretch: float = 1.0) -> NDArray[np.float32]:
        """Take float32 (n, channels) and return what is ready, float32 (m, channels).

        stretch: output samples per nominal output sample, near 1: 1.0001 gives 100 ppm more.
        """
        samples = np.concatenate((self._history, block))
        taps, step = 2 * self._half, self._step / stretch
        room = len(samples) - taps - self._position
        count = max(0, math.floor(room / step) + 1) if room >= 0 else 0
        moments = self._position + step * np.arange(count)
        whole = moments.astype(np.intp)
        self._position += step * count
        used = min(int(self._position), len(samples) - (taps - 1))
        self._history = samples[used:]
        self._position -= used
        phases = (moments - whole) * PHASES
        rows = phases.astype(np.intp)
        weights = self._table[rows]
        weights += self._rise[rows] * (phases - rows).astype(np.float32)[:, None]
        windows = np.lib.stride_tricks.sliding_window_view(samples, taps, axis=0)[whole]
        return np.einsum("nct,nt->nc", windows, weights).astype(np.float32, copy=False)


def _filter_table(half: int, narrow: float) -> NDArray[np.float32]:
    """Return the taps for PHASES + 2 moments between two samples, each row of unit gain."""
    phase = np.arange(PHASES + 2)[:, None] / PHASES
    t = np.arange(-half + 1, half + 1) - phase  # distance from the moment wanted, in samples
    inside = np.clip(1 - (t / half) ** 2, 0, None)
    taps = np.sinc(narrow * ROLLOFF * t) * np.i0(KAISER_BETA * np.sqrt(inside))
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
