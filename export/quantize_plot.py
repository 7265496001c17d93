"""The picture of `quantize`: what each layer costs, and how well each tensor is held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .plots import figure, save_png
from .sensitivity import LayerCost, TensorFigures

MOST_LAYERS = 30


def draw_quantization(
    groups: Sequence[LayerCost],
    layers: Sequence[LayerCost],
    tensors: Sequence[TensorFigures],
    path: Path,
) -> None:
    """Write a PNG: mask error and SI-SDR lost by layer, then SQNR and clipping by tensor.

    layers: the greatest cost first; as many are drawn as there is room for.
    """
    made, ((error, lost), (sqnr, clipped)) = figure(2, 2, 14.0, 13.0)
    shown = [*groups, *layers[:MOST_LAYERS]]
    labels = [cost.layer for cost in shown]
    _bars(error, labels, [cost.mask_error_db for cost in shown], "mask error, dB of a full mask")
    _bars(lost, labels, [cost.si_sdr_lost_db for cost in shown], "SI-SDR lost, dB")
    lowest = min((cost.mask_error_db for cost in shown), default=-60.0)
    error.set_xlim(left=max(lowest, -120.0) - 5.0, right=0.0)
    for role, marker in (("activation", "o"), ("weights", "s"), ("bias", "x")):
        rows = [row for row in tensors if row.role == role]
        levels = [row.sqnr_db if np.isfinite(row.sqnr_db) else np.nan for row in rows]
        sqnr.plot(range(len(rows)), levels, marker, label=role)
    sqnr.set(xlabel="layer, first to last", ylabel="SQNR, dB")
    sqnr.legend()
    activations = [row for row in tensors if row.role == "activation"]
    names = [row.tensor for row in activations]
    share = [100.0 * row.clipped_share for row in activations]
    _bars(clipped, names, share, "values clipped, %")
    for axes in (error, lost, sqnr, clipped):
        axes.grid(alpha=0.3)
    save_png(made, path)


def _bars(axes: Any, labels: Sequence[str], values: Sequence[float], title: str) -> None:
    places = np.arange(len(labels))
    left = -120.0 if title.startswith("mask") else 0.0  # bars of dB grow from the quietest
    axes.barh(places, [value - left for value in values], left=left)
    axes.set_yticks(places, labels, fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel(title)
