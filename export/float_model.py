"""The network of `graph.py` in float32 NumPy: for calibration and as int8's reference.

Weights are `network.folded_weights`: "LAYER/kernel" (frames, bands, in, out), depthwise (frames,
bands, channels), and "LAYER/bias".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .graph import INPUT, OUTPUT, Graph, Layer
from .padding import same_padding

Weights = Mapping[str, np.ndarray]


def activations(graph: Graph, weights: Weights, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return every layer's output (frames, bands, channels) over a whole signal.

    features: (frames, bands, 2), the front-end's int8 values divided by 32.
    """
    values = {INPUT: features.astype(np.float32)}
    for layer in graph.layers.values():
        sources = [values[name] for name in layer.inputs]
        values[layer.name] = apply_layer(layer, weights, sources)
    return values


def apply_layer(layer: Layer, weights: Weights, sources: list[np.ndarray]) -> np.ndarray:
    """Return one layer's output (frames, bands, channels) of its inputs' values."""
    return _KINDS[layer.kind](layer, weights, sources)


def float_mask(graph: Graph, weights: Weights, features: np.ndarray) -> np.ndarray:
    """Return the mask (frames, bands) in 0..1."""
    return activations(graph, weights, features)[OUTPUT][..., 0]


def _filter(layer: Layer, weights: Weights, sources: list[np.ndarray]) -> np.ndarray:
    x, kernel = sources[0], weights[f"{layer.name}/kernel"]
    frames, bands = x.shape[:2]
    past = (layer.kernel_frames - 1) * layer.dilation
    pad = (0, 0) if layer.squeeze else same_padding(bands, layer.kernel_bands, layer.stride_bands)
    x = np.pad(x, ((past, 0), pad, (0, 0)))
    span = (layer.bands - 1) * layer.stride_bands + 1
    y = np.zeros((frames, layer.bands, layer.channels), np.float32)
    for i in range(layer.kernel_frames):
        for j in range(layer.kernel_bands):
            start = i * layer.dilation
            piece = x[start : start + frames, j : j + span : layer.stride_bands]
            y += piece * kernel[i, j] if layer.kind == "depthwise" else piece @ kernel[i, j]
    return _relu(layer, y + weights[f"{layer.name}/bias"])


def _add(layer: Layer, weights: Weights, sources: list[np.ndarray]) -> np.ndarray:
    return _relu(layer, sources[0] + sources[1])


def _reshape(layer: Layer, weights: Weights, sources: list[np.ndarray]) -> np.ndarray:
    return sources[0].reshape(len(sources[0]), layer.bands, layer.channels)


def _sigmoid(layer: Layer, weights: Weights, sources: list[np.ndarray]) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-sources[0])), np.float32)


def _relu(layer: Layer, y: np.ndarray) -> np.ndarray:
    return np.maximum(y, 0.0) if layer.relu else y


_KINDS: dict[str, Callable[[Layer, Weights, list[np.ndarray]], np.ndarray]] = {
    "conv": _filter,
    "depthwise": _filter,
    "add": _add,
    "reshape": _reshape,
    "sigmoid": _sigmoid,
}
