"""Small .tflite files of any operation, legal or not, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

EDGETPU_CUSTOM_OP = "edgetpu-custom-op"


@dataclass(frozen=True)
class FileTensor:
    """A tensor as it shall stand in the file; scales (): not quantized."""

    name: str
    shape: Sequence[int]
    dtype: str = "INT8"
    data: NDArray[Any] | None = None
    scales: Sequence[float] = (1 / 16,)
    zero_point: int = 0
    signature: Sequence[int] = ()
    is_variable: bool = False


@dataclass(frozen=True)
class FileOperation:
    """An operation; inputs and outputs by name, None: left out. options: of the table `table`."""

    kind: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: str = ""


def schema() -> Any:
    """Return the schema module that comes with LiteRT."""
    module = pytest.importorskip("ai_edge_litert", reason="writing a .tflite needs ai-edge-litert")
    del module
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def tflite_file(
    tensors: Sequence[FileTensor], operations: Sequence[FileOperation], subgraphs: int = 1
) -> bytes:
    """Return the bytes of a file; equal arguments give equal bytes."""
    s = schema()
    model = s.ModelT()
    model.version, model.description = 3, "test"
    model.buffers = [s.BufferT()]
    model.operatorCodes = [_code(s, operation) for operation in operations]
    graph = s.SubGraphT()
    graph.tensors = [_tensor(s, model, tensor) for tensor in tensors]
    index: dict[str | None, int] = {tensor.name: i for i, tensor in enumerate(tensors)}
    index[None] = -1
    graph.operators = [_operator(s, i, o, index) for i, o in enumerate(operations)]
    made = {name for operation in operations for name in operation.outputs}
    constant = {tensor.name for tensor in tensors if tensor.data is not None}
    graph.inputs = [index[t.name] for t in tensors if t.name not in made | constant]
    graph.outputs = [index[name] for name in operations[-1].outputs] if operations else []
    model.subgraphs = [graph] * subgraphs
    return pack(model)


def compiled_twin(content: bytes) -> bytes:
    """Return the model with all its operations in one edgetpu-custom-op, as the compiler does."""
    s = schema()
    model = s.ModelT.InitFromObj(s.Model.GetRootAs(content))
    graph = model.subgraphs[0]
    keep = [*graph.inputs, *graph.outputs]
    graph.tensors = [graph.tensors[i] for i in keep]
    inputs, outputs = len(graph.inputs), len(graph.outputs)
    graph.inputs = list(range(inputs))
    graph.outputs = list(range(inputs, inputs + outputs))
    for tensor in graph.tensors:
        tensor.buffer = 0
    code, operator = s.OperatorCodeT(), s.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = s.BuiltinOperator.CUSTOM
    code.customCode, code.version = EDGETPU_CUSTOM_OP, 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, graph.inputs, graph.outputs
    operator.customOptions = np.frombuffer(b"stand-in", np.uint8)
    model.operatorCodes, graph.operators = [code], [operator]
    model.buffers, model.metadata = [s.BufferT()], []
    return pack(model)


def pack(model: Any) -> bytes:
    """Return a ModelT as the bytes of a file."""
    flatbuffers = pytest.importorskip("flatbuffers")
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(s: Any, operation: FileOperation) -> Any:
    code = s.OperatorCodeT()
    code.builtinCode = getattr(s.BuiltinOperator, operation.kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode, code.version = operation.custom or None, 1
    return code


def _tensor(s: Any, model: Any, tensor: FileTensor) -> Any:
    record = s.TensorT()
    record.name, record.type = tensor.name, getattr(s.TensorType, tensor.dtype)
    record.shape = np.asarray(tensor.shape, np.int32)
    record.buffer, record.isVariable = 0, tensor.is_variable
    if tensor.signature:
        record.shapeSignature = np.asarray(tensor.signature, np.int32)
    if len(tensor.scales):
        record.quantization = s.QuantizationParametersT()
        record.quantization.scale = np.asarray(tensor.scales, np.float32)
        zeros = np.full(len(tensor.scales), tensor.zero_point, np.int64)
        record.quantization.zeroPoint = zeros
    if tensor.data is not None:
        buffer = s.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        record.buffer = len(model.buffers) - 1
    return record


def _operator(s: Any, code: int, operation: FileOperation, index: Mapping[str | None, int]) -> Any:
    record = s.OperatorT()
    record.opcodeIndex = code
    record.inputs = [index[name] for name in operation.inputs]
    record.outputs = [index[name] for name in operation.outputs]
    if operation.table:
        record.builtinOptionsType = getattr(s.BuiltinOptions, operation.table)
        record.builtinOptions = getattr(s, f"{operation.table}T")()
        for name, value in operation.options.items():
            if not hasattr(record.builtinOptions, name):
                raise AttributeError(f"{operation.table} has no {name}")
            setattr(record.builtinOptions, name, value)
    return record
