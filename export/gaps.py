"""Digital silence amid sound, as muted microphones, lost packets and noise gates leave it."""

from __future__ import annotations

import numpy as np

from .corpus import RATE_HZ

GATED, MUTED = 0.4, 0.3  # shares of the clips with gaps; the rest lost packets
FROM_THE_START = 0.3  # of the muted ones
PACKET_S = 0.02
GATE_BLOCK_S = 0.016
GATE_DB = -40.0  # against the loudest block
GATE_HOLD_BLOCKS = 5  # it opens before speech and closes after it, as no gate that listens well may


def gaps(rng: np.random.Generator, target: np.ndarray) -> np.ndarray:
    """Return where a clip (samples,) is silent, as booleans: one mute, lost packets or a gate.

    target: the clip's speech, whose pauses close the gate; where there is none, packets are lost.
    """
    samples, kind = len(target), rng.random()
    if kind < GATED and target.any():
        return _pauses(target)
    silent = np.zeros(samples, np.bool_)
    if GATED <= kind < GATED + MUTED:
        length = int(rng.uniform(0.1, 1.2) * RATE_HZ)
        start = 0 if rng.random() < FROM_THE_START else int(rng.integers(samples))
        silent[start : start + length] = True
        return silent
    for _ in range(rng.integers(1, 9)):
        start, packets = int(rng.integers(samples)), int(rng.integers(1, 5))
        silent[start : start + int(packets * PACKET_S * RATE_HZ)] = True
    return silent


def _pauses(target: np.ndarray) -> np.ndarray:
    """Return True in pauses of the speech, less the gate's hold before and after it."""
    block = int(GATE_BLOCK_S * RATE_HZ)
    blocks = np.abs(target[: len(target) // block * block].astype(np.float32)).reshape(-1, block)
    peaks = blocks.max(axis=1)
    loud = peaks > peaks.max() * 10.0 ** (GATE_DB / 20.0)
    kept = np.convolve(loud, np.ones(2 * GATE_HOLD_BLOCKS + 1), "same") > 0.5
    silent = np.repeat(~kept, block)
    return np.pad(silent, (0, len(target) - len(silent)), mode="edge")
