"""Band tables: single bins where pitch harmonics lie, ERB-like widths above."""

from __future__ import annotations

import numpy as np

BINS = 256
BIN_HZ = 31.25


def erb_number(frequency_hz: np.ndarray) -> np.ndarray:
    """Return the ERB-rate of a frequency (Glasberg and Moore, 1990)."""
    return 21.4 * np.log10(1.0 + 0.00437 * frequency_hz)


def band_edges(bands: int, single_bins: int) -> tuple[int, ...]:
    """Return `bands + 1` rising bin numbers from 0 to 256.

    The first `single_bins` bands hold one bin each; the others share the rest evenly on the ERB
    scale, one bin at least.
    """
    if not 0 < single_bins < bands <= BINS:
        raise ValueError(f"single_bins {single_bins} must lie between 0 and bands {bands} <= 256")
    start, stop = erb_number(np.array([single_bins, BINS]) * BIN_HZ)
    grid = np.linspace(start, stop, bands - single_bins + 1)
    bins = np.round((10.0 ** (grid / 21.4) - 1.0) / 0.00437 / BIN_HZ).astype(int)
    edges = np.concatenate([np.arange(single_bins), bins])
    for i in range(1, bands + 1):  # rounding may merge narrow bands: keep one bin each
        edges[i] = max(edges[i], edges[i - 1] + 1)
    edges[-1] = BINS
    if np.any(np.diff(edges) < 1):
        raise ValueError(f"{bands} bands with {single_bins} single bins do not fit into {BINS}")
    return tuple(int(edge) for edge in edges)
