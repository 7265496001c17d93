"""Write an int8 .tflite straight from a quantized graph.

A converter decides scales on its own; here they are written down, so that a state's scale is the
same on its way in and out by construction. The flatbuffer schema is the one that ships with
ai-edge-litert, the runtime that the product depends on anyway: nothing more to install, and
writer and reader cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from export.qgraph import QGraph, QOp, QTensor, check_graph, state_columns

__all__ = ["QGraph", "QOp", "QTensor", "state_columns", "write_tflite"]

BUFFER_ALIGNMENT = 16  # the schema's force_align of Buffer.data; kernels read weights in place

_VERSIONS = {"conv": 3, "depthwise": 3, "add": 2, "concat": 2, "reshape": 1, "logistic": 2}
"""The first operator version that knows int8: what the oldest runtimes still accept."""

_ACTIVATIONS = {"none": "NONE", "relu": "RELU"}
_BUILTINS = {
    "conv": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "add": "ADD",
    "concat": "CONCATENATION",
    "reshape": "RESHAPE",
    "logistic": "LOGISTIC",
}


def write_tflite(graph: QGraph) -> bytes:
    """Return the .tflite file of `graph`; equal graphs give equal bytes.

    Raises ModelError naming the tensor where the graph breaks the model contract.
    """
    check_graph(graph)
    return _Writer(graph).write()


class _Writer:
    """Builds the flatbuffer's object tree and packs it. Used once."""

    def __init__(self, graph: QGraph) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._graph = graph
        self._buffers = [schema.BufferT()]  # buffer 0: empty, of all activations
        self._tensors: list[Any] = []
        self._index: dict[str, int] = {}
        self._shared: dict[Hashable, Any] = {}
        self._kinds = list(dict.fromkeys(op.kind for op in graph.ops))

    def write(self) -> bytes:
        builder = _sharing_builder()
        builder.Finish(self._model().Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _model(self) -> Any:
        for tensor in self._graph.tensors:
            self._add_tensor(tensor)
        model = self._schema.ModelT()
        model.version = 3
        model.description = self._graph.description
        model.subgraphs = [self._subgraph()]
        model.operatorCodes = [self._operator_code(kind) for kind in self._kinds]
        model.metadata = [self._metadata(*entry) for entry in sorted(self._graph.metadata.items())]
        model.buffers = self._buffers
        return model

    def _subgraph(self) -> Any:
        subgraph = self._schema.SubGraphT()
        subgraph.name = "main"
        subgraph.operators = [self._operator(op) for op in self._graph.ops]
        subgraph.tensors = self._tensors
        subgraph.inputs = [self._index[name] for name in self._graph.inputs]
        subgraph.outputs = [self._index[name] for name in self._graph.outputs]
        return subgraph

    def _add_buffer(self, data: bytes) -> int:
        self._buffers.append(_aligned_buffer(self._schema, data))
        return len(self._buffers) - 1

    def _add_tensor(self, tensor: QTensor) -> None:
        zero_point, axis = tensor.zero_point, tensor.quantized_dimension
        quantization = self._one(
            "QuantizationParametersT", tensor.scales.tobytes(), zero_point, axis
        )
        quantization.scale = tensor.scales
        quantization.zeroPoint = np.full(tensor.scales.size, zero_point, np.int64)
        quantization.quantizedDimension = axis
        is_bias = tensor.data is not None and tensor.data.dtype == np.int32
        record = self._tensor_record(tensor.name, tensor.shape, is_bias)
        record.quantization = quantization
        if tensor.data is not None:
            little_endian = tensor.data.astype(tensor.data.dtype.newbyteorder("<"))
            record.buffer = self._add_buffer(little_endian.tobytes())

    def _one(self, kind: str, *values: Hashable) -> Any:
        """Return the object of the schema that stands for equal `values`; it is written once.

        Models repeat them: a state's quantization three times, a layer's options in every block,
        which is 3% of the smallest model's bytes. A reader cannot tell.
        """
        key = (kind, values)
        if key not in self._shared:
            self._shared[key] = _written_once(getattr(self._schema, kind))
        return self._shared[key]

    def _tensor_record(self, name: str, shape: Sequence[int], is_int32: bool) -> Any:
        record = self._schema.TensorT()
        record.name = name
        record.shape = np.asarray(shape, np.int32)
        record.type = self._schema.TensorType.INT32 if is_int32 else self._schema.TensorType.INT8
        record.buffer = 0
        self._index[name] = len(self._tensors)
        self._tensors.append(record)
        return record

    def _operator_code(self, kind: str) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, _BUILTINS[kind])
        code.deprecatedBuiltinCode = code.builtinCode  # all below 127; old runtimes read this one
        code.version = _VERSIONS[kind]
        return code

    def _operator(self, op: QOp) -> Any:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._kinds.index(op.kind)
        operator.inputs = [self._index[name] for name in op.inputs]
        operator.outputs = [self._index[op.output]]
        if op.kind == "reshape":
            operator.inputs.append(self._add_shape(f"{op.output}.shape", op.new_shape))
        name, options = self._options(op)
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
        operator.builtinOptions = options
        return operator

    def _add_shape(self, name: str, shape: Sequence[int]) -> int:
        record = self._tensor_record(name, (len(shape),), is_int32=True)
        record.buffer = self._add_buffer(np.asarray(shape, "<i4").tobytes())
        return self._index[name]

    def _options(self, op: QOp) -> tuple[str, Any]:
        schema = self._schema
        activation = getattr(schema.ActivationFunctionType, _ACTIVATIONS[op.activation])
        values = (op.padding, op.stride_h, op.stride_w, activation, op.depth_multiplier)
        if op.kind in ("conv", "depthwise"):
            name = "Conv2DOptions" if op.kind == "conv" else "DepthwiseConv2DOptions"
            options = self._one(name + "T", *values)
            options.padding = getattr(schema.Padding, op.padding)
            options.strideH, options.strideW = op.stride_h, op.stride_w
            options.fusedActivationFunction = activation
            if op.kind == "depthwise":
                options.depthMultiplier = op.depth_multiplier
            return name, options
        if op.kind == "add":
            options = self._one("AddOptionsT", activation)
            options.fusedActivationFunction = activation
            options.potScaleInt16 = False
            return "AddOptions", options
        if op.kind == "concat":
            options = self._one("ConcatenationOptionsT", op.axis)
            options.axis = op.axis
            return "ConcatenationOptions", options
        if op.kind == "reshape":
            options = self._one("ReshapeOptionsT", *op.new_shape)
            options.newShape = np.asarray(op.new_shape, np.int32)
            return "ReshapeOptions", options
        return "NONE", None  # logistic

    def _metadata(self, name: str, value: str) -> Any:
        entry = self._schema.MetadataT()
        entry.name = name
        entry.buffer = self._add_buffer(value.encode("utf-8"))
        return entry


def _written_once(kind: Any) -> Any:
    """Return an object of a schema's class that packs itself once, and then says where it is."""

    class WrittenOnce(kind):
        at: int | None = None

        def Pack(self, builder: Any) -> int:
            if self.at is None:
                self.at = int(super().Pack(builder))
            return self.at

    return WrittenOnce()


def _sharing_builder() -> Any:
    """Return a flatbuffers builder that writes equal vectors once.

    Shapes repeat, and all per-channel zero points are zeros of int64, which alone would be a sixth
    of a small model's bytes. A flatbuffer's reader cannot tell: tables refer to vectors by offset.
    """
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(1 << 16)
            self._seen: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            key = x.dtype.str, x.tobytes()
            if key not in self._seen:
                self._seen[key] = int(super().CreateNumpyVector(x))
            return self._seen[key]

    return SharingBuilder()


def _aligned_buffer(schema: Any, data: bytes) -> Any:
    """Return a BufferT that packs `data` aligned; the generated Python aligns bytes to one."""

    class AlignedBuffer(schema.BufferT):
        def Pack(self, builder: Any) -> int:
            builder.StartVector(1, len(data), BUFFER_ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return int(schema.BufferEnd(builder))

    return AlignedBuffer()
