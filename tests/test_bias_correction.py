"""Biases take back what rounding does to the mean of each channel, on sound they have not seen."""

from __future__ import annotations

import numpy as np
import pytest

from export.bias_correction import LEAST_SEEN, bias_shifts
from export.fake_quant import FakeQuant, round_to
from export.float_model import Weights, activations
from export.graph import OUTPUT, Graph, UNetShape, unet
from export.qgraph import FEATURES_SCALE
from export.quantization import Calibration
from export.quantize import calibrate, quantize
from tests.helpers import random_weights

SHAPE = UNetShape(encoder=(6, 8, 10, 12), context=16, dilations=(1, 2))
LINEAR = ("ctx1.pw", "expand.pw", "dec3.pw", "dec1.pw")  # no ReLU: all values count


@pytest.fixture(scope="module")
def graph() -> Graph:
    return unet(64, 2, SHAPE)


@pytest.fixture(scope="module")
def weights(graph: Graph) -> Weights:
    return random_weights(graph, seed=2)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(-90, 90, (80, 64, 2)).astype(np.int8) for _ in range(12)]


@pytest.fixture(scope="module")
def plain(graph: Graph, weights: Weights, clips: list[np.ndarray]) -> Calibration:
    """Return ranges alone."""
    ones = {name: np.ones(layer.channels) for name, layer in graph.layers.items()}
    return Calibration(ones, calibrate(graph, weights, clips[:8]))


def mean_errors(
    graph: Graph, weights: Weights, calibration: Calibration, clips: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what int8 adds to each channel's mean, of values that it can hold, (channels,)."""
    net = FakeQuant(graph, weights, calibration.quantized(graph, weights, "tiny"))
    filters = [layer.name for layer in graph.layers.values() if layer.has_weights]
    sums = {name: np.zeros(layer.channels) for name, layer in graph.layers.items()}
    for clip in clips:
        values = activations(graph, weights, clip.astype(np.float32) * np.float32(FEATURES_SCALE))
        found = net.rerun(values, filters, list(graph.layers))
        for name, total in sums.items():
            wanted = round_to(values[name], net.outputs[name])
            total += (found[name] - wanted).mean(axis=(0, 1))
    return {name: total / len(clips) for name, total in sums.items()}


def test_means_come_nearer_to_the_float_networks(
    graph: Graph, weights: Weights, plain: Calibration, clips: list[np.ndarray]
) -> None:
    net = FakeQuant(graph, weights, plain.quantized(graph, weights, "tiny"))
    corrected = Calibration(plain.gains, plain.ranges, bias_shifts(net, clips[:8]))
    before, after = (mean_errors(graph, weights, c, clips[8:]) for c in (plain, corrected))
    for name in LINEAR:
        assert np.linalg.norm(after[name]) < 0.5 * np.linalg.norm(before[name]), name
    assert abs(after[OUTPUT].mean()) < 0.5 * abs(before[OUTPUT].mean())


def test_calibration_decides_them(graph: Graph, weights: Weights, clips: list[np.ndarray]) -> None:
    calibration = Calibration.of(graph, weights, clips[:4])
    filters = {layer.name for layer in graph.layers.values() if layer.has_weights}
    assert set(calibration.shifts) == filters
    steps = {t.name: t.scales[0] for t in calibration.quantized(graph, weights, "tiny").tensors}
    assert 0.0 < np.abs(calibration.shifts["logits.pw"]).max() < 4.0 * steps["logits.pw"]


def test_what_was_hardly_seen_stays(graph: Graph, weights: Weights) -> None:
    frames = LEAST_SEEN // 2  # the context's layers have one band
    clip = np.random.default_rng(3).integers(-90, 90, (frames, 64, 2)).astype(np.int8)
    ranges = calibrate(graph, weights, [clip])
    shifts = bias_shifts(
        FakeQuant(graph, weights, quantize(graph, weights, ranges, "tiny")), [clip]
    )
    assert not np.any(shifts["squeeze"]) and np.any(shifts["enc0"])
