"""quantization.json: what `quantize` found, and what `convert` packs without any sound.

All that calibration decides is a range per layer; with the weights it gives every integer of the
model. So the file holds the ranges, which may be edited and tried again, the hash of the weights
that they were seen with, and the report.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.errors import ModelError

from .files import write_whole
from .float_model import Weights
from .graph import Graph
from .quantize import Range
from .sensitivity import LayerCost, TensorFigures

FORMAT = 1


def save_quantization(
    path: Path,
    name: str,
    weights: Weights,
    ranges: dict[str, Range],
    tensors: Sequence[TensorFigures],
    groups: Sequence[LayerCost],
    layers: Sequence[LayerCost],
) -> None:
    """Write the file of recipe `name`; infinite figures become null."""
    document = {
        "format": FORMAT,
        "name": name,
        "weights_sha256": weights_sha256(weights),
        "ranges": ranges,
        "whole": [_finite(asdict(cost)) for cost in groups],
        "layers": [_finite(asdict(cost)) for cost in layers],
        "tensors": [_finite(asdict(row)) for row in tensors],
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, partial(Path.write_text, data=text))


def load_ranges(path: Path, graph: Graph, weights: Weights) -> dict[str, Range]:
    """Return the ranges of a file. Raises ModelError where they are not of this network's."""
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise ModelError(f"{path}: format {document['format']}, expected {FORMAT}")
        found, digest = dict(document["ranges"]), document["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: no file of `quantize` ({error!r}); run it first") from error
    if digest != weights_sha256(weights):
        raise ModelError(f"{path}: made with other weights; run `quantize` again")
    return {name: _range(path, name, found.get(name)) for name in graph.layers}


def weights_sha256(weights: Weights) -> str:
    """Return the hash of names, shapes and values, the same for equal weights in any file."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name], "<f4")
        digest.update(f"{name} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


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
