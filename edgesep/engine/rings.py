"""The stream state of a network: past columns of each stateful layer, in rings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgesep.card import StateSpec

__all__ = ["ColumnRing"]


class ColumnRing:
    """The last taps * dilation columns of one layer, ready to be read `dilation` apart.

    The columns of one phase (t mod dilation) stand together and twice over, so that its taps are
    one contiguous slice, oldest first, wherever the ring stands: nothing is gathered per frame.
    """

    def __init__(self, state: StateSpec, zero_point: int) -> None:
        taps, dilation = state.taps, state.dilation
        column = (state.width, state.channels)
        self._columns = np.empty((dilation, 2 * taps, *column), np.int8)
        self._zero_point = zero_point
        # One read and one write view for every position of the ring.
        phases = [(i % dilation, i // dilation) for i in range(state.ring_columns)]
        self._reads = [self._columns[p, np.newaxis, q : q + taps] for p, q in phases]
        self._writes = [self._columns[p, q::taps] for p, q in phases]
        self._position = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past: all columns become the zero point."""
        self._columns.fill(self._zero_point)
        self._position = 0

    @property
    def taps(self) -> NDArray[np.int8]:
        """The columns the layer needs now, int8 (1, taps, width, channels); a view."""
        return self._reads[self._position]

    def push(self, column: NDArray[np.int8]) -> None:
        """Keep this frame's column, int8 (width, channels) after broadcasting; frees the oldest."""
        self._writes[self._position][...] = column
        self._position += 1
        if self._position == len(self._writes):
            self._position = 0
