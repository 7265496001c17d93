"""`export convert --check`: sound files pass, and each broken one is refused by its tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesep.engine.graph import read_graph
from edgesep.errors import ModelError
from edgesep.models import find_model, list_models
from export.check_model import as_qgraph, check_bytes, check_file
from export.cli import main
from export.qgraph import QGraph, QOp, QTensor, check_graph
from export.tflite import write_tflite
from tests.helpers import BANDS, random_graph, write_random_model
from tests.tflite_files import FileOperation, FileTensor, pack, schema, tflite_file

pytest.importorskip("ai_edge_litert", reason="writing a .tflite needs ai-edge-litert")


def broken(content: bytes) -> list[tuple[str, str]]:
    return [(finding.what, finding.found) for finding in check_bytes(content) if not finding.ok]


def patched(change: Callable[[Any, dict[str, Any]], None]) -> bytes:
    """Return a sound file after `change(model, tensors by name)`."""
    s = schema()
    model = s.ModelT.InitFromObj(s.Model.GetRootAs(write_tflite(random_graph()[0])))
    named = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    change(model, named)
    return pack(model)


def set_scale(name: str, scale: float) -> Callable[[Any, dict[str, Any]], None]:
    def change(model: Any, named: dict[str, Any]) -> None:
        named[name].quantization.scale = np.array([scale], np.float32)

    return change


def set_zero_point(model: Any, named: dict[str, Any]) -> None:
    named["taps.ctx0"].quantization.zeroPoint = np.array([5], np.int64)


def hide_column(model: Any, named: dict[str, Any]) -> None:
    graph = model.subgraphs[0]
    index = graph.tensors.index(named["column.enc1"])
    graph.outputs = [i for i in graph.outputs if i != index]


def rename_state(model: Any, named: dict[str, Any]) -> None:
    named["taps.enc1"].name = b"memory"


def data_of(model: Any, tensor: Any, dtype: str) -> np.ndarray:
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype).copy()


def set_data(model: Any, tensor: Any, values: np.ndarray) -> None:
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def lowest_weight(model: Any, named: dict[str, Any]) -> None:
    tensor = named["enc1.pw.weights"]
    values = data_of(model, tensor, "i1")
    values[3] = -128
    set_data(model, tensor, values)


def huge_bias(model: Any, named: dict[str, Any]) -> None:
    tensor = named["enc1.pw.bias"]
    values = data_of(model, tensor, "<i4")
    values[0] = 2**31 - 1
    set_data(model, tensor, values)


def float_weights(model: Any, named: dict[str, Any]) -> None:
    tensor = named["enc1.pw.weights"]
    set_data(model, tensor, data_of(model, tensor, "i1").astype("<f4"))
    tensor.type = schema().TensorType.FLOAT32


def other_bias_scale(model: Any, named: dict[str, Any]) -> None:
    named["enc1.pw.bias"].quantization.scale = named["enc1.pw.bias"].quantization.scale * 1.5


def dynamic_width(model: Any, named: dict[str, Any]) -> None:
    named["dec1"].shapeSignature = np.array([1, 1, -1, 16], np.int32)


def fused_relu6(model: Any, named: dict[str, Any]) -> None:
    graph = model.subgraphs[0]
    index = graph.tensors.index(named["enc1.pw"])
    (operator,) = [o for o in graph.operators if list(o.outputs) == [index]]
    operator.builtinOptions.fusedActivationFunction = schema().ActivationFunctionType.RELU6


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        (set_scale("taps.enc1", 0.5), "operations", "'taps.enc1' does not have the scale"),
        (set_zero_point, "operations", "'taps.ctx0' does not have the scale and zero point"),
        (set_scale("features", 0.5), "operations", "'features' does not have the scale"),
        (set_scale("mask", 0.5), "operations", "'mask' needs scale 1/256"),
        (set_scale("logits", float("nan")), "operations", "needs one finite scale"),
        (hide_column, "contract", "column.enc1: the new column of taps.enc1 must be an output"),
        (rename_state, "contract", "memory: inputs are 'features' and taps.NAME"),
        (lowest_weight, "contract", "enc1.pw.weights: weights lie from -127"),
        (other_bias_scale, "contract", "enc1.pw.bias: its scales are not"),
        (huge_bias, "sums", "'enc1.pw.bias' a sum may leave 2^30"),
        (float_weights, "operations", "'enc1.pw.weights' is not a constant of int8"),
        (float_weights, "Edge TPU", "'enc1.pw.weights' is FLOAT32"),
        (dynamic_width, "operations", "dec1: has a dynamic shape"),
        (dynamic_width, "Edge TPU", "'dec1' has shape (1, 1, -1, 16): sizes must be fixed"),
        (fused_relu6, "operations", "'enc1.pw' has fused activation"),
    ],
)
def test_a_broken_file_is_refused_by_its_tensor(
    change: Callable[[Any, dict[str, Any]], None], what: str, said: str
) -> None:
    found = broken(patched(change))
    assert any(kind == what and said in text for kind, text in found), found


@pytest.mark.parametrize(
    ("kind", "dtype", "said"),
    [
        ("ADD", "FLOAT32", "'x' is not int8"),
        ("TANH", "INT8", "TANH makes 'y'"),
        ("HARD_SWISH", "INT8", "HARD_SWISH makes 'y'"),
        ("LOGISTIC", "INT16", "'x' is not int8"),
    ],
)
def test_a_foreign_operation_or_type_is_refused(kind: str, dtype: str, said: str) -> None:
    tensors = [FileTensor(name, (1, 1, 8, 1), dtype) for name in ("x", "y")]
    inputs = ["x", "x"] if kind == "ADD" else ["x"]
    content = tflite_file(tensors, [FileOperation(kind, inputs, ["y"])])
    assert any(what == "operations" and said in text for what, text in broken(content))


def test_an_edge_tpu_rule_alone_is_refused() -> None:
    """Operations and contract allow four axes of any length; the Edge TPU's outermost is 1."""
    graph, _ = random_graph()
    logits = graph.by_name()["logits"]
    halves = (2, 1, BANDS // 2, 1)
    tensors = [
        *graph.tensors,
        QTensor("halves", halves, logits.scale, logits.zero_point),
        QTensor("half masks", halves, 1 / 256, -128),
    ]
    ops = [
        *graph.ops[:-1],
        QOp("reshape", ("logits",), "halves", new_shape=halves),
        QOp("logistic", ("halves",), "half masks"),
        QOp("reshape", ("half masks",), "mask", new_shape=(1, 1, BANDS, 1)),
    ]
    found = broken(write_tflite(replace(graph, tensors=tensors, ops=ops)))
    assert {what for what, _ in found} == {"Edge TPU"}
    assert "'halves' has shape (2, 1, 32, 1)" in found[0][1]


def test_what_is_read_is_what_was_written() -> None:
    for seed in range(3):
        written, _ = random_graph(seed)
        read = as_qgraph(read_graph(write_tflite(written)))
        check_graph(read)
        assert write_tflite(_in_order(read, written)) == write_tflite(written)


def _in_order(read: QGraph, written: QGraph) -> QGraph:
    tensors = read.by_name()
    ordered = [tensors[tensor.name] for tensor in written.tensors]
    assert len(ordered) == len(tensors)
    return replace(read, tensors=ordered, metadata=written.metadata)


def test_shipped_models_keep_the_contract() -> None:
    for name in list_models():
        findings = check_file(find_model(name)[0])
        assert all(finding.ok for finding in findings)
        assert {"operations", "contract", "sums", "Edge TPU", "card: file"} <= {
            finding.what for finding in findings
        }


class TestFiles:
    def test_a_file_without_a_card_is_checked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "foreign.tflite"
        path.write_bytes(write_tflite(random_graph()[0]))
        assert main(["convert", "--check", str(path)]) == 0
        assert "none beside it" in capsys.readouterr().out

    def test_another_model_than_the_cards_is_refused(self, tmp_path: Path) -> None:
        path = write_random_model(tmp_path)
        path.write_bytes(write_tflite(random_graph(9)[0]))
        assert [f.what for f in check_file(path) if not f.ok] == ["card: file"]

    def test_the_command_fails_with_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "broken.tflite"
        path.write_bytes(patched(set_scale("taps.enc1", 0.5)))
        assert main(["convert", "--check", str(path)]) == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and "breaks the model contract" in said[0] and "taps.enc1" in said[0]

    @pytest.mark.parametrize("size", [0, 3, 8, 200, 3000])
    def test_a_cut_off_file_is_refused(self, tmp_path: Path, size: int) -> None:
        assert broken(write_tflite(random_graph()[0])[:size])

    def test_a_missing_file_and_no_file_at_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["convert", "--check", "no-such.tflite"]) == 1
        assert main(["convert"]) == 1
        assert "name a RECIPE, or --check" in capsys.readouterr().err
        with pytest.raises(ModelError, match="cannot read"):
            check_file(Path("no-such.tflite"))
