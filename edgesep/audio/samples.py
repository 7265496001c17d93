"""Between the sample formats of files and int16: one fixed scale, 1.0 = 32768."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL_SCALE", "Samples", "to_float32", "to_int16", "to_pcm_int32"]

FULL_SCALE = 32768

Samples = NDArray[np.int16] | NDArray[np.float32]
"""A block of a stream, (frames, channels): int16, or float32 with 1.0 at full scale."""


def to_int16(block: Samples) -> NDArray[np.int16]:
    """Round float32 (1.0 = 32768) to int16; what is beyond the ends stays at the ends.

    int16 passes through.
    """
    if block.dtype == np.int16:
        return block.astype(np.int16, copy=False)
    return np.clip(np.rint(block * np.float32(FULL_SCALE)), -32768, 32767).astype(np.int16)


def to_float32(block: Samples) -> NDArray[np.float32]:
    """Turn int16 into float32 (32768 = 1.0), exactly; float32 passes through."""
    if block.dtype == np.float32:
        return block.astype(np.float32, copy=False)
    return block.astype(np.float32) / np.float32(FULL_SCALE)


def to_pcm_int32(block: Samples, bits: int) -> NDArray[np.int32]:
    """Round to PCM of 8..32 bits, left-justified in int32 as libsndfile takes it."""
    scale = 1 << (bits - 1)
    unit = block / FULL_SCALE if block.dtype == np.int16 else block.astype(np.float64)
    steps = np.clip(np.rint(unit * scale), -scale, scale - 1).astype(np.int64)
    return (steps << (32 - bits)).astype(np.int32)
