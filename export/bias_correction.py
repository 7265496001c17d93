"""Biases that take back what rounding does to the mean of each channel.

Rounded weights, and inputs that were rounded before, shift a channel's mean by part of a step. Each
shift is small, but all speech passes through all of them: the masks of a network end up too low, or
too high, everywhere. A bias costs nothing, so every layer's is moved by the difference that is seen
on calibration clips, first layer first (Nagel et al., "Data-free quantization", ICCV 2019, do so by
means that they compute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .fake_quant import FakeQuant, round_to
from .float_model import activations, apply_layer
from .graph import INPUT, Layer
from .qgraph import FEATURES_SCALE

MOST_CLIPS = 16  # all values of all layers are kept for each
LEAST_SEEN = 100  # values of a channel: a mean of fewer says little

Shifts = Mapping[str, np.ndarray]
"""What is added to the biases of each layer that has weights, (channels,)."""


def bias_shifts(net: FakeQuant, clips: Sequence[np.ndarray]) -> Shifts:
    """Return the shifts by clips of (frames, bands, 2) int8 features.

    net: the float network whose means are wanted, beside its quantized graph.
    """
    some = clips[:: -(-len(clips) // MOST_CLIPS)]
    features = [clip.astype(np.float32) * np.float32(FEATURES_SCALE) for clip in some]
    wanted = [activations(net.graph, net.weights, x) for x in features]
    found = [{INPUT: x} for x in features]
    shifts: dict[str, np.ndarray] = {}
    for layer in net.graph.layers.values():
        bare = replace(layer, relu=False)
        ours = [_apply(bare, net.rounded, values) for values in found]
        if layer.has_weights:
            theirs = [_apply(bare, net.weights, values) for values in wanted]
            shifts[layer.name] = _shift(net, layer, np.concatenate(ours), np.concatenate(theirs))
            ours = [y + shifts[layer.name] for y in ours]
        for values, y in zip(found, ours, strict=True):
            y = np.maximum(y, 0.0) if layer.relu else y
            values[layer.name] = round_to(y, net.outputs[layer.name])
    return shifts


def _apply(
    layer: Layer, weights: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> np.ndarray:
    return apply_layer(layer, weights, [values[name] for name in layer.inputs])


def _shift(net: FakeQuant, layer: Layer, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return mean differences (channels,) where the output moves with the bias: not held at an end.

    ours, theirs: (frames, bands, channels), before the ReLU.
    """
    tensor = net.outputs[layer.name]
    low, high = ((end - tensor.zero_point) * tensor.scales[0] for end in (-128, 127))
    low = max(low, 0.0) if layer.relu else low
    ours, theirs = np.clip(ours, low, high), np.clip(theirs, low, high)
    moves = (ours > low) & (ours < high) | (theirs > low) & (theirs < high)
    seen = moves.sum(axis=(0, 1))
    mean = ((theirs - ours) * moves).sum(axis=(0, 1)) / np.maximum(seen, 1)
    return np.where(seen < LEAST_SEEN, 0.0, mean).astype(np.float32)
