"""Fixed-point arithmetic of the NumPy twin: what `edgesep_fixed.h` is to the C core.

All values travel as int64 arrays whose contents fit the C core's int32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1


def mulhr(a: Int64, b: Int64) -> Int64:
    """Return the rounded high half of the 64-bit product of two int32 values."""
    return (a * b + 2**31) >> 32


def rshr(x: Int64, shift: Int64 | int) -> Int64:
    """Shift right by `shift` with rounding, or left where it is negative; 63 and more give 0."""
    if isinstance(shift, int) and 0 < shift < 63:  # the common case, at a third of the time
        return (x + (1 << (shift - 1))) >> shift
    shift = np.asarray(shift, dtype=np.int64)
    right = np.clip(shift, 1, 62)
    rounded = (x + (np.int64(1) << (right - 1))) >> right
    shifted = x << np.clip(-shift, 0, 31)
    return np.where(shift > 62, 0, np.where(shift > 0, rounded, shifted))


def bit_length(x: Int64) -> Int64:
    """Return the number of bits of values 0 .. 2^63 - 1 (0 has none)."""
    high, low = x >> 32, x & 0xFFFFFFFF  # each half is exact in a float64
    high_bits = np.frexp(high.astype(np.float64))[1]
    low_bits = np.frexp(low.astype(np.float64))[1]
    return np.where(high > 0, high_bits + 32, low_bits).astype(np.int64)


def headroom(re: Int64, im: Int64) -> Int64:
    """Return how far complex vectors (..., n) shift left with all parts below 2^30: -1 .. 30.

    An all-zero vector counts as 0.
    """
    bits = np.bitwise_or.reduce((re ^ (re >> 63)) | (im ^ (im >> 63)), axis=-1)
    zero = ~(re.any(axis=-1) | im.any(axis=-1))
    return np.where(zero, 0, 30 - bit_length(bits))


def saturate_int16(x: Int64) -> NDArray[np.int16]:
    """Clamp to -32768 .. 32767."""
    return np.clip(x, INT16_MIN, INT16_MAX).astype(np.int16)
