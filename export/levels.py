"""Levels of float sound and its rounding to int16."""

from __future__ import annotations

import numpy as np

BLOCK_SAMPLES = 320  # 20 ms
ACTIVE_DB = 30.0
SMALLEST = 1e-9


def rms(x: np.ndarray) -> float:
    """Return the root mean square, at least `SMALLEST`, so that it can divide."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) + SMALLEST


def active_rms(x: np.ndarray) -> float:
    """Return the RMS over 20 ms blocks within 30 dB of the loudest: speech without its pauses."""
    blocks = x[: len(x) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    loud = power[power > power.max(initial=0.0) * 10.0 ** (-ACTIVE_DB / 10.0)]
    return float(np.sqrt(loud.mean())) + SMALLEST if len(loud) else SMALLEST


def to_int16(x: np.ndarray) -> np.ndarray:
    """Return -1..1 as int16, rounded and clipped."""
    return np.clip(np.round(x * 32768.0), -32768, 32767).astype(np.int16)
