"""Read a .tflite file into a graph of the operations that the exact engine runs.

The file may be damaged or foreign: whatever it holds, the result is a graph whose tensors and
operations fit each other, or a ModelError that names the operation and the tensor. Field numbers
are those of TensorFlow Lite's schema.fbs, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesep.engine.flatbuffer import Table, root
from edgesep.errors import ModelError

__all__ = ["Graph", "Operation", "Tensor", "read_graph"]

_INT32, _INT8 = 2, 9  # TensorType
_DTYPES = {_INT32: "<i4", _INT8: "i1"}
_KINDS = {
    0: "ADD",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    14: "LOGISTIC",
    22: "RESHAPE",
}
# For messages only: what converters put into networks of this sort.
_OTHERS = {
    1: "AVERAGE_POOL_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION",
    16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6", 23: "RESIZE_BILINEAR",
    25: "SOFTMAX", 28: "TANH", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE",
    40: "MEAN", 41: "SUB", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 49: "SPLIT",
    53: "CAST", 65: "SLICE", 67: "TRANSPOSE_CONV", 82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK",
    97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 114: "QUANTIZE", 117: "HARD_SWISH",
    142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE",
}  # fmt: skip
_CUSTOM = 32
_NO_TENSOR = -1  # an optional input that is left out
_MAX_EXTENT = 32768
_MAX_RANK = 8
_MAX_BYTES = 1 << 26
_MAX_TOTAL_BYTES = 1 << 28  # of all tensors: what a runtime may be asked to allocate


@dataclass(frozen=True)
class Tensor:
    """An activation (data None) or a constant.

    shape: activations (1, height, width, channels); conv weights (out, kh, kw, in); depthwise
        weights (1, kh, kw, out); bias (out,).
    scales: float32, one, or one per output channel.
    data: int8 weights or int32 bias.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32]
    zero_point: int
    quantized_dimension: int
    data: NDArray[np.int8] | NDArray[np.int32] | None

    @property
    def scale(self) -> float:
        """The one scale of an activation, exactly as the file's float32."""
        return float(self.scales[0])

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Operation:
    """One operation. Attributes that a kind does not use stay at their defaults.

    kind: the schema's name, such as CONV_2D.
    inputs: the shape argument of RESHAPE is left out.
    """

    kind: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)  # before the first row and position
    relu: bool = False
    axis: int = 0


@dataclass(frozen=True)
class Graph:
    """Operations in the order they run, and the ends of the graph."""

    operations: tuple[Operation, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_graph(content: bytes) -> Graph:
    """Return the graph of a .tflite file. Raises ModelError for a damaged or unsupported one."""
    model = root(content)
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ModelError(f"the file has {len(subgraphs)} subgraphs, the exact engine runs one")
    return _Reader(model, subgraphs[0]).graph()


class _Reader:
    def __init__(self, model: Table, subgraph: Table) -> None:
        self._subgraph = subgraph
        self._buffers = model.tables(4)
        self._codes = [_operator_code(table) for table in model.tables(1)]
        tables = subgraph.tables(0)
        self._tensors = [self._tensor(i, table) for i, table in enumerate(tables)]
        if sum(tensor.size for tensor in self._tensors) > _MAX_TOTAL_BYTES:
            raise ModelError(f"its tensors take more than {_MAX_TOTAL_BYTES >> 20} MB")

    def graph(self) -> Graph:
        """Read the operations; every tensor is made once, and before it is used."""
        inputs, outputs = (self._activations(self._subgraph.array(f, "<i4")) for f in (1, 2))
        ready = {tensor.index for tensor in inputs}
        operations = []
        for table in self._subgraph.tables(3):
            operation = self._operation(table)
            for tensor in operation.inputs:
                if tensor.data is None and tensor.index not in ready:
                    raise _refuse(operation, tensor, "is used before anything makes it")
            if operation.output.index in ready:
                raise _refuse(operation, operation.output, "is made twice")
            ready.add(operation.output.index)
            operations.append(operation)
        for tensor in outputs:
            if tensor.index not in ready:
                raise ModelError(f"{tensor.name}: nothing makes this output")
        return Graph(tuple(operations), inputs, outputs)

    def _tensor(self, index: int, table: Table) -> Tensor:
        name = table.text(3) or f"tensor {index}"
        shape = tuple(int(n) for n in table.array(0, "<i4"))
        kind = table.number(1, "b")
        quantization = table.table(4)
        scales, zeros, dimension = np.empty(0, "<f4"), np.empty(0, "<i8"), 0
        if quantization is not None:
            scales, zeros = quantization.array(2, "<f4"), quantization.array(3, "<i8")
            dimension = quantization.number(6, "i")
        if len(shape) > _MAX_RANK:
            raise ModelError(f"{name}: a shape of {len(shape)} sides, at most {_MAX_RANK} allowed")
        if any(not 1 <= n <= _MAX_EXTENT for n in shape) or math.prod(shape) > _MAX_BYTES:
            raise ModelError(f"{name}: shape {shape} is not allowed")
        dtype = _DTYPES.get(kind, f"type {kind}")
        # A batch of any size is a batch of one here; no other side may be left open.
        if np.any(table.array(7, "<i4")[1:] < 0):
            raise ModelError(f"{name}: has a dynamic shape; convert the model with fixed ones")
        data = self._data(name, table.number(2, "I"), dtype, shape)
        if np.any(zeros != zeros[:1]):
            raise ModelError(f"{name}: its zero points differ from channel to channel")
        zero_point = int(zeros[0]) if zeros.size else 0
        return Tensor(index, name, shape, dtype, scales, zero_point, dimension, data)

    def _data(
        self, name: str, buffer: int, dtype: str, shape: tuple[int, ...]
    ) -> NDArray[np.int8] | NDArray[np.int32] | None:
        if buffer >= len(self._buffers):
            raise ModelError(f"{name}: buffer {buffer} is not in the file")
        content = self._buffers[buffer].array(0, "u1")
        if content.size == 0 or dtype not in _DTYPES.values():
            return None
        if content.size != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ModelError(f"{name}: {content.size} bytes do not fill shape {shape}")
        data: NDArray[np.int8] | NDArray[np.int32]
        data = np.frombuffer(content.tobytes(), dtype).reshape(shape)
        return data

    def _at(self, index: int) -> Tensor:
        if not 0 <= index < len(self._tensors):
            raise ModelError(f"damaged: an operation or an end names tensor {index}")
        return self._tensors[index]

    def _activations(self, indices: NDArray[np.int32]) -> tuple[Tensor, ...]:
        tensors = tuple(self._at(int(i)) for i in indices)
        for tensor in tensors:
            _check_activation(tensor, "an end of the graph")
        return tensors

    def _operation(self, table: Table) -> Operation:
        code = table.number(0, "I")
        if code >= len(self._codes):
            raise ModelError(f"damaged: an operation has code {code}")
        kind = self._codes[code]
        outputs = [self._at(int(i)) for i in table.array(2, "<i4")]
        if kind not in _OPERATIONS:
            made = f" makes {outputs[0].name!r}" if outputs else ""
            raise ModelError(
                f"{kind}{made}: the exact engine runs {', '.join(sorted(_OPERATIONS))}"
            )
        indices = [int(i) for i in table.array(1, "<i4")]
        if len(outputs) != 1 or not indices:
            raise ModelError(f"{kind}: {len(indices)} inputs, {len(outputs)} outputs")
        if _NO_TENSOR in indices:
            place = indices.index(_NO_TENSOR)
            raise _bad(kind, outputs[0], f"is made without input {place}, such as a bias")
        inputs = [self._at(index) for index in indices]
        _check_activation(outputs[0], kind)
        return _OPERATIONS[kind](kind, inputs, outputs[0], table.table(4))


def _operator_code(table: Table) -> str:
    # Readers take the larger one: old writers fill only the one-byte field.
    code = max(table.number(0, "b"), table.number(3, "i"))
    if code == _CUSTOM:
        return f"CUSTOM {table.text(1)!r}"
    return _KINDS.get(code) or _OTHERS.get(code) or f"operator {code}"


# --- operations --------------------------------------------------------------------------------


def _refuse(operation: Operation, tensor: Tensor, reason: str) -> ModelError:
    return ModelError(f"{operation.kind}: {tensor.name!r} {reason}")


def _bad(kind: str, tensor: Tensor, reason: str) -> ModelError:
    return ModelError(f"{kind}: {tensor.name!r} {reason}")


def _check_activation(tensor: Tensor, user: str) -> None:
    if tensor.data is not None:
        raise _bad(user, tensor, "is a constant")
    if tensor.dtype != "i1":
        raise _bad(user, tensor, "is not int8")
    if not tensor.shape:
        raise _bad(user, tensor, "has no shape")
    if tensor.scales.size != 1 or not 0 < tensor.scale < math.inf:
        raise _bad(user, tensor, "needs one finite scale above 0")
    if not -128 <= tensor.zero_point <= 127:
        raise _bad(user, tensor, f"has zero point {tensor.zero_point}, which is no int8")


def _check_inputs(kind: str, inputs: Sequence[Tensor], count: int) -> None:
    if len(inputs) != count:
        raise ModelError(f"{kind}: {len(inputs)} inputs, expected {count}")
    for tensor in inputs:
        _check_activation(tensor, kind)


def _relu(kind: str, output: Tensor, options: Table | None, field: int) -> bool:
    activation = options.number(field, "b") if options else 0
    if activation not in (0, 1):
        raise _bad(kind, output, f"has fused activation {activation}; none and RELU are known")
    return activation == 1


def _filter(kind: str, inputs: list[Tensor], output: Tensor, options: Table | None) -> Operation:
    if len(inputs) != 3:
        raise _bad(kind, output, f"is made of {len(inputs)} tensors, not input, weights and bias")
    x, weights, bias = inputs
    is_conv = kind == "CONV_2D"
    _check_activation(x, kind)
    for tensor in (x, weights, output):
        if len(tensor.shape) != 4 or (tensor is not weights and tensor.shape[0] != 1):
            raise _bad(kind, tensor, f"has shape {tensor.shape}, which is not (1, h, w, c)")
    _check_weights(kind, weights, bias, output)
    in_channels, out_channels = x.shape[3], output.shape[3]
    if is_conv and weights.shape[3] != in_channels:
        raise _bad(kind, weights, f"{weights.shape} does not fit input {x.shape}")
    if not is_conv and (weights.shape[0] != 1 or out_channels % in_channels):
        raise _bad(kind, weights, f"{weights.shape} does not fit input {x.shape}")
    if options is None:
        raise _bad(kind, output, "has no options")
    dilations = [options.number(field, "i", 1) for field in ((4, 5) if is_conv else (5, 6))]
    if dilations != [1, 1]:
        raise _bad(kind, output, f"is dilated by {dilations} within the frame")
    padding, strides = options.number(0, "b"), (options.number(2, "i"), options.number(1, "i"))
    if padding not in (0, 1) or not all(1 <= s <= _MAX_EXTENT for s in strides):
        raise _bad(kind, output, f"has padding {padding} and strides {strides}")
    height, width = (
        _placed(padding == 0, *sides)
        for sides in zip(x.shape[1:3], weights.shape[1:3], strides, strict=True)
    )
    if output.shape != (1, height[0], width[0], out_channels):
        raise _bad(kind, output, f"has shape {output.shape}, {height[0]} x {width[0]} expected")
    relu = _relu(kind, output, options, 3 if is_conv else 4)
    return Operation(kind, tuple(inputs), output, strides, (height[1], width[1]), relu)


def _check_weights(kind: str, weights: Tensor, bias: Tensor, output: Tensor) -> None:
    channels = output.shape[3]
    axis = 0 if kind == "CONV_2D" else 3
    if weights.data is None or weights.dtype != "i1":
        raise _bad(kind, weights, "is not a constant of int8 weights")
    if bias.data is None or bias.dtype != "<i4" or bias.shape != (channels,):
        raise _bad(kind, bias, f"is not a constant bias of {channels} int32")
    if weights.shape[axis] != channels:
        raise _bad(kind, weights, f"{weights.shape} does not make output {output.shape}")
    count = weights.scales.size
    if count != 1 and (count != channels or weights.quantized_dimension != axis):
        raise _bad(kind, weights, f"has {count} scales for {channels} channels")
    if not np.all(np.isfinite(weights.scales) & (weights.scales > 0)):
        raise _bad(kind, weights, "has a scale that is not finite and above 0")
    if weights.zero_point != 0:
        raise _bad(kind, weights, f"has zero point {weights.zero_point}, not 0")


def _placed(same: bool, side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the output's length along one axis and the padding before its input."""
    if not same:
        return (side - kernel) // stride + 1, 0
    length = -(-side // stride)
    return length, max((length - 1) * stride + kernel - side, 0) // 2


def _add(kind: str, inputs: list[Tensor], output: Tensor, options: Table | None) -> Operation:
    _check_inputs(kind, inputs, 2)
    for tensor in inputs:
        if tensor.shape != output.shape:
            raise _bad(kind, tensor, f"has shape {tensor.shape}, the sum has {output.shape}")
    return Operation(kind, tuple(inputs), output, relu=_relu(kind, output, options, 0))


def _concatenation(
    kind: str, inputs: list[Tensor], output: Tensor, options: Table | None
) -> Operation:
    _check_inputs(kind, inputs, len(inputs))
    rank = len(output.shape)
    axis = options.number(0, "i") if options else 0
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank or _relu(kind, output, options, 1):
        raise _bad(kind, output, f"is joined along axis {axis} of {rank}, or has an activation")
    for tensor in inputs:
        _check_same_scale(kind, tensor, output)
        others = tensor.shape[:axis] + tensor.shape[axis + 1 :]
        if len(tensor.shape) != rank or others != output.shape[:axis] + output.shape[axis + 1 :]:
            raise _bad(kind, tensor, f"{tensor.shape} does not fit {output.shape}")
    if sum(tensor.shape[axis] for tensor in inputs) != output.shape[axis]:
        raise _bad(kind, output, f"{output.shape} is not the sum along axis {axis}")
    return Operation(kind, tuple(inputs), output, axis=axis)


def _check_same_scale(kind: str, tensor: Tensor, output: Tensor) -> None:
    if (tensor.scale, tensor.zero_point) != (output.scale, output.zero_point):
        raise _bad(kind, tensor, f"does not have the scale and zero point of {output.name!r}")


def _reshape(kind: str, inputs: list[Tensor], output: Tensor, options: Table | None) -> Operation:
    if len(inputs) == 2 and (inputs[1].data is None or inputs[1].dtype != "<i4"):
        raise _bad(kind, inputs[1], "is not a constant shape")
    _check_inputs(kind, inputs[:1] if len(inputs) == 2 else inputs, 1)
    if inputs[0].size != output.size:
        raise _bad(kind, output, f"{output.shape} does not hold {inputs[0].shape}")
    _check_same_scale(kind, inputs[0], output)
    return Operation(kind, (inputs[0],), output)


def _logistic(kind: str, inputs: list[Tensor], output: Tensor, options: Table | None) -> Operation:
    _check_inputs(kind, inputs, 1)
    if inputs[0].shape != output.shape:
        raise _bad(kind, output, f"has shape {output.shape}, its input {inputs[0].shape}")
    if (output.scale, output.zero_point) != (1 / 256, -128):
        raise _bad(kind, output, "needs scale 1/256 and zero point -128")
    return Operation(kind, tuple(inputs), output)


_OPERATIONS: dict[str, Callable[[str, list[Tensor], Tensor, Table | None], Operation]] = {
    "ADD": _add,
    "CONCATENATION": _concatenation,
    "CONV_2D": _filter,
    "DEPTHWISE_CONV_2D": _filter,
    "LOGISTIC": _logistic,
    "RESHAPE": _reshape,
}
