"""The .tflite writer: files that LiteRT runs, with the bits of NumPy integers, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesep.engine.runtime import make_interpreter
from edgesep.errors import ModelError
from export.qgraph import QGraph, QOp, QTensor, state_columns
from export.quantize import quantize
from export.recipe import device_recipes, load_recipe
from export.tflite import write_tflite
from tests import int8_reference
from tests.helpers import random_graph, random_weights

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

Arrays = dict[str, NDArray[np.int8]]
MOST_BYTES = {
    "base-16ms": 400_000,
    "small-16ms": 150_000,
    "small-8ms": 150_000,
    "nano-16ms": 40_000,
}


def run_litert(content: bytes, inputs: Arrays, *, reference: bool = True) -> Arrays:
    """Run a file once, by tensor name."""
    interpreter = make_interpreter(content, reference=reference)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], inputs[detail["name"]])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in outputs}


def random_inputs(graph: QGraph, rng: np.random.Generator) -> Arrays:
    tensors = graph.by_name()
    return {
        name: rng.integers(-128, 128, tensors[name].shape).astype(np.int8) for name in graph.inputs
    }


def parse(content: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))


@pytest.mark.parametrize("seed", range(4))
def test_reference_kernels_give_the_bits_of_numpy_integers(seed: int) -> None:
    graph, _ = random_graph(seed)
    content = write_tflite(graph)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        inputs = random_inputs(graph, rng)
        truth = int8_reference.run(graph, inputs)
        for name, value in run_litert(content, inputs).items():
            np.testing.assert_array_equal(value, truth[name], err_msg=name)


@pytest.mark.parametrize("name", device_recipes())
def test_a_recipe_keeps_its_budget_of_bytes(name: str) -> None:
    """Whatever calibration finds: here all ranges differ, so that no two tensors share theirs."""
    graph = load_recipe(name).graph()
    found = np.random.default_rng(0).uniform(0.5, 2.0, (len(graph.layers), 2))
    ranges = {layer: (-low, high) for layer, (low, high) in zip(graph.layers, found, strict=True)}
    content = write_tflite(quantize(graph, random_weights(graph), ranges, name))
    print(f"{name}: {len(content)} bytes")
    assert len(content) <= MOST_BYTES[name]


def one_layer(
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: str,
    activation: str,
    multiplier: int,
    scale: float,
    zero_point: int,
    seed: int,
) -> QGraph:
    """A filter over three frames of features, then an add with itself, then the mask."""
    rng = np.random.default_rng(seed)
    bands, channels = 16, (2 * multiplier if kind == "depthwise" else 5)
    shape = (channels, *kernel, 2) if kind == "conv" else (1, *kernel, channels)
    w_scale = rng.uniform(0.001, 0.05, channels).astype(np.float32)
    sizes = [
        -(-side // s) if padding == "SAME" else (side - k) // s + 1
        for side, k, s in zip((3, bands), kernel, stride, strict=True)
    ]
    logit_scale = scale * 8
    width = (1, *sizes, channels)
    tensors = [
        QTensor("features", (1, 1, bands, 2), 1 / 32, 0),
        QTensor("taps.a", (1, 2, bands, 2), 1 / 32, 0),
        QTensor("frames", (1, 3, bands, 2), 1 / 32, 0),
        QTensor(
            "w", shape, w_scale, 0, rng.integers(-127, 128, shape).astype(np.int8),
            0 if kind == "conv" else 3,
        ),
        QTensor("b", (channels,), np.float32(1 / 32) * w_scale, 0,
                rng.integers(-3000, 3000, channels).astype(np.int32)),
        QTensor("y", width, scale, zero_point),
        QTensor("sum", width, scale * 1.7, -zero_point),
        # The mask's shape is fixed, so a one-tap squeeze brings any size to it.
        QTensor("w1", (bands, *sizes, channels), np.full(bands, 0.02, np.float32), 0,
                rng.integers(-127, 128, (bands, *sizes, channels)).astype(np.int8), 0),
        QTensor("b1", (bands,), np.full(bands, scale * 1.7 * 0.02), 0,
                np.zeros(bands, np.int32)),
        QTensor("wide", (1, 1, 1, bands), logit_scale, 5),
        QTensor("logits", (1, 1, bands, 1), logit_scale, 5),
        QTensor("mask", (1, 1, bands, 1), 1 / 256, -128),
    ]  # fmt: skip
    ops = [
        QOp("concat", ("taps.a", "features"), "frames"),
        QOp(kind, ("frames", "w", "b"), "y", *stride, padding, activation, multiplier),
        QOp("add", ("y", "y"), "sum", activation=activation),
        QOp("conv", ("sum", "w1", "b1"), "wide"),
        QOp("reshape", ("wide",), "logits", new_shape=(1, 1, bands, 1)),
        QOp("logistic", ("logits",), "mask"),
    ]
    return QGraph(tensors, ops, ["features", "taps.a"], ["mask"])


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["conv", "depthwise"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID"]),
    activation=st.sampled_from(["none", "relu"]),
    multiplier=st.integers(1, 3),
    scale=st.floats(0.002, 0.2),
    zero_point=st.integers(-127, 127),
    seed=st.integers(0, 1000),
)
def test_any_filter_has_the_bits_of_numpy_integers(**choice: Any) -> None:
    graph = one_layer(**choice)
    inputs = random_inputs(graph, np.random.default_rng(choice["seed"]))
    truth = int8_reference.run(graph, inputs)
    np.testing.assert_array_equal(run_litert(write_tflite(graph), inputs)["mask"], truth["mask"])


@pytest.mark.parametrize("scale", [1 / 16, 0.0371, 0.2])
def test_logistic_has_the_bits_of_numpy_integers_at_every_input(scale: float) -> None:
    gain = np.array([scale * 32], np.float32)  # one step of the features becomes one of the logits
    tensors = [
        QTensor("features", (1, 1, 256, 2), 1 / 32, 0),
        QTensor("w", (1, 1, 1, 2), gain, 0, np.array([[[[1, 0]]]], np.int8), 0),
        QTensor("b", (1,), gain / 32, 0, np.zeros(1, np.int32)),
        QTensor("logits", (1, 1, 256, 1), scale, 0),
        QTensor("mask", (1, 1, 256, 1), 1 / 256, -128),
    ]
    ops = [QOp("conv", ("features", "w", "b"), "logits"), QOp("logistic", ("logits",), "mask")]
    graph = QGraph(tensors, ops, ["features"], ["mask"])
    q = np.arange(-128, 128)
    inputs = {"features": np.stack([q, q], axis=-1).reshape(1, 1, 256, 2).astype(np.int8)}
    truth = int8_reference.run(graph, inputs)
    np.testing.assert_array_equal(truth["logits"].reshape(-1), q)
    np.testing.assert_array_equal(run_litert(write_tflite(graph), inputs)["mask"], truth["mask"])
    real = np.minimum(256 / (1 + np.exp(-q * scale)), 255)
    assert np.abs(truth["mask"].reshape(-1).astype(int) + 128 - real).max() <= 1.0


def test_xnnpack_takes_every_node() -> None:
    graph, _ = random_graph(0)
    interpreter = make_interpreter(write_tflite(graph), reference=False)
    delegates = [d for d in interpreter._get_ops_details() if d["op_name"] == "DELEGATE"]
    outputs = {d["index"] for d in interpreter.get_output_details()}
    assert len(delegates) == 1
    assert outputs == set(delegates[0]["outputs"].tolist())


def test_equal_graphs_give_equal_bytes() -> None:
    assert write_tflite(random_graph(3)[0]) == write_tflite(random_graph(3)[0])
    assert write_tflite(random_graph(3)[0]) != write_tflite(random_graph(4)[0])


def test_file_holds_int8_operator_versions_and_metadata() -> None:
    model = parse(write_tflite(random_graph(0)[0]))
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    versions = {names[code.builtinCode]: code.version for code in model.operatorCodes}
    assert versions == {
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 3,
        "ADD": 2,
        "CONCATENATION": 2,
        "RESHAPE": 1,
        "LOGISTIC": 2,
    }
    assert all(code.deprecatedBuiltinCode == code.builtinCode for code in model.operatorCodes)
    entries = {entry.name: bytes(model.buffers[entry.buffer].data) for entry in model.metadata}
    assert entries == {b"edgesep": b"random weights"}


def test_weights_lie_aligned_in_the_file() -> None:
    graph, _ = random_graph(0)
    content = write_tflite(graph)
    for tensor in graph.tensors:
        if tensor.data is not None and tensor.data.nbytes >= 64:
            place = content.find(tensor.data.tobytes())
            assert place > 0
            assert place % 16 == 0, tensor.name


def test_states_keep_their_scale_and_name_their_columns() -> None:
    graph, _ = random_graph(0)
    assert state_columns(graph) == {
        "enc0": "features",
        "enc1": "column.enc1",
        "ctx0": "column.ctx0",
        "ctx1": "column.ctx1",
    }


def change(graph: QGraph, name: str, **fields: Any) -> QGraph:
    tensors = [replace(t, **fields) if t.name == name else t for t in graph.tensors]
    return replace(graph, tensors=tensors)


def change_op(graph: QGraph, output: str, **fields: Any) -> QGraph:
    ops = [replace(op, **fields) if op.output == output else op for op in graph.ops]
    return replace(graph, ops=ops)


WEIGHTS = "enc1.pw.weights"


def with_weights(graph: QGraph, edit: Callable[[NDArray[Any]], Any]) -> QGraph:
    data = graph.by_name()[WEIGHTS].data
    assert data is not None
    return change(graph, WEIGHTS, data=edit(data))


def with_low_weight(data: NDArray[np.int8]) -> NDArray[np.int8]:
    data = data.copy()
    data[0, 0, 0, 0] = -128
    return data


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: change(g, "taps.enc1", scale=0.1), "enc1.frames|taps.enc1"),
        (lambda g: change(g, "column.ctx0", zero_point=-127), "column.ctx0"),
        (lambda g: change(g, "features", scale=1 / 16), "features: scale"),
        (lambda g: change(g, "mask", zero_point=0), "mask: scale"),
        (lambda g: change(g, "mask", scale=1 / 255), "mask: scale"),
        (lambda g: change(g, WEIGHTS, zero_point=1), f"{WEIGHTS}: constants are symmetric"),
        (lambda g: change(g, WEIGHTS, scale=0.1), f"{WEIGHTS}: needs a scale per output"),
        (lambda g: with_weights(g, with_low_weight), f"{WEIGHTS}: weights lie from -127"),
        (lambda g: with_weights(g, lambda w: w[:-1]), f"{WEIGHTS}: data"),
        (lambda g: with_weights(g, lambda w: w.astype(np.float32)), f"{WEIGHTS}: constants are"),
        (lambda g: change(g, "enc1.pw.bias", scale=np.full(24, 0.1)), "enc1.pw.bias: its scales"),
        (lambda g: change(g, "enc1.pw", scale=np.nan), "enc1.pw: scales must be finite"),
        (lambda g: change(g, "enc1.pw", shape=(1, 1, 16, 23)), "enc1.pw: shape"),
        (lambda g: replace(g, tensors=[*g.tensors, g.tensors[0]]), "features: two tensors"),
        (lambda g: change_op(g, "enc1.pw", kind="fully_connected"), "enc1.pw: 'fully_connected'"),
        (lambda g: change_op(g, "enc1.pw", activation="tanh"), "enc1.pw: activation 'tanh'"),
        (lambda g: change_op(g, "enc1.pw", padding="same"), "enc1.pw: stride 1, padding 'same'"),
        (lambda g: change_op(g, "expand", new_shape=(1, 1, 8, 16)), "expand: shape"),
        (lambda g: replace(g, outputs=["mask"]), "column.enc1: the new column of taps.enc1"),
        (lambda g: replace(g, outputs=[*g.outputs, "logits"]), "logits: outputs are"),
        (lambda g: replace(g, inputs=g.inputs[1:]), "features"),
        (lambda g: replace(g, ops=g.ops[::-1]), "before anything makes it"),
    ],
)
def test_broken_contract_is_refused_by_name(edit: Callable[[QGraph], QGraph], message: str) -> None:
    graph, _ = random_graph(0)
    with pytest.raises(ModelError, match=message):
        write_tflite(edit(graph))
