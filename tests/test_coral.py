"""Coral: the compiler's rules on files that keep and break each of them; compiling with a stand-in.

Google's edgetpu_compiler cannot be had in a test. What stands in for it here prints the logs that
users of the real one have posted, and writes a file of the form that the real one writes. No test
here has seen the real compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from edgesep.card import read_card
from edgesep.cli import main
from edgesep.coral.check import check_content, check_model
from edgesep.coral.compile_log import Row, read_log
from edgesep.coral.compiler import CompileError, compile_model, find_way
from edgesep.coral.operations import _KINDS, _TYPES, read_operations
from edgesep.coral.record import find_compiled, read_compiled, record_path
from edgesep.coral.rules import RULES
from edgesep.errors import ModelError
from edgesep.models import find_model, list_models
from tests.helpers import write_random_model
from tests.tflite_files import FileOperation, FileTensor, compiled_twin, schema, tflite_file

X = FileTensor("x", (1, 1, 8, 4))
Y = FileTensor("y", (1, 1, 8, 4))
INT32 = np.dtype("<i4")


def constant(name: str, values: object, dtype: str = "INT32") -> FileTensor:
    data = np.asarray(values, {"INT32": "<i4", "INT8": "i1", "FLOAT32": "<f4"}[dtype])
    scales = (1 / 16,) if dtype == "INT8" else ()
    return FileTensor(name, data.shape, dtype, data, scales)


WEIGHTS = constant("w", np.ones((4, 1, 1, 4)), "INT8")
BIAS = constant("b", np.zeros(4))
FILTER = ("x", "w", "b")
CONV, DEPTHWISE = "Conv2DOptions", "DepthwiseConv2DOptions"


def operation(
    kind: str, inputs: tuple[str | None, ...] = ("x",), table: str = "", **options: object
) -> FileOperation:
    return FileOperation(kind, inputs, ("y",), table, options)


KEPT = {
    "ADD": ([X, Y], operation("ADD", ("x", "x"), "AddOptions", fusedActivationFunction=1)),
    "AVERAGE_POOL_2D": ([X, Y], operation("AVERAGE_POOL_2D", ("x",), "Pool2DOptions")),
    "CONCATENATION": (
        [X, constant("zeros", np.zeros((1, 1, 8, 4)), "INT8"), FileTensor("y", (1, 2, 8, 4))],
        operation("CONCATENATION", ("x", "zeros"), "ConcatenationOptions", axis=1),
    ),
    "CONV_2D": (
        [X, WEIGHTS, BIAS, Y],
        operation("CONV_2D", FILTER, CONV, dilationWFactor=2, dilationHFactor=2),
    ),
    "DEPTHWISE_CONV_2D": ([X, WEIGHTS, BIAS, Y], operation("DEPTHWISE_CONV_2D", FILTER, DEPTHWISE)),
    "EXPAND_DIMS": ([X, constant("axis", [0]), Y], operation("EXPAND_DIMS", ("x", "axis"))),
    "FULLY_CONNECTED": (
        [FileTensor("x", (1, 4)), constant("w", np.ones((4, 4)), "INT8"), FileTensor("y", (1, 4))],
        operation("FULLY_CONNECTED", ("x", "w", None), "FullyConnectedOptions"),
    ),
    "L2_NORMALIZATION": ([X, Y], operation("L2_NORMALIZATION")),
    "LOGISTIC": ([X, Y], operation("LOGISTIC")),
    "MAXIMUM": ([X, Y], operation("MAXIMUM", ("x", "x"))),
    "MAX_POOL_2D": ([X, Y], operation("MAX_POOL_2D", ("x",), "Pool2DOptions")),
    "MEAN": (
        [X, constant("axes", [1, -1]), FileTensor("y", (1, 1, 8, 1))],
        operation("MEAN", ("x", "axes"), "ReducerOptions"),
    ),
    "MINIMUM": ([X, Y], operation("MINIMUM", ("x", "x"))),
    "MUL": ([X, Y], operation("MUL", ("x", "x"))),
    "PACK": (
        [X, FileTensor("y", (1, 2, 8, 4))],
        operation("PACK", ("x", "x"), "PackOptions", axis=1),
    ),
    "PAD": (
        [X, constant("pads", [[0, 0], [1, 0], [1, 1], [0, 0]]), FileTensor("y", (1, 2, 10, 4))],
        operation("PAD", ("x", "pads")),
    ),
    "PRELU": (
        [X, constant("alpha", np.ones((1, 1, 4)), "INT8"), Y],
        operation("PRELU", ("x", "alpha")),
    ),
    "QUANTIZE": ([X, FileTensor("y", (1, 1, 8, 4), "UINT8")], operation("QUANTIZE")),
    "REDUCE_MAX": ([X, constant("axes", [2]), Y], operation("REDUCE_MAX", ("x", "axes"))),
    "REDUCE_MIN": ([X, constant("axes", [2]), Y], operation("REDUCE_MIN", ("x", "axes"))),
    "RELU": ([X, Y], operation("RELU")),
    "RELU6": ([X, Y], operation("RELU6")),
    "RELU_N1_TO_1": ([X, Y], operation("RELU_N1_TO_1")),
    "RESHAPE": ([X, constant("shape", [1, 1, 8, 4]), Y], operation("RESHAPE", ("x", "shape"))),
    "RESIZE_BILINEAR": (
        [X, constant("size", [1, 8]), Y],
        operation("RESIZE_BILINEAR", ("x", "size")),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        [X, constant("size", [1, 8]), Y],
        operation("RESIZE_NEAREST_NEIGHBOR", ("x", "size")),
    ),
    "RSQRT": ([X, Y], operation("RSQRT")),
    "SLICE": (
        [X, constant("at", [0] * 4), constant("n", [1, 1, 8, 4]), Y],
        operation("SLICE", ("x", "at", "n")),
    ),
    "SOFTMAX": ([FileTensor("x", (1, 16_000)), FileTensor("y", (1, 16_000))], operation("SOFTMAX")),
    "SPACE_TO_DEPTH": (
        [X, Y],
        operation("SPACE_TO_DEPTH", ("x",), "SpaceToDepthOptions", blockSize=1),
    ),
    "SPLIT": (
        [constant("axis", 3), X, Y],
        operation("SPLIT", ("axis", "x"), "SplitOptions", numSplits=1),
    ),
    "SQUARED_DIFFERENCE": ([X, Y], operation("SQUARED_DIFFERENCE", ("x", "x"))),
    "SQUEEZE": ([X, FileTensor("y", (8, 4))], operation("SQUEEZE")),
    "STRIDED_SLICE": (
        [X, constant("at", [0] * 4), constant("to", [1, 1, 8, 4]), constant("by", [1] * 4), Y],
        operation("STRIDED_SLICE", ("x", "at", "to", "by"), "StridedSliceOptions", beginMask=1),
    ),
    "SUB": ([X, Y], operation("SUB", ("x", "x"))),
    "SUM": ([X, constant("axes", [2]), Y], operation("SUM", ("x", "axes"))),
    "TANH": ([X, Y], operation("TANH")),
    "TRANSPOSE": (
        [X, constant("to", [0, 1, 3, 2]), FileTensor("y", (1, 1, 4, 8))],
        operation("TRANSPOSE", ("x", "to")),
    ),
    "TRANSPOSE_CONV": (
        [constant("shape", [1, 1, 8, 4]), WEIGHTS, X, Y],
        operation("TRANSPOSE_CONV", ("shape", "w", "x"), "TransposeConvOptions"),
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        [X, FileTensor("cell", (1, 4), "INT16", is_variable=True), Y],
        operation("UNIDIRECTIONAL_SEQUENCE_LSTM", ("x", "cell")),
    ),
}


@pytest.mark.parametrize("kind", sorted(RULES))
def test_an_operation_within_the_rules_maps(kind):
    tensors, one = KEPT[kind]
    report = check_content(tflite_file(tensors, [one]), "model")
    assert report.all_map, report.verdicts
    assert report.counts == {"maps": 1}
    assert report.verdicts[0].kind == kind


def batch(name: str) -> FileTensor:
    return FileTensor(name, (2, 1, 8, 4))


ADD = operation("ADD", ("x", "x"))
CONCAT = "ConcatenationOptions"
SLICED = [X, constant("at", [0] * 4), constant("to", [1] * 4), constant("by", [1, 1, 2, 1]), Y]
SLICE_INPUTS = ("x", "at", "to", "by")
BROKEN = {
    "float": ([FileTensor("x", (1, 4), "FLOAT32", scales=()), Y], ADD, "x", "is FLOAT32"),
    "int16": ([X, FileTensor("y", (1, 1, 8, 4), "INT16")], ADD, "y", "is INT16"),
    "not quantized": ([X, FileTensor("y", (1, 4), scales=())], ADD, "y", "no quantization"),
    "dynamic size": (
        [FileTensor("x", (1, 1, 8, 4), signature=(1, 1, -1, 4)), Y],
        ADD,
        "x",
        "sizes must be fixed",
    ),
    "four axes": ([batch("x"), batch("y")], ADD, "x", "3 innermost axes"),
    "five axes": ([FileTensor("x", (1, 2, 1, 8, 4)), Y], ADD, "x", "3 innermost axes"),
    "variable": ([FileTensor("x", (1, 4), is_variable=True), Y], ADD, "x", "is a variable"),
    "float constant": (
        [X, constant("c", np.ones((1, 1, 8, 4)), "FLOAT32"), Y],
        operation("ADD", ("x", "c")),
        "c",
        "is FLOAT32",
    ),
    "not in the table": ([X, Y], operation("LEAKY_RELU"), "y", "table has no LEAKY_RELU"),
    "hard swish": ([X, Y], operation("HARD_SWISH"), "y", "table has no HARD_SWISH"),
    "tile": ([X, constant("n", [1] * 4), Y], operation("TILE", ("x", "n")), "y", "no TILE"),
    "dequantize": (
        [X, FileTensor("y", (1, 4), "FLOAT32", scales=())],
        operation("DEQUANTIZE"),
        "y",
        "no DEQUANTIZE",
    ),
    "custom": (
        [X, Y],
        FileOperation("CUSTOM", ("x",), ("y",), custom="MyOp"),
        "y",
        "table has no MyOp",
    ),
    "compiled": (
        [X, Y],
        FileOperation("CUSTOM", ("x",), ("y",), custom="edgetpu-custom-op"),
        "y",
        "compiled for the Edge TPU already",
    ),
    "dilation": (
        [X, WEIGHTS, BIAS, Y],
        operation("CONV_2D", FILTER, CONV, dilationHFactor=3),
        "y",
        "1 in x and 3 in y",
    ),
    "depthwise dilation": (
        [X, WEIGHTS, BIAS, Y],
        operation("DEPTHWISE_CONV_2D", FILTER, DEPTHWISE, dilationWFactor=2),
        "y",
        "2 in x and 1 in y",
    ),
    "computed weights": (
        [X, BIAS, FileTensor("w", (1, 1, 1, 4)), Y],
        operation("CONV_2D", FILTER, CONV),
        "w",
        "is not constant",
    ),
    "computed bias": (
        [X, WEIGHTS, FileTensor("b", (4,)), Y],
        operation("CONV_2D", FILTER, CONV),
        "b",
        "is not constant",
    ),
    "average pool": (
        [X, Y],
        operation("AVERAGE_POOL_2D", ("x",), "Pool2DOptions", fusedActivationFunction=1),
        "y",
        "fused activation (number 1)",
    ),
    "max pool": (
        [X, Y],
        operation("MAX_POOL_2D", ("x",), "Pool2DOptions", fusedActivationFunction=3),
        "y",
        "fused activation (number 3)",
    ),
    "concatenation": (
        [X, FileTensor("y", (1, 2, 8, 4))],
        operation("CONCATENATION", ("x", "x"), CONCAT, axis=1, fusedActivationFunction=1),
        "y",
        "fused activation",
    ),
    "concatenated constant": (
        [X, constant("ones", np.ones((1, 1, 8, 4)), "INT8"), FileTensor("y", (1, 2, 8, 4))],
        operation("CONCATENATION", ("x", "ones"), CONCAT, axis=1),
        "ones",
        "must be all zero",
    ),
    "three with a constant": (
        [X, constant("zeros", np.zeros((1, 1, 8, 4)), "INT8"), FileTensor("y", (1, 3, 8, 4))],
        operation("CONCATENATION", ("x", "zeros", "x"), CONCAT, axis=1),
        "zeros",
        "two inputs",
    ),
    "weights format": (
        [X, constant("w", np.ones((4, 4)), "INT8"), FileTensor("y", (1, 4))],
        operation("FULLY_CONNECTED", ("x", "w"), "FullyConnectedOptions", weightsFormat=1),
        "y",
        "default format",
    ),
    "wide output": (
        [X, constant("w", np.ones((4, 4)), "INT8"), FileTensor("y", (8, 4))],
        operation("FULLY_CONNECTED", ("x", "w"), "FullyConnectedOptions"),
        "y",
        "one-dimensional",
    ),
    "mean of the batch": (
        [X, constant("a", [0]), Y],
        operation("MEAN", ("x", "a")),
        "x",
        "along the batch",
    ),
    "mean of channels": (
        [FileTensor("x", (1, 1, 8, 6)), constant("a", [-1]), FileTensor("y", (1, 1, 8, 1))],
        operation("MEAN", ("x", "a")),
        "x",
        "averaged over 6 channels",
    ),
    "computed axes": (
        [X, FileTensor("a", (1,)), Y],
        operation("MEAN", ("x", "a")),
        "a",
        "not constant",
    ),
    "max of the batch": (
        [X, constant("a", [-4]), Y],
        operation("REDUCE_MAX", ("x", "a")),
        "x",
        "batch",
    ),
    "min of the batch": (
        [X, constant("a", [0]), Y],
        operation("REDUCE_MIN", ("x", "a")),
        "x",
        "batch",
    ),
    "sum of the batch": ([X, constant("a", [0]), Y], operation("SUM", ("x", "a")), "x", "batch"),
    "packed batch": (
        [FileTensor("x", (1, 8, 4)), FileTensor("y", (1, 1, 8, 4))],
        operation("PACK", ("x",), "PackOptions", axis=0),
        "y",
        "along the batch",
    ),
    "padded batch": (
        [X, constant("p", [[1, 0], [0, 0], [0, 0], [0, 0]]), Y],
        operation("PAD", ("x", "p")),
        "x",
        "padded along the batch",
    ),
    "alpha": (
        [X, constant("alpha", np.ones((1, 8, 4)), "INT8"), Y],
        operation("PRELU", ("x", "alpha")),
        "alpha",
        "one-dimensional",
    ),
    "softmax of a plane": ([X, Y], operation("SOFTMAX"), "x", "one-dimensional"),
    "long softmax": (
        [FileTensor("x", (1, 16_001)), FileTensor("y", (1, 16_001))],
        operation("SOFTMAX"),
        "x",
        "16001 values",
    ),
    "split batch": ([constant("axis", 0), X, Y], operation("SPLIT", ("axis", "x")), "x", "batch"),
    "strides": (
        SLICED,
        operation("STRIDED_SLICE", SLICE_INPUTS, "StridedSliceOptions"),
        "y",
        "[1, 1, 2, 1]",
    ),
    "ellipsis": (
        SLICED,
        operation("STRIDED_SLICE", SLICE_INPUTS, "StridedSliceOptions", ellipsisMask=1),
        "y",
        "an ellipsis",
    ),
    "new axis": (
        SLICED,
        operation("STRIDED_SLICE", SLICE_INPUTS, "StridedSliceOptions", newAxisMask=1),
        "y",
        "a new-axis",
    ),
    "computed kernel": (
        [constant("s", [1, 1, 8, 4]), FileTensor("w", (1, 1, 1, 4)), X, Y],
        operation("TRANSPOSE_CONV", ("s", "w", "x"), "TransposeConvOptions"),
        "w",
        "not constant",
    ),
    "16-bit input of an LSTM": (
        [FileTensor("x", (1, 1, 4), "INT16"), Y],
        operation("UNIDIRECTIONAL_SEQUENCE_LSTM"),
        "x",
        "INT16",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_names_operation_and_tensor(name, tmp_path, capsys):
    tensors, one, tensor, reason = BROKEN[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_file(tensors, [one]))
    assert main(["coral", "check", str(path)]) == 1
    out = capsys.readouterr().out
    verdict = check_model(str(path)).verdicts[0]
    assert verdict.verdict == "stops"
    assert verdict.tensor == tensor
    assert reason in verdict.reason
    assert f"{verdict.kind}: {tensor!r} {verdict.reason}" in out.splitlines()[-1]


def test_a_batch_that_is_left_open_is_one():
    x = FileTensor("x", (1, 1, 8, 4), signature=(-1, 1, 8, 4))
    assert check_content(tflite_file([x, Y], [ADD]), "model").all_map


def test_every_kind_of_the_table_is_tested():
    assert set(KEPT) == set(RULES)


def test_what_follows_the_first_stop_is_not_reached(tmp_path, capsys):
    tensors = [X, *(FileTensor(name, (1, 1, 8, 4)) for name in ("a", "b", "c", "d"))]
    chain = [
        FileOperation("RELU", ("x",), ("a",)),
        FileOperation("ABS", ("a",), ("b",)),
        FileOperation("TANH", ("b",), ("c",)),
        FileOperation("EXP", ("c",), ("d",)),
    ]
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_file(tensors, chain))
    assert main(["coral", "check", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [o["verdict"] for o in report["operations"]] == ["maps", "stops", "not reached", "stops"]
    assert report["counts"] == {"maps": 1, "stops": 2, "not reached": 1}
    assert not report["all_map"]


def test_a_float_input_is_converted_before_the_mapped_part():
    tensors = [FileTensor("f", (1, 1, 8, 4), "FLOAT32", scales=()), X, Y]
    chain = [FileOperation("QUANTIZE", ("f",), ("x",)), FileOperation("RELU", ("x",), ("y",))]
    report = check_content(tflite_file(tensors, chain), "model")
    assert [v.verdict for v in report.verdicts] == ["on the CPU", "maps"]
    assert not report.all_map


@pytest.mark.parametrize("model", list_models())
def test_shipped_models_map(model, capsys):
    assert main(["coral", "check", model]) == 0
    out = capsys.readouterr().out
    operations = read_operations(find_model(model)[0].read_bytes())
    assert f"{len(operations)} of {len(operations)} operations map" in out
    assert out.count(" maps ") == len(operations)
    assert "RESHAPE: some large tensors may not map" in out


def test_names_are_those_of_the_schema():
    s = schema()
    assert [getattr(s.BuiltinOperator, kind) for kind in _KINDS] == list(range(len(_KINDS)))
    assert [getattr(s.TensorType, name) for name in _TYPES] == list(range(len(_TYPES)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a .tflite"),
        (b"\x20\0\0\0TFL3", "damaged"),
        (b"\xff" * 4 + b"TFL3" + b"\xff" * 100, "damaged"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(content, reason, tmp_path, capsys):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert main(["coral", "check", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"edgesep: error: {path}: ")
    assert reason in err and err.count("\n") == 1


def test_missing_and_unknown_models_are_one_line(tmp_path, capsys):
    assert main(["coral", "check", str(tmp_path / "none.tflite")]) == 1
    assert "no such model file" in capsys.readouterr().err
    assert main(["coral", "check", "smal-16ms"]) == 1
    assert "did you mean 'small-16ms'" in capsys.readouterr().err


def test_several_subgraphs_are_refused():
    content = tflite_file([X, Y], [operation("RELU")], subgraphs=2)
    with pytest.raises(ModelError, match="model: the model has 2 subgraphs"):
        check_content(content, "model")


def test_damage_is_an_error_or_a_verdict_and_nothing_else():
    rng = np.random.default_rng(0)
    outcomes: set[object] = set()
    for tensors, one in KEPT.values():
        whole = bytearray(tflite_file(tensors, [one]))
        for _ in range(60):
            damaged = whole.copy()
            for place in rng.integers(8, min(len(damaged), 2000), 3):
                damaged[place] = rng.integers(0, 256)
            end = len(damaged) if rng.integers(4) else rng.integers(8, len(damaged))
            outcomes.add(outcome(bytes(damaged[:end])))
    assert {True, False} < outcomes
    refusals = outcomes - {True, False}
    assert refusals and all(str(r).startswith("model: ") and "\n" not in str(r) for r in refusals)


def outcome(content: bytes) -> object:
    try:
        return check_content(content, "model").all_map
    except ModelError as error:
        return str(error)


# --- the compiler -------------------------------------------------------------------------------

SUCCESS = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 1524 ms.

Input model: NAME.tflite
Input size: 142.20KiB
Output model: NAME_edgetpu.tflite
Output size: 300.24KiB
On-chip memory used for caching model parameters: 168.50KiB
On-chip memory remaining for caching model parameters: 7.52MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 24
Operation log: NAME_edgetpu.log
"""  # as posted for version 16 in public issues of google-coral/edgetpu and elsewhere
PARTIAL = """
Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of \
the model will instead run on the CPU, which is slower. If possible, consider updating your model \
to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 20
Number of operations that will run on CPU: 4
"""
TABLE = """
Operator                       Count      Status

ADD                            5          Mapped to Edge TPU
CONV_2D                        11         Mapped to Edge TPU
LOGISTIC                       1          Mapped to Edge TPU
RESHAPE                        3          Mapped to Edge TPU
"""
UNMAPPED = """\
RESHAPE                        1          Operation is otherwise supported, but not mapped due to \
some unspecified limitation
CONCATENATION                  3          More than one subgraph is not supported
"""
REST = "CONCATENATION                  4          Mapped to Edge TPU\n"
END = "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
BEHAVIOUR = {  # what the stand-in prints, its status, and whether it writes a model
    "maps": (SUCCESS + TABLE + REST + END, 0, True),
    "table in the log": (SUCCESS + "See the operation log file for details.\n" + END, 0, True),
    "unmapped": (SUCCESS + PARTIAL + TABLE + UNMAPPED + END, 0, True),
    "no table": (SUCCESS, 0, True),
    "not quantized": (
        "Edge TPU Compiler version 15.0.340273435\nInvalid model: NAME.tflite\nModel not "
        "quantized\n",
        1,
        False,
    ),
    "internal": (
        "Edge TPU Compiler version 2.1.302470888\n\nInternal compiler error. Aborting! \n",
        1,
        False,
    ),
    "status 0": (
        "Edge TPU Compiler version 16.0.384591198\nInternal compiler error. Aborting!\n",
        0,
        False,
    ),
    "silent": ("", 139, False),
    "uncompiled": (SUCCESS + TABLE + REST + END, 0, False),
}
STAND_IN = """\
#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
assert arguments[:3] == ["-s", "-o", "."], arguments
name = Path(arguments[3]).stem
assert Path(arguments[3]).is_file()
if {writes}:
    Path(f"{{name}}_edgetpu.tflite").write_bytes(Path({compiled!r}).read_bytes())
    log = {log!r}.replace("NAME", name)
    Path(f"{{name}}_edgetpu.log").write_text(log)
print({text!r}.replace("NAME", name), end="")
sys.exit({status})
"""


def make_compiler(folder: Path, how: str, compiled: Path) -> Path:
    """Put a stand-in for edgetpu_compiler into `folder`."""
    text, status, writes = BEHAVIOUR[how]
    log = "Edge TPU Compiler version 16.0.384591198\nInput: NAME.tflite\n" + TABLE + REST
    if how == "no table":
        log = "Edge TPU Compiler version 16.0.384591198\n"
    program = folder / "edgetpu_compiler"
    program.write_text(
        STAND_IN.format(
            python=sys.executable, writes=writes, compiled=str(compiled), log=log, text=text,
            status=status,
        )
    )  # fmt: skip
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(random_model: Path, tmp_path: Path) -> Path:
    for suffix in (".tflite", ".json"):
        shutil.copy(random_model.with_suffix(suffix), tmp_path)
    return tmp_path / random_model.name


@pytest.fixture
def compiler(tmp_path, model, monkeypatch):
    """Install a stand-in compiler that behaves as named."""
    folder = tmp_path / "bin"
    folder.mkdir()
    compiled = tmp_path / "twin.tflite"
    compiled.write_bytes(compiled_twin(model.read_bytes()))
    monkeypatch.setenv("PATH", str(folder))
    return lambda how: make_compiler(folder, how, compiled)


@pytest.mark.parametrize("how", ["maps", "table in the log"])
def test_compile_writes_model_record_and_log(how, model, compiler, tmp_path, capsys):
    compiler(how)
    out = tmp_path / "out"
    assert main(["coral", "compile", str(model), "-o", str(out)]) == 0
    made = out / f"{model.stem}_edgetpu.tflite"
    assert f"{made}: all 24 operations are on the Edge TPU" in capsys.readouterr().out
    assert sorted(path.suffix for path in out.iterdir()) == [".json", ".log", ".tflite"]
    record = json.loads(record_path(made).read_text())
    assert record == {
        "source_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
        "compiler": "16.0.384591198",
        "mapped_operations": 24,
    }
    card = read_card(model.with_suffix(".json"))
    assert read_compiled(made, card) == made.read_bytes()
    assert main(["coral", "compile", str(model), "-o", str(out)]) == 0  # again, over its own


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("unmapped", "4 of 24 operations are not mapped to the Edge TPU: 1 RESHAPE: Operation is "
         "otherwise supported, but not mapped due to some unspecified limitation; 3 CONCATENATION: "
         "More than one subgraph is not supported"),
        ("no table", "wrote no operation table"),
        ("not quantized", "Invalid model: random-128-0.tflite Model not quantized"),
        ("internal", "failed with status 1: Internal compiler error. Aborting!"),
        ("status 0", "compiled nothing: Internal compiler error. Aborting!"),
        ("silent", "failed with status 139: no message"),
        ("uncompiled", "compiled nothing"),
    ],
)  # fmt: skip
def test_a_failed_compilation_is_one_line_and_writes_nothing(
    how, expected, model, compiler, tmp_path, capsys
):
    compiler(how)
    out = tmp_path / "out"
    assert main(["coral", "compile", str(model), "-o", str(out)]) == 1
    err = capsys.readouterr().err
    assert expected in err and err.count("\n") == 1
    assert not out.exists()


def test_a_compiled_file_with_operations_of_the_cpu_is_refused(model, compiler, tmp_path):
    (tmp_path / "bin" / "edgetpu_compiler").unlink(missing_ok=True)
    shutil.copy(model, tmp_path / "copy.tflite")
    make_compiler(tmp_path / "bin", "maps", tmp_path / "copy.tflite")
    with pytest.raises(CompileError, match=r"holds CONCATENATION, .*, not one edgetpu-custom-op"):
        compile_model(str(model), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_one_line(model, compiler, tmp_path, capsys):
    compiler("maps")
    (tmp_path / "file").write_text("")
    assert main(["coral", "compile", str(model), "-o", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: cannot be written" in capsys.readouterr().err


def test_without_a_compiler_the_ways_to_one_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["coral", "compile", "small-16ms", "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "no edgetpu_compiler found (native, docker or podman)" in err
    assert "edgesep coral dockerfile" in err
    assert main(["coral", "compile", "small-16ms", "--with", "magic"]) == 1
    assert "unknown way 'magic'" in capsys.readouterr().err


CONTAINER = """\
#!/bin/sh
# A stand-in for docker and podman: has the image, runs the program on the mounted folder.
echo "$@" >> {log}
[ "$1 $2 $3" = "image inspect edgesep-edgetpu-compiler" ] && exit 0
while [ "$1" != -v ]; do shift; done
cd "${{2%%:*}}" && shift 5 && exec {program} "$@"
"""


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_sees_the_work_folder_and_no_network(
    engine, model, compiler, tmp_path, monkeypatch
):
    program = compiler("maps")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    moved = program.rename(hidden / program.name)
    container = tmp_path / "bin" / engine
    container.write_text(CONTAINER.format(log=tmp_path / "asked", program=moved))
    container.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    made = compile_model(str(model), tmp_path / "out", engine)
    assert made.path.is_file()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "run --rm --network none" in asked[-1]
    assert asked[-1].endswith(f"edgesep-edgetpu-compiler -s -o . {model.name}")


def test_the_dockerfile_installs_googles_package(capsys):
    assert main(["coral", "dockerfile"]) == 0
    out = capsys.readouterr().out
    assert "FROM debian:" in out and "install --yes --no-install-recommends edgetpu-compiler" in out
    assert "packages.cloud.google.com/apt coral-edgetpu-stable main" in out


def test_logs_of_all_versions_are_read():
    log = read_log(SUCCESS + PARTIAL + TABLE + UNMAPPED + END)
    assert (log.version, log.mapped, log.complaint) == ("16.0.384591198", 20, "")
    assert log.unmapped == [
        Row("RESHAPE", 1, "Operation is otherwise supported, but not mapped due to some "
            "unspecified limitation"),
        Row("CONCATENATION", 3, "More than one subgraph is not supported"),
    ]  # fmt: skip
    old = "Edge TPU Compiler version 14.1.317412892\nInput: a.tflite\nOutput: a_edgetpu.tflite\n\n"
    log = read_log(old + "Operator                       Count      Status\n\n"
                   "CUSTOM                         1          Operation is working on an "
                   "unsupported data type\nQUANTIZE                       2          Mapped to "
                   "Edge TPU\n")  # fmt: skip
    assert (log.version, log.mapped) == ("14.1.317412892", 2)
    assert [row.kind for row in log.unmapped] == ["CUSTOM"]
    assert read_log("").rows == ()


def test_compiled_twins_are_found_beside_the_model_or_in_their_folder(tmp_path, monkeypatch, model):
    monkeypatch.setenv("EDGESEP_CORAL", str(tmp_path / "coral"))
    name = f"{model.stem}_edgetpu.tflite"
    assert find_compiled(model) == tmp_path / "coral" / name
    (model.parent / name).write_bytes(b"")
    assert find_compiled(model) == model.parent / name
    monkeypatch.delenv("EDGESEP_CORAL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (model.parent / name).unlink()
    assert find_compiled(model) == tmp_path / "data/edgesep/coral" / name


def test_help_and_ways():
    with pytest.raises(CompileError, match="unknown way"):
        find_way("qemu")
