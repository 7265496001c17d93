"""Separation measures; PESQ and ESTOI come from their own libraries."""

from __future__ import annotations

import numpy as np


def si_sdr_db(estimate: np.ndarray, target: np.ndarray) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019).

    Both (samples,), means removed. A silent target gives -inf.
    """
    estimate = estimate.astype(np.float64) - np.mean(estimate)
    target = target.astype(np.float64) - np.mean(target)
    energy = float(target @ target)
    if energy == 0.0:
        return float("-inf")
    wanted = (float(estimate @ target) / energy) * target
    error = estimate - wanted
    return float(10.0 * np.log10((wanted @ wanted + 1e-12) / (error @ error + 1e-12)))
