"""Start a network from another one's weights: the same shape, a wider one or a narrower one.

Channels form groups that live and die together: the encoder's stages (each shared with the decoder
stage that adds to it) and the context stack. A wider network computes what the source did, and its
new channels start beside it without a say (after T. Chen et al., "Net2Net", 2016). A narrower one
keeps the channels that feed the following layers most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgesep.errors import ModelError

from .float_model import Weights, apply_layer
from .graph import INPUT, Graph, Layer

SILENT_VARIANCE = 1e-8  # below it a layer's output says nothing: a branch that waits at zero


@dataclass(frozen=True)
class Kept:
    """What the target takes over of a channel group: `channels` of the source come first there."""

    channels: np.ndarray
    source_size: int
    target_size: int


def transplant(source: Graph, weights: Weights, target: Graph, seed: int) -> dict[str, np.ndarray]:
    """Return folded weights for `target`, grown or cut from those of `source`.

    Layers are matched by name; what the source lacks starts at random, and the last layer of a new
    residual branch at zero. Raises ModelError where kernels differ in taps.
    """
    rng = np.random.default_rng(seed)
    stages, kept = _stages(target), _kept_channels(source, weights, target)
    result: dict[str, np.ndarray] = {}
    for layer in target.layers.values():
        if not layer.has_weights:
            continue
        fan_in = target.shape(layer.inputs[0])[1]
        kernel, bias = _fresh(layer, fan_in, rng)
        if layer.name in source.layers:
            old = weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]
            _overlay(layer, kept, stages, old, (kernel, bias))
        elif not layer.relu:
            kernel[...] = 0.0
        result[f"{layer.name}/kernel"], result[f"{layer.name}/bias"] = kernel, bias
    return result


def group_of(layer_name: str, stages: int) -> str:
    """Return the channel group of a layer's output: "enc0", ..., "context" or "ends"."""
    base = layer_name.split(".")[0]
    if base in (INPUT, "logits", "mask"):
        return "ends"
    if base == "squeeze" or base.startswith("ctx"):
        return "context"
    if base == "expand":
        return f"enc{stages - 1}"
    if layer_name.endswith((".dw", ".skip")) or base.startswith("enc"):
        number = int(base[3:])
        encoder_depthwise = layer_name.startswith("enc") and layer_name.endswith(".dw")
        return f"enc{number - 1}" if encoder_depthwise else f"enc{number}"
    return f"enc{int(base[3:]) - 1}"  # dec2 and dec2.pw put out what stage 1 adds to


def _stages(graph: Graph) -> int:
    return sum(name.startswith("enc") and "." not in name for name in graph.layers)


def _kept_channels(source: Graph, weights: Weights, target: Graph) -> dict[str, Kept]:
    """Return the channels taken over, per group."""
    stages = _stages(source)
    if stages != _stages(target):
        raise ModelError(f"{_stages(target)} encoder stages cannot start from {stages}")
    kept: dict[str, Kept] = {}
    for name in [f"enc{i}" for i in range(stages)] + ["squeeze"]:
        group = group_of(name, stages)
        have, want = source.layers[name].channels, target.layers[name].channels
        use = sum(_use(reader, weights) for reader in _readers(source, group, stages))
        order = np.argsort(-np.asarray(use), kind="stable")
        kept[group] = Kept(np.sort(order[: min(have, want)]), have, want)
    return kept


def _readers(graph: Graph, group: str, stages: int) -> Iterator[Layer]:
    for layer in graph.layers.values():
        if layer.kind == "conv" and group_of(layer.inputs[0], stages) == group:
            yield layer


def _use(layer: Layer, weights: Weights) -> np.ndarray:
    return np.sqrt(np.sum(weights[f"{layer.name}/kernel"] ** 2, axis=(0, 1, 3)))


def _fresh(layer: Layer, fan_in: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    taps = (layer.kernel_frames, layer.kernel_bands)
    depthwise = layer.kind == "depthwise"
    shape = (*taps, layer.channels) if depthwise else (*taps, fan_in, layer.channels)
    scale = np.sqrt(2.0 / (taps[0] * taps[1] * (1 if depthwise else fan_in)))
    kernel = rng.normal(0.0, scale, shape).astype(np.float32)
    return kernel, np.zeros(layer.channels, np.float32)


def _overlay(
    layer: Layer,
    kept: dict[str, Kept],
    stages: int,
    old: tuple[np.ndarray, np.ndarray],
    new: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write the kept part of the old kernel and bias over the new ones."""
    taps = old[0].shape[:2]
    if taps != new[0].shape[:2]:
        raise ModelError(f"{layer.name}: {new[0].shape[:2]} taps cannot start from {taps}")
    there, here = _matching(kept.get(group_of(layer.name.removesuffix(".pw"), stages)), old[1].size)
    new[1][here] = old[1][there]
    if layer.kind == "depthwise":
        new[0][..., here] = old[0][..., there]
        return
    inputs, places = _matching(kept.get(group_of(layer.inputs[0], stages)), old[0].shape[2])
    new[0][..., here] = 0.0  # new inputs have no say in old outputs
    for i, j in np.ndindex(*taps):
        new[0][i, j][np.ix_(places, here)] = old[0][i, j][np.ix_(inputs, there)]


def _matching(kept: Kept | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matching channels (source, target) of a layer with `size` channels in the source.

    Before a reshape a layer holds its group's channels several times over, a band after the other.
    """
    if kept is None:
        return np.arange(size), np.arange(size)
    times = np.arange(size // kept.source_size)[:, None]
    there = times * kept.source_size + kept.channels
    here = times * kept.target_size + np.arange(len(kept.channels))
    return there.ravel(), here.ravel()


def start(model: Any, graph: Graph, weights: Weights, clips: Iterable[np.ndarray]) -> None:
    """Put folded weights into a Keras model of `network.build_network`.

    clips: (frames, bands, 2) float features; batch normalisation gets the means and variances that
    they show, so that the model computes what the weights say, in training, too.
    """
    from .network import normalised

    moments = _moments(graph, weights, clips)
    rng = np.random.default_rng(0)
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        key = layer.name.replace(".", "_")
        kernel, bias = weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]
        conv = model.get_layer(key)
        if not normalised(layer):
            conv.kernel.assign(kernel)
            conv.bias.assign(bias)
            continue
        norm = model.get_layer(f"{key}_norm")
        mean, variance = moments[layer.name]
        gamma = np.sqrt(variance + norm.epsilon)
        quiet = variance < SILENT_VARIANCE
        if quiet.any():  # a gain of zero can grow, a kernel of zeros under normalisation explodes
            kernel = np.where(quiet, _fresh(layer, kernel.shape[-2], rng)[0], kernel)
            gamma = np.where(quiet, 0.0, gamma)
        conv.kernel.assign(kernel)
        norm.gamma.assign(gamma)
        norm.beta.assign(mean)
        norm.moving_mean.assign(mean - bias)
        norm.moving_variance.assign(np.where(quiet, 1.0, variance))


def _moments(
    graph: Graph, weights: Weights, clips: Iterable[np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean and variance per channel of every weighted layer's output before its ReLU."""
    sums: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        values = {INPUT: clip.astype(np.float32)}
        for layer in graph.layers.values():
            y = apply_layer(replace(layer, relu=False), weights, [values[n] for n in layer.inputs])
            values[layer.name] = np.maximum(y, 0.0) if layer.relu else y
            if layer.has_weights:
                flat = y.reshape(-1, layer.channels).astype(np.float64)
                both = np.stack([flat.mean(0), np.square(flat).mean(0)])
                sums.setdefault(layer.name, []).append(both)
    result = {}
    for name, parts in sums.items():
        mean, square = np.mean(parts, axis=0)
        result[name] = mean, np.maximum(square - mean**2, 0.0)
    return result
