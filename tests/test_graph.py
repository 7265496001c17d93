"""The reader of .tflite files: what it reads, what it refuses, and that damage stays harmless."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesep import native
from edgesep.card import Card, read_card
from edgesep.engine import graph as graph_module
from edgesep.engine.graph import Graph, read_graph
from edgesep.engine.plan import make_plan
from edgesep.errors import ModelError
from export.tflite import write_tflite
from tests.helpers import random_graph, write_random_model

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def card(model: Path) -> Card:
    return read_card(model.with_suffix(".json"))


def test_a_graph_is_read_as_it_was_written() -> None:
    written, _ = random_graph(1)
    read = read_graph(write_tflite(written))
    tensors = written.by_name()
    kinds = {
        "conv": "CONV_2D",
        "depthwise": "DEPTHWISE_CONV_2D",
        "add": "ADD",
        "concat": "CONCATENATION",
        "reshape": "RESHAPE",
        "logistic": "LOGISTIC",
    }
    assert [t.name for t in read.inputs] == list(written.inputs)
    assert [t.name for t in read.outputs] == list(written.outputs)
    for operation, op in zip(read.operations, written.ops, strict=True):
        assert operation.kind == kinds[op.kind]
        assert operation.strides == (op.stride_h, op.stride_w)
        assert operation.relu == (op.activation == "relu")
        for tensor in (*operation.inputs, operation.output):
            truth = tensors[tensor.name]
            assert tensor.shape == truth.shape
            assert tensor.zero_point == truth.zero_point
            np.testing.assert_array_equal(tensor.scales, truth.scales)
            if truth.data is not None:
                np.testing.assert_array_equal(tensor.data, truth.data)


def test_names_of_operators_are_those_of_the_schema() -> None:
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    known = {**graph_module._KINDS, **graph_module._OTHERS}
    assert {code: names[code] for code in known} == known


# --- refusals ------------------------------------------------------------------------------------


def edited(model: Path, edit: Callable[[Any], None]) -> bytes:
    """Return the file after `edit` has changed its object tree."""
    import flatbuffers

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes()))
    edit(tree)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(tree: Any, name: str) -> Any:
    return next(t for t in tree.subgraphs[0].tensors if t.name == name.encode())


def operator(tree: Any, output: str) -> Any:
    tensors = tree.subgraphs[0].tensors
    return next(
        o for o in tree.subgraphs[0].operators if tensors[o.outputs[0]].name == output.encode()
    )


def set_code(tree: Any, old: str, new: str) -> None:
    for code in tree.operatorCodes:
        if code.builtinCode == getattr(schema.BuiltinOperator, old):
            code.builtinCode = getattr(schema.BuiltinOperator, new)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def set_custom(tree: Any, old: str, name: bytes) -> None:
    set_code(tree, old, "CUSTOM")
    for code in tree.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.CUSTOM:
            code.customCode = name


def set_outputs(tree: Any, kind: str) -> None:
    """Let the last operation be of another kind, with two outputs."""
    set_code(tree, "LOGISTIC", kind)
    last = operator(tree, "mask")
    last.outputs = [*last.outputs, *last.outputs]


def set_no_bias(tree: Any, output: str) -> None:
    operation = operator(tree, output)
    operation.inputs = [*operation.inputs[:2], -1]


def set_value(name: str, **values: Any) -> Callable[[Any], None]:
    def edit(tree: Any) -> None:
        for key, value in values.items():
            setattr(tensor(tree, name), key, value)

    return edit


def set_quantization(name: str, **values: Any) -> Callable[[Any], None]:
    def edit(tree: Any) -> None:
        for key, value in values.items():
            setattr(tensor(tree, name).quantization, key, value)

    return edit


def set_option(output: str, **values: Any) -> Callable[[Any], None]:
    def edit(tree: Any) -> None:
        for key, value in values.items():
            setattr(operator(tree, output).builtinOptions, key, value)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: set_code(t, "ADD", "MUL"), "MUL makes 'column.ctx1': the exact engine runs ADD"),
        (lambda t: set_code(t, "LOGISTIC", "TANH"), "TANH makes 'mask'"),
        (lambda t: set_code(t, "CONV_2D", "HASHTABLE"), r"operator \d+ makes 'column.enc1'"),
        (lambda t: set_custom(t, "ADD", b"Mfcc"), "CUSTOM 'Mfcc' makes 'column.ctx1': the exact"),
        (lambda t: set_outputs(t, "SPLIT"), "SPLIT makes 'mask': the exact engine runs ADD"),
        (lambda t: set_no_bias(t, "enc1.pw"), "CONV_2D: 'enc1.pw' is made without input 2"),
        (set_value("enc1.pw", shapeSignature=[1, 1, -1, 24]), "enc1.pw: has a dynamic shape"),
        (set_value("enc1.pw", type=7), "CONV_2D: 'enc1.pw' is not int8"),  # 16-bit activations
        (set_value("ctx1.sum", type=0), "ADD: 'ctx1.sum' is not int8"),
        (set_value("mask", type=0), "an end of the graph: 'mask' is not int8"),  # float ends
        (set_value("features", shape=[2, 1, 64, 2]), "CONCATENATION: 'features'|'taps.enc0'"),
        (set_option("enc1.pw", dilationWFactor=2), r"CONV_2D: 'enc1.pw' is dilated by \[2, 1\]"),
        (set_option("enc1.dw", dilationHFactor=3), r"DEPTHWISE_CONV_2D: 'enc1.dw' is dilated"),
        (set_option("enc1.pw", fusedActivationFunction=3), "'enc1.pw' has fused activation 3"),
        (set_option("enc1.pw", strideW=0), "'enc1.pw' has padding 1 and strides"),
        (set_option("enc1.pw", padding=7), "'enc1.pw' has padding 7"),
        (set_option("enc1.pw", strideW=2), "'enc1.pw' has shape"),
        (set_option("enc1.frames", axis=4), "'enc1.frames' is joined along axis 4"),
        (set_option("enc1.frames", axis=2), "CONCATENATION: 'taps.enc1'"),
        (set_value("enc1.pw", type=0), "CONV_2D: 'enc1.pw' is not int8"),
        (set_value("enc1.pw.weights", type=0), "CONV_2D: 'enc1.pw.weights' is not a constant"),
        (set_value("enc1.pw.weights", shape=[24, 1, 1, 15]), "enc1.pw.weights: 384 bytes"),
        (set_value("enc1.pw.weights", shape=[16, 1, 1, 24]), "'enc1.pw.weights'"),
        (set_value("enc1.pw.bias", shape=[12, 2]), "CONV_2D: 'enc1.pw.bias' is not a constant"),
        (set_value("enc1.pw", shape=[]), "CONV_2D: 'enc1.pw' has no shape"),
        (set_value("enc1.pw", shape=[1, 1, 16, -24]), "enc1.pw: shape"),
        (set_value("enc1.pw", shape=[1, 1 << 14, 1 << 14, 1 << 14]), "enc1.pw: shape"),
        (set_value("enc1.pw", shape=[1, 1, 16, 23]), "constant bias of 23 int32"),
        (set_value("expand", shape=[1, 1, 16, 9]), "RESHAPE: 'expand'"),
        (set_value("logits", shape=[1, 1, 1, 64]), "RESHAPE|LOGISTIC"),
        (set_value("enc1.pw", buffer=10_000), "enc1.pw: buffer 10000 is not in the file"),
        (set_quantization("enc1.pw", scale=[0.1, 0.2]), "'enc1.pw' needs one finite scale"),
        (set_quantization("enc1.pw", scale=[float("nan")]), "'enc1.pw' needs one finite scale"),
        (set_quantization("enc1.pw", zeroPoint=[300]), "'enc1.pw' has zero point 300"),
        (set_quantization("enc1.pw.weights", quantizedDimension=3), "has 24 scales for 24"),
        (set_quantization("enc1.pw.weights", zeroPoint=[5]), "'enc1.pw.weights' has zero point 5"),
        (set_quantization("taps.enc1", zeroPoint=[1]), "does not have the scale and zero point"),
        (set_quantization("mask", scale=[0.5]), "LOGISTIC: 'mask' needs scale 1/256"),
        (set_quantization("ctx1.sum", scale=[1e-9]), "ADD: 'ctx1.sum' is rescaled by"),
        (lambda t: setattr(t, "subgraphs", t.subgraphs * 2), "2 subgraphs"),
        (lambda t: t.subgraphs[0].operators.reverse(), "is used before anything makes it"),
        (lambda t: t.subgraphs[0].operators.append(t.subgraphs[0].operators[3]), "is made twice"),
        (lambda t: t.subgraphs[0].operators.pop(), "mask: nothing makes this output"),
        (lambda t: setattr(operator(t, "mask"), "outputs", []), "LOGISTIC: 1 inputs, 0 outputs"),
        (lambda t: setattr(operator(t, "mask"), "inputs", [9999]), "names tensor 9999"),
        (lambda t: setattr(operator(t, "mask"), "opcodeIndex", 99), "has code 99"),
    ],
)
def test_unsupported_graphs_are_refused_by_operation_and_tensor(
    edit: Callable[[Any], None], message: str, model: Path, card: Card
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        make_plan(read_graph(edited(model, edit)), card.states)
    assert "\n" not in str(caught.value)


def test_one_scale_for_all_weights_and_an_open_batch_are_read(model: Path, card: Card) -> None:
    """What other converters write: per-tensor weights, and a batch of any size."""

    def edit(tree: Any) -> None:
        set_quantization("enc1.pw.weights", scale=[0.01], zeroPoint=[0])(tree)
        set_value("enc1.pw", shapeSignature=[-1, 1, 16, 24])(tree)

    plan = make_plan(read_graph(edited(model, edit)), card.states)
    (step,) = [step for step in plan.filters if step.name == "enc1.pw"]
    assert len(set(zip(step.multiplier.tolist(), step.shift.tolist(), strict=True))) == 1


# --- damage --------------------------------------------------------------------------------------


def use(content: bytes, card: Card) -> bool:
    """Tell whether a damaged file is refused; where it is not, its network must run."""
    try:
        graph: Graph = read_graph(content)
        plan = make_plan(graph, card.states)
    except ModelError:
        return True
    except StopIteration:  # features or mask renamed: check_ends comes before make_plan
        return True
    if native.available():
        network = native.CNetwork(plan)
        network.step(np.zeros(plan.features_bytes, np.int8))
    return False


@pytest.mark.slow
def test_changed_bytes_are_refused_or_harmless(model: Path, card: Card) -> None:
    """Offsets, counts, codes: the part of the file that is not weights, byte by byte."""
    whole = model.read_bytes()
    rng = np.random.default_rng(0)
    places = np.flatnonzero(np.frombuffer(whole, np.uint8) < 64)  # where offsets and counts are
    refused = 0
    for trial in range(400):
        content = bytearray(whole)
        for place in rng.choice(places, 1 + trial % 4):
            content[place] = rng.choice([0, 1, 2, 4, 127, 128, 254, 255, content[place] ^ 64])
        refused += use(bytes(content), card)
    assert refused > 30


def test_truncated_and_random_files_are_refused(model: Path, card: Card) -> None:
    whole = model.read_bytes()
    for size in [0, 3, 7, 8, 20, 100, *range(1000, len(whole), 1777)]:
        assert use(whole[:size], card)
    rng = np.random.default_rng(1)
    for _ in range(100):
        assert use(rng.bytes(int(rng.integers(0, 300))), card)
