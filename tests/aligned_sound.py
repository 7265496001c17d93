"""Bring a recording of live sound to the delays of the same sound from a file, to score it.

A loop follows clocks, which moves the delay evenly, and may lose a block, which makes it jump.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

__all__ = ["aligned"]

RATE_HZ = 48000
HALF = RATE_HZ // 8  # of a piece whose delay is measured; pieces overlap by so much
HEAD = 4 * RATE_HZ  # that tells where it begins, even if the sound repeats itself later
REACH = RATE_HZ // 2  # a busy machine may make a hole, and a jump
BEGINNING_LEAST = 0.5  # of the best likeness: a jump within the beginning costs some
ALIKE_LEAST = 0.9  # correlation from which on a piece is taken for heard
NEIGHBOURS = 4  # intervals on either side that tell how fast the delay moves without a jump
NEAR = 3  # places on either side of a jump that tell the delay there
SPLINE = 5  # order
JUMP_LEAST = 2.0  # samples; what is measured scatters by less than one
BETTER = 0.8  # share of the even move's residual that a step must not exceed to be one

Sound = NDArray[np.float64]


def aligned(wanted: Sound, heard: Sound) -> tuple[Sound, Sound]:
    """Return `heard` (n,) with the delays of `wanted` (m,), and these delays in samples.

    Both at 48 kHz. The delay of each quarter of a second is measured to a part of a sample. Between
    two of these it moves evenly, as it does when a loop follows clocks; or it jumps, where that
    leaves less of a difference, at the place where it leaves the least.
    """
    places, found, gain = _measure(wanted, heard)
    measured = scipy.ndimage.median_filter(found, 5, mode="mirror")
    delays = np.interp(np.arange(len(wanted)), places, measured)
    gaps = np.diff(places)
    slopes = np.diff(measured) / gaps
    spline = scipy.ndimage.spline_filter(heard, SPLINE)
    from_here = 0
    for i, gap in enumerate(gaps):
        slope = float(np.median(slopes[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]))
        if abs(measured[i + 1] - measured[i] - slope * gap) < JUMP_LEAST:
            continue
        first = max(from_here, places[i] - HALF)
        span = np.arange(first, min(len(wanted), places[i + 1] + HALF))
        level = measured - slope * (places - places[i])
        sides_of_it = level[max(0, i + 1 - NEAR) : i + 1], level[i + 1 : i + 1 + NEAR]
        before, after = (np.median(side) + slope * (span - places[i]) for side in sides_of_it)
        even, *sides = (
            (_moved(spline, span + late) - gain * wanted[span]) ** 2
            for late in (delays[span], before, after)
        )
        left, right = (np.concatenate(([0.0], np.cumsum(side))) for side in sides)
        residuals = left + right[-1] - right
        step = int(np.argmin(residuals))
        if residuals[step] < BETTER * even.sum():
            delays[span] = np.where(np.arange(len(span)) < step, before, after)
            from_here = first + step
    return _moved(spline, np.arange(len(wanted)) + delays), measured


def _moved(spline: Sound, moments: Sound) -> Sound:
    return scipy.ndimage.map_coordinates(
        spline, [moments], order=SPLINE, mode="constant", prefilter=False
    )


def _measure(wanted: Sound, heard: Sound) -> tuple[NDArray[np.intp], Sound, float]:
    """Return places in `wanted` that are loud and heard, the delays there, and the gain."""
    late = _beginning(wanted[:HEAD], heard)
    loud = np.sqrt(np.mean(wanted**2)) / 2
    places, delays, gains = [], [], []
    for middle in range(HALF, len(wanted) - HALF, HALF):
        piece = wanted[middle - HALF : middle + HALF]
        start = late + middle - HALF - REACH
        around = heard[max(0, start) : start + 2 * (HALF + REACH)]
        if np.sqrt(np.mean(piece**2)) < loud or start < 0 or len(around) < 2 * HALF:
            continue
        scores = scipy.signal.correlate(around, piece, mode="valid", method="fft")
        best = int(np.argmax(scores))
        there = around[best : best + len(piece)]
        alike = scores[best] / (np.linalg.norm(piece) * np.linalg.norm(there) + 1e-9)
        if 0 < best < len(scores) - 1 and alike > ALIKE_LEAST:
            left, top, right = scores[best - 1 : best + 2]
            places.append(middle)
            delays.append(late - REACH + best + (left - right) / (2 * (left - 2 * top + right)))
            late += best - REACH  # what is lost adds up
            gains.append(top / (piece @ piece))
    return np.array(places), np.array(delays), float(np.median(gains))


def _beginning(head: Sound, heard: Sound) -> int:
    """Return the first place where `head` is heard, in samples."""
    size = 1 << (len(heard) + len(head)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(head, size))
    likeness = np.fft.irfft(product, size)[: len(heard)]
    return int(np.argmax(likeness > BEGINNING_LEAST * likeness.max()))
