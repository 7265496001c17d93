"""The exact engine: byte for byte LiteRT's reference kernels, TFLM, and plain integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesep import native
from edgesep.card import Card, StateSpec, read_card
from edgesep.engine import open_engine
from edgesep.engine.gemmlowp import logistic_table, multiplier_and_shift
from edgesep.engine.graph import read_graph
from edgesep.engine.litert import LiteRTEngine
from edgesep.engine.memory import ALIGNMENT, Lifetime, place
from edgesep.engine.plan import make_plan
from edgesep.engine.rings import ColumnRing
from edgesep.errors import EngineError, ModelError
from edgesep.models import find_model, list_models
from export.qgraph import QGraph, QOp, QTensor
from export.tflite import write_tflite
from tests import int8_reference, network_jobs
from tests.helpers import write_random_model
from tests.test_tflite_writer import one_layer, random_inputs

FRAMES = 10_000
MODELS = ["random 0", "random 1", *list_models()]

needs_core = pytest.mark.skipif(not native.available(), reason="the C core is not built")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def open_model(name: str, folder: Path) -> tuple[Path, Card]:
    """Return a shipped model, or a random one: "random SEED"."""
    word, _, seed = name.partition(" ")
    if word != "random":
        return find_model(name)
    path = write_random_model(folder, seed=int(seed))
    return path, read_card(path.with_suffix(".json"))


def features(kind: str, card: Card, frames: int) -> NDArray[np.int8]:
    if kind == "speech":
        return network_jobs.speech_features(card.contract, frames)
    return network_jobs.random_features(frames, card.contract.bands)


def steps(engine: Any, frames: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.stack([engine.step(frame) for frame in frames])


# --- streams -------------------------------------------------------------------------------------


@needs_core
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["speech", "random"])
@pytest.mark.parametrize("name", MODELS)
def test_streams_have_the_bytes_of_litert_reference_kernels(
    name: str, kind: str, folder: Path
) -> None:
    path, card = open_model(name, folder)
    frames = features(kind, card, FRAMES)
    exact, reference = open_engine("exact", path, card), LiteRTEngine("exact", path, card)
    assert "C kernels" in exact.description
    masks = steps(exact, frames)
    assert len(np.unique(masks)) > 20
    np.testing.assert_array_equal(masks, steps(reference, frames))


class TFLMEngine:
    """TensorFlow Lite for Microcontrollers on this machine, fed like the others."""

    def __init__(self, path: Path, card: Card, arena_bytes: int = 1 << 20) -> None:
        from tflite_micro.python.tflite_micro import runtime

        graph = read_graph(path.read_bytes())
        names = [tensor.name for tensor in graph.inputs]
        outputs = [tensor.name for tensor in graph.outputs]
        zeros = {tensor.name: tensor.zero_point for tensor in graph.inputs}
        content = path.read_bytes()
        self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
        self._features, self._mask = names.index("features"), outputs.index("mask")
        self._rings = [
            (
                ColumnRing(state, zeros[state.taps_tensor]),
                names.index(state.taps_tensor),
                None if state.column == "features" else outputs.index(state.column),
            )
            for state in card.states
        ]

    def step(self, frame: NDArray[np.int8]) -> NDArray[np.int8]:
        self._interpreter.set_input(frame[np.newaxis, np.newaxis], self._features)
        for ring, taps, _ in self._rings:
            self._interpreter.set_input(np.ascontiguousarray(ring.taps), taps)
        self._interpreter.invoke()
        for ring, _, column in self._rings:
            ring.push(frame if column is None else self._interpreter.get_output(column))
        return np.asarray(self._interpreter.get_output(self._mask)).reshape(-1).copy()


@needs_core
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_streams_have_the_bytes_of_tflm(name: str, folder: Path) -> None:
    pytest.importorskip("tflite_micro", reason="needs `pip install --pre tflite-micro`")
    path, card = open_model(name, folder)
    halves = [features(kind, card, FRAMES // 2) for kind in ("speech", "random")]
    frames = np.concatenate(halves)
    exact, tflm = open_engine("exact", path, card), TFLMEngine(path, card)
    np.testing.assert_array_equal(steps(exact, frames), steps(tflm, frames))


# --- single operations ---------------------------------------------------------------------------


def check_against_integers(graph: QGraph, dilation: int, seed: int) -> None:
    """Run nine frames of a graph with the state "a" in C and in NumPy integers."""
    rng = np.random.default_rng(seed)
    taps = graph.by_name()["taps.a"]
    _, count, width, channels = taps.shape
    state = StateSpec("a", count, dilation, width, channels, "features")
    network = native.CNetwork(make_plan(read_graph(write_tflite(graph)), [state]))
    ring = ColumnRing(state, taps.zero_point)
    for _ in range(9):
        frame = random_inputs(graph, rng)["features"]
        truth = int8_reference.run(graph, {"features": frame, "taps.a": ring.taps})
        ring.push(frame)
        np.testing.assert_array_equal(network.step(frame[0, 0]), truth["mask"].reshape(-1))


@needs_core
@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["conv", "depthwise"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID"]),
    activation=st.sampled_from(["none", "relu"]),
    multiplier=st.integers(1, 3),
    scale=st.floats(0.0005, 0.2),
    zero_point=st.integers(-127, 127),
    seed=st.integers(0, 1000),
    dilation=st.integers(1, 3),
)
def test_any_filter_has_the_bytes_of_numpy_integers(dilation: int, **choice: Any) -> None:
    check_against_integers(one_layer(**choice), dilation, choice["seed"])


def joined(axis: int, channels: int, seed: int) -> QGraph:
    """Two filters of the frames, joined along an axis; then one more, so that memory is shared."""
    rng = np.random.default_rng(seed)
    bands = 16
    scales = {"x": 0.1, "y": 0.1, "both": 0.1, "wide": 0.07, "logits": 0.07}

    def weights(*shape: int) -> NDArray[np.int8]:
        return rng.integers(-127, 128, shape).astype(np.int8)

    def filter_tensors(name: str, in_scale: float, values: NDArray[np.int8]) -> list[QTensor]:
        w_scale = rng.uniform(0.001, 0.02, len(values)).astype(np.float32)
        bias = rng.integers(-3000, 3000, len(values)).astype(np.int32)
        b_scale = np.float32(in_scale) * w_scale
        return [
            QTensor(f"{name}.w", values.shape, w_scale, 0, values, 0),
            QTensor(f"{name}.b", bias.shape, b_scale, 0, bias),
        ]

    shape = [1, 3, bands, channels]
    both = [n * (2 if i == axis else 1) for i, n in enumerate(shape)]
    tensors = [
        QTensor("features", (1, 1, bands, 2), 1 / 32, 0),
        QTensor("taps.a", (1, 2, bands, 2), 1 / 32, 0),
        QTensor("frames", (1, 3, bands, 2), 1 / 32, 0),
        *filter_tensors("x", 1 / 32, weights(channels, 1, 1, 2)),
        *filter_tensors("y", 1 / 32, weights(channels, 1, 3, 2)),
        *filter_tensors("wide", 0.1, weights(bands, *both[1:])),
        QTensor("x", tuple(shape), scales["x"], -4),
        QTensor("y", tuple(shape), scales["y"], -4),
        QTensor("both", tuple(both), scales["both"], -4),
        QTensor("wide", (1, 1, 1, bands), scales["wide"], 9),
        QTensor("logits", (1, 1, bands, 1), scales["logits"], 9),
        QTensor("mask", (1, 1, bands, 1), 1 / 256, -128),
    ]
    ops = [
        QOp("concat", ("taps.a", "features"), "frames"),
        QOp("conv", ("frames", "x.w", "x.b"), "x"),
        QOp("conv", ("frames", "y.w", "y.b"), "y", padding="SAME"),
        QOp("concat", ("y", "x"), "both", axis=axis),
        QOp("conv", ("both", "wide.w", "wide.b"), "wide"),
        QOp("reshape", ("wide",), "logits", new_shape=(1, 1, bands, 1)),
        QOp("logistic", ("logits",), "mask"),
    ]
    return QGraph(tensors, ops, ["features", "taps.a"], ["mask"])


@needs_core
@settings(max_examples=20, deadline=None)
@given(axis=st.integers(1, 3), channels=st.integers(1, 70), seed=st.integers(0, 1000))
def test_any_concatenation_has_the_bytes_of_numpy_integers(
    axis: int, channels: int, seed: int
) -> None:
    check_against_integers(joined(axis, channels, seed), 1, seed)


@given(scale=st.floats(1e-4, 2.0), zero_point=st.integers(-128, 127))
def test_logistic_table_has_the_bytes_of_numpy_integers(scale: float, zero_point: int) -> None:
    scale = float(np.float32(scale))
    x = QTensor("x", (256,), scale, zero_point)
    y = QTensor("y", (256,), 1 / 256, -128)
    graph = QGraph([x, y], [QOp("logistic", ("x",), "y")], ["x"], ["y"])
    every = np.arange(-128, 128).astype(np.int8)
    truth = int8_reference.run(graph, {"x": every})["y"]
    np.testing.assert_array_equal(logistic_table(scale, zero_point), truth)


@given(factor=st.floats(1e-9, 1e9))
def test_multiplier_and_shift_give_the_factor(factor: float) -> None:
    multiplier, shift = multiplier_and_shift(factor)
    assert 1 << 30 <= multiplier < 1 << 31
    assert multiplier * 2.0 ** (-31 - shift) == pytest.approx(factor, rel=2**-30)
    assert (multiplier, -shift) == int8_reference.quantize_multiplier(factor)


# --- memory --------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(1, 100), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    )
)
def test_buffers_that_live_together_lie_apart(drawn: list[tuple[int, int, int]]) -> None:
    buffers = [Lifetime(size, min(a, b), max(a, b)) for size, a, b in drawn]
    offsets, total = place(buffers)
    live = [
        sum(-(-b.size // 16) * 16 for b in buffers if b.first <= t <= b.last) for t in range(10)
    ]
    assert max(live) <= total <= sum(-(-b.size // 16) * 16 for b in buffers)
    for i, (a, x) in enumerate(zip(buffers, offsets, strict=True)):
        assert x % ALIGNMENT == 0
        assert x + a.size <= total
        for b, y in list(zip(buffers, offsets, strict=True))[:i]:
            together = a.first <= b.last and b.first <= a.last
            assert not together or x + a.size <= y or y + b.size <= x


# --- opening -------------------------------------------------------------------------------------


def test_without_the_core_litert_gives_the_same_bytes_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, card = open_model("random 0", folder)
    frames = network_jobs.random_features(50, card.contract.bands)
    expected = steps(open_engine("exact", path, card), frames)
    monkeypatch.setattr(native, "available", lambda: False)
    engine = open_engine("exact", path, card)
    assert engine.name == "exact"
    assert "reference kernels" in engine.description
    assert "the C core is not built" in engine.description
    np.testing.assert_array_equal(steps(engine, frames), expected)


@needs_core
def test_the_exact_engine_needs_no_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, card = open_model("random 0", folder)
    monkeypatch.setattr("edgesep.engine.runtime._RUNTIMES", {})
    with pytest.raises(EngineError, match="no TFLite runtime"):
        open_engine("fast", path, card)
    open_engine("exact", path, card)


@needs_core
def test_a_state_that_is_no_concatenation_is_refused(folder: Path) -> None:
    path, card = open_model("random 0", folder)
    graph = read_graph(path.read_bytes())
    _, *others = card.states
    with pytest.raises(ModelError, match=r"'taps.enc0' must go into one CONCATENATION"):
        make_plan(graph, [StateSpec("enc0", 2, 1, 64, 2, "column.enc1"), *others])


@needs_core
def test_sums_that_could_overflow_are_refused() -> None:
    graph = one_layer("conv", (1, 1), (1, 1), "VALID", "none", 1, 0.1, 0, 0)
    tensors = [
        QTensor(t.name, t.shape, t.scale, 0, np.full(t.shape, 1 << 30, np.int32))
        if t.name == "b"
        else t
        for t in graph.tensors
    ]
    content = write_tflite(QGraph(tensors, graph.ops, graph.inputs, graph.outputs))
    with pytest.raises(ModelError, match="CONV_2D: with 'b' a sum may leave"):
        make_plan(read_graph(content), [StateSpec("a", 2, 1, 16, 2, "features")])
