"""Channels of one tensor brought to like ranges before it is quantized, for nothing.

An int8 activation has one scale for all its channels, so the loudest sets the step that all are
rounded to. Between two layers with weights a channel may be multiplied by a gain that the next
layer's weights divide out again: ReLU, sums and reshapes let it pass, and the float network puts
out what it did (Nagel et al., "Data-free quantization", ICCV 2019). The weights, which have a scale
per output channel, take the differences over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .float_model import Weights, activations
from .graph import INPUT, Graph
from .qgraph import FEATURES_SCALE
from .quantize import TAIL

STRENGTH = 0.75  # 0: nothing, 1: channels as wide as the widest, and weights as unlike as can be
MOST_RATIO = 16.0  # of two channels: beyond it gains would cost the weights too much
SMALLEST = 1e-6

Gains = Mapping[str, np.ndarray]
"""What each layer's output is multiplied by, (channels,)."""


def channel_gains(graph: Graph, weights: Weights, clips: Iterable[np.ndarray]) -> Gains:
    """Return the gains, at least 1, that even out ranges over clips of (frames, bands, 2) int8."""
    peaks = {name: np.zeros(layer.channels) for name, layer in graph.layers.items()}
    for clip in clips:
        values = activations(graph, weights, clip.astype(np.float32) * np.float32(FEATURES_SCALE))
        for name, peak in peaks.items():
            ends = np.quantile(np.abs(values[name]), 1.0 - TAIL, axis=(0, 1))
            np.maximum(peak, ends, out=peak)
    gains: dict[str, np.ndarray] = {}
    for members in _groups(graph):
        width = min(graph.layers[name].channels for name in members)
        if _fixed(graph, members):
            group = np.ones(width)
        else:
            folded = [peaks[name].reshape(-1, width).max(axis=0) for name in members]
            peak = np.maximum(np.max(folded, axis=0), SMALLEST)
            group = np.minimum(peak.max() / peak, MOST_RATIO) ** STRENGTH
        for name in members:
            gains[name] = np.tile(group, graph.layers[name].channels // width)
    return gains


def equalized(graph: Graph, weights: Weights, gains: Gains) -> dict[str, np.ndarray]:
    """Return weights (float32) of the same function, whose layers put out `gains` times as much."""
    even = {}
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        kernel = weights[f"{layer.name}/kernel"].astype(np.float64) * gains[layer.name]
        source = layer.inputs[0]
        if source != INPUT:
            before = gains[source]
            kernel /= before if layer.kind == "depthwise" else before[:, None]
        even[f"{layer.name}/kernel"] = kernel.astype(np.float32)
        bias = weights[f"{layer.name}/bias"] * gains[layer.name]
        even[f"{layer.name}/bias"] = bias.astype(np.float32)
    return even


def _groups(graph: Graph) -> list[list[str]]:
    """Return the layers whose channels share their gains, tied by sums, reshapes and the mask."""
    group = {name: [name] for name in graph.layers}
    for layer in graph.layers.values():
        if layer.has_weights:
            continue
        for source in layer.inputs:
            ours, theirs = group[layer.name], group[source]
            if ours is not theirs:
                ours += theirs
                for name in theirs:
                    group[name] = ours
    return list({id(members): members for members in group.values()}.values())


def _fixed(graph: Graph, members: list[str]) -> bool:
    """Return whether the frame contract sets the range, as it does for the logits."""
    return any(graph.layers[name].kind == "sigmoid" for name in members)
