"""Depthwise convolution over (frames, bands) for training, with a gradient of its own.

Grouped convolutions are slow on most CPU backends; sums of shifted slices are not, and dilation in
time costs nothing this way. Their automatic gradient is slow again, ten times the convolution,
because of the many sums over everything but the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import keras
from keras import ops

MOST_PARTS = 8  # of a batch, each a term in the code that is compiled


@dataclass(frozen=True)
class Taps:
    """Where taps lie: at `frames` moments, `dilation` frames apart, `bands` of them each."""

    frames: int
    dilation: int
    bands: int

    @property
    def count(self) -> int:
        """Number of taps."""
        return self.frames * self.bands

    @property
    def past(self) -> int:
        """Frames before the first one that the taps reach back to."""
        return (self.frames - 1) * self.dilation

    def slices(self, x: Any) -> list[Any]:
        """Return what each tap sees of x (batch, frames + past, bands + taps - 1, channels)."""
        frames, bands = x.shape[1] - self.past, x.shape[2] - self.bands + 1
        return [
            x[:, i * self.dilation : i * self.dilation + frames, j : j + bands]
            for i in range(self.frames)
            for j in range(self.bands)
        ]


def depthwise(x: Any, kernel: Any, taps: Taps) -> Any:
    """Return (batch, frames, bands, channels), each channel convolved by itself.

    x: (batch, frames + past, bands + taps - 1, channels), padded; kernel: (taps, channels).
    """

    @ops.custom_gradient
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            dy = args[0] if upstream is None else upstream
            return _input_gradient(dy, kernel, taps), _kernel_gradient(x, dy, taps)

        return sum(part * kernel[i] for i, part in enumerate(taps.slices(x))), gradient

    return convolve(x, kernel)


def _input_gradient(dy: Any, kernel: Any, taps: Taps) -> Any:
    rim = (taps.past, taps.past), (taps.bands - 1, taps.bands - 1)
    parts = taps.slices(ops.pad(dy, ((0, 0), *rim, (0, 0))))
    return sum(part * kernel[taps.count - 1 - i] for i, part in enumerate(parts))


def _kernel_gradient(x: Any, dy: Any, taps: Taps) -> Any:
    """Return (taps, channels): first the clips are added up, term by term, then all the rest.

    Not where a batch is spread over devices: they would have to exchange what they compute.
    """
    parts = 1 if keras.distribution.distribution() else gcd(dy.shape[0], MOST_PARTS)
    each = [sum((piece * dy)[i::parts] for i in range(parts)) for piece in taps.slices(x)]
    return ops.sum(ops.stack(each), axis=(1, 2, 3))
