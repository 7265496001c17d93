"""Channels are evened out before rounding: the float network stays, int8 gets nearer to it."""

from __future__ import annotations

import numpy as np
import pytest

from export.equalize import MOST_RATIO, channel_gains, equalized
from export.fake_quant import FakeQuant
from export.float_model import activations, float_mask
from export.graph import OUTPUT, Graph, UNetShape, unet
from export.qgraph import FEATURES_SCALE
from export.quantize import calibrate, quantize
from tests.helpers import random_weights

SHAPE = UNetShape(encoder=(6, 8, 10, 12), context=16, dilations=(1, 2))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return unet(64, 2, SHAPE)


@pytest.fixture(scope="module")
def uneven(graph: Graph) -> dict[str, np.ndarray]:
    """Weights of a network that needs all channels, of which some are thirty times as wide."""
    rng = np.random.default_rng(1)
    narrow = {
        name: 30.0 ** -rng.uniform(0.0, 1.0 if layer.kind == "depthwise" else 0.0, layer.channels)
        for name, layer in graph.layers.items()
    }
    return equalized(graph, random_weights(graph), narrow)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(-90, 90, (60, 64, 2)).astype(np.int8) for _ in range(6)]


def features(clip: np.ndarray) -> np.ndarray:
    return clip.astype(np.float32) * np.float32(FEATURES_SCALE)


def spread(channels: np.ndarray) -> float:
    peaks = np.abs(channels).max(axis=(0, 1))
    return float(peaks.max() / peaks[peaks > 1e-3].min())


def test_the_float_network_stays_what_it_was(
    graph: Graph, uneven: dict[str, np.ndarray], clips: list[np.ndarray]
) -> None:
    gains = channel_gains(graph, uneven, clips)
    even = equalized(graph, uneven, gains)
    for clip in clips:
        before = activations(graph, uneven, features(clip))
        after = activations(graph, even, features(clip))
        np.testing.assert_allclose(after[OUTPUT], before[OUTPUT], atol=2e-5)
        for name in graph.layers:
            scale = float(np.abs(after[name]).max())
            wanted = before[name] * gains[name]
            np.testing.assert_allclose(after[name], wanted, atol=1e-5 * scale, err_msg=name)


def test_gains_lie_between_one_and_the_most(
    graph: Graph, uneven: dict[str, np.ndarray], clips: list[np.ndarray]
) -> None:
    gains = channel_gains(graph, uneven, clips)
    assert set(gains) == set(graph.layers)
    assert all(g.min() >= 1.0 and g.max() <= MOST_RATIO for g in gains.values())
    assert all(np.all(gains[name] == 1.0) for name in ("logits.pw", "logits", OUTPUT))
    assert max(g.max() for g in gains.values()) > 4.0


def test_channels_come_out_more_alike(
    graph: Graph, uneven: dict[str, np.ndarray], clips: list[np.ndarray]
) -> None:
    even = equalized(graph, uneven, channel_gains(graph, uneven, clips))
    before, after = (activations(graph, w, features(clips[0])) for w in (uneven, even))
    assert spread(after["ctx1.dw"]) < 0.4 * spread(before["ctx1.dw"])


def test_a_silent_channel_gets_a_finite_gain(
    graph: Graph, uneven: dict[str, np.ndarray], clips: list[np.ndarray]
) -> None:
    dead = {name: values.copy() for name, values in uneven.items()}
    for part in ("kernel", "bias"):
        dead[f"enc0/{part}"][..., 0] = 0.0
    even = equalized(graph, dead, channel_gains(graph, dead, clips))
    assert all(np.isfinite(values).all() for values in even.values())
    before, after = (float_mask(graph, w, features(clips[0])) for w in (dead, even))
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_int8_gets_nearer_to_float(
    graph: Graph, uneven: dict[str, np.ndarray], clips: list[np.ndarray]
) -> None:
    even = equalized(graph, uneven, channel_gains(graph, uneven, clips))

    def error(weights: dict[str, np.ndarray]) -> float:
        ranges = calibrate(graph, weights, clips)
        net = FakeQuant(graph, weights, quantize(graph, weights, ranges, "uneven"))
        values = activations(graph, weights, features(clips[0]))
        every = set(graph.layers)
        weighted = {name for name in every if graph.layers[name].has_weights}
        mask = net.rerun(values, weighted, every)[OUTPUT]
        return float(np.sqrt(np.mean(np.square(mask - values[OUTPUT]))))

    assert error(even) < 0.7 * error(uneven)
