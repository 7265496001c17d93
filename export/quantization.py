"""quantization.json: what `quantize` found, and what `convert` packs without any sound.

All that calibration decides is a gain per channel (`equalize.py`), a range per layer, and what
the biases are moved by (`bias_correction.py`): with the weights, every integer of the model. So the
file holds them, of which the ranges may be edited and tried again, the hash of the weights that
they were seen with, and the report.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.errors import ModelError

from .bias_correction import Shifts, bias_shifts
from .equalize import Gains, channel_gains, equalized
from .fake_quant import FakeQuant
from .files import write_whole
from .float_model import Weights
from .graph import Graph, Layer
from .qgraph import QGraph
from .quantize import Range, calibrate, quantize
from .sensitivity import LayerCost, TensorFigures

FORMAT = 3  # 1 had no gains, 2 no shifts


@dataclass(frozen=True)
class Calibration:
    """What calibration decides."""

    gains: Gains
    ranges: dict[str, Range]
    """Of each layer's output, gains included."""

    shifts: Shifts = field(default_factory=dict)
    """Of the biases, gains included; none for layers that are left out."""

    @classmethod
    def of(cls, graph: Graph, weights: Weights, clips: Sequence[np.ndarray]) -> Calibration:
        """Decide by calibration clips, (frames, bands, 2) int8 features."""
        gains = channel_gains(graph, weights, clips)
        even = equalized(graph, weights, gains)
        rounded = cls(gains, calibrate(graph, even, clips))
        net = FakeQuant(graph, even, rounded.quantized(graph, weights, "rounded"))
        return replace(rounded, shifts=bias_shifts(net, clips))

    def quantized(self, graph: Graph, weights: Weights, name: str) -> QGraph:
        """Return the int8 graph of float weights."""
        ready = equalized(graph, weights, self.gains)
        for layer, shift in self.shifts.items():
            ready[f"{layer}/bias"] = ready[f"{layer}/bias"] + shift
        return quantize(graph, ready, self.ranges, name)


def save_quantization(
    path: Path,
    name: str,
    weights: Weights,
    calibration: Calibration,
    tensors: Sequence[TensorFigures],
    groups: Sequence[LayerCost],
    layers: Sequence[LayerCost],
) -> None:
    """Write the file of recipe `name`; infinite figures become null."""
    document = {
        "format": FORMAT,
        "name": name,
        "weights_sha256": weights_sha256(weights),
        "ranges": calibration.ranges,
        "whole": [_finite(asdict(cost)) for cost in groups],
        "layers": [_finite(asdict(cost)) for cost in layers],
        "tensors": [_finite(asdict(row)) for row in tensors],
        "gains": {layer: gains.tolist() for layer, gains in calibration.gains.items()},
        "shifts": {layer: shifts.tolist() for layer, shifts in calibration.shifts.items()},
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, partial(Path.write_text, data=text))


def load_calibration(path: Path, graph: Graph, weights: Weights) -> Calibration:
    """Return the calibration of a file. Raises ModelError where it is not of this network."""
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise ModelError(
                f"{path}: format {document['format']}, expected {FORMAT}; run `quantize` again"
            )
        ranges, gains, shifts = (dict(document[key]) for key in ("ranges", "gains", "shifts"))
        digest = document["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: no file of `quantize` ({error!r}); run it first") from error
    if digest != weights_sha256(weights):
        raise ModelError(f"{path}: made with other weights; run `quantize` again")
    return Calibration(
        {name: _gains(path, layer, gains.get(name)) for name, layer in graph.layers.items()},
        {name: _range(path, name, ranges.get(name)) for name in graph.layers},
        {name: _shifts(path, graph, name, values) for name, values in shifts.items()},
    )


def weights_sha256(weights: Weights) -> str:
    """Return the hash of names, shapes and values, the same for equal weights in any file."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], "<f4")
        digest.update(f"{name} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


def _numbers(value: Any) -> np.ndarray:
    """Return the values of a list, or none where it is no list of numbers."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError):
        return np.zeros(0)


def _shifts(path: Path, graph: Graph, name: str, value: Any) -> np.ndarray:
    shifts, layer = _numbers(value), graph.layers.get(name)
    if not (layer and layer.has_weights and shifts.shape == (layer.channels,)):
        raise ModelError(f"{path}: shifts of {name!r} fit no layer; run `quantize` again")
    if not np.all(np.isfinite(shifts)):
        raise ModelError(f"{path}: shifts of {name!r} are not finite; run `quantize` again")
    return shifts.astype(np.float32)


def _gains(path: Path, layer: Layer, value: Any) -> np.ndarray:
    gains = _numbers(value)
    if gains.shape != (layer.channels,) or not np.all(np.isfinite(gains) & (gains > 0.0)):
        raise ModelError(
            f"{path}: layer {layer.name!r} wants {layer.channels} gains above 0; "
            "run `quantize` again"
        )
    return gains


def _range(path: Path, name: str, value: Any) -> Range:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        raise ModelError(
            f"{path}: layer {name!r} has the range {value!r}, not [low, high]"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ModelError(f"{path}: layer {name!r} has the range {low}..{high}")
    return low, high


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
