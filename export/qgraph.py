"""A quantized graph in memory, and the model contract it must keep.

Only operations whose int8 reference kernels give the same bytes everywhere are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.errors import ModelError

__all__ = ["QGraph", "QOp", "QTensor", "check_graph", "state_columns"]

FEATURES = "features"
MASK = "mask"
TAPS_PREFIX = "taps."
COLUMN_PREFIX = "column."
WEIGHTS, BIAS = ".w", ".b"  # of a layer; short: names take a thirtieth of the smallest model's file
FEATURES_SCALE = 1.0 / 32.0
MASK_SCALE = 1.0 / 256.0
MASK_ZERO_POINT = -128
ACTIVATIONS = ("none", "relu")
PADDINGS = ("SAME", "VALID")


@dataclass(frozen=True)
class QTensor:
    """One tensor: an activation (data None) or a constant.

    shape: activations NHWC; conv weights (out, kh, kw, in); depthwise weights (1, kh, kw, out);
        bias (out,).
    scale: real value of one step; an array with one entry per output channel for weights and bias.
    data: int8 weights or int32 bias.
    quantized_dimension: axis of the per-channel scales: 0 conv and bias, 3 depthwise.
    """

    name: str
    shape: tuple[int, ...]
    scale: float | NDArray[np.floating[Any]]
    zero_point: int = 0
    data: NDArray[Any] | None = None
    quantized_dimension: int = 0

    @property
    def scales(self) -> NDArray[np.float32]:
        """The scales as the file holds them, float32, one or one per channel."""
        return np.atleast_1d(np.asarray(self.scale, np.float32))


@dataclass(frozen=True)
class QOp:
    """One operation. Attributes that a kind does not use stay at their defaults.

    kind: conv (input, weights, bias), depthwise (input, weights, bias), add (a, b),
        concat (two or more), reshape (input), logistic (input).
    padding: "SAME" or "VALID"; activation: "none" or "relu" (conv, depthwise, add).
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    stride_h: int = 1
    stride_w: int = 1
    padding: str = "VALID"
    activation: str = "none"
    depth_multiplier: int = 1
    axis: int = 1
    new_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class QGraph:
    """A model: tensors, operations in the order they run, and the names of its ends.

    metadata: entries of text that travel in the file, name to value.
    """

    tensors: Sequence[QTensor]
    ops: Sequence[QOp]
    inputs: Sequence[str]
    outputs: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    description: str = "edgesep int8 streaming mask network"

    def by_name(self) -> dict[str, QTensor]:
        """Return the tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}


def state_columns(graph: QGraph) -> dict[str, str]:
    """Map each state NAME to the tensor that holds its new column.

    The state taps.NAME is concatenated along time with its layer's input at frame t: that input
    is the column, a graph output or the features.
    Raises ModelError for a state without exactly one such concatenation.
    """
    columns: dict[str, str] = {}
    for name in graph.inputs:
        if name == FEATURES:
            continue
        users = [op for op in graph.ops if name in op.inputs]
        if len(users) != 1 or users[0].kind != "concat" or users[0].axis != 1:
            raise ModelError(f"{name}: a state goes into exactly one concat along axis 1")
        if len(users[0].inputs) != 2 or users[0].inputs[0] != name:
            raise ModelError(f"{name}: expected concat(taps, column), got {users[0].inputs}")
        columns[name.removeprefix(TAPS_PREFIX)] = users[0].inputs[1]
    return columns


# --- the contract ------------------------------------------------------------------------------


def check_graph(graph: QGraph) -> None:
    """Check `graph` against the model contract; raise ModelError naming the first bad tensor."""
    names = [tensor.name for tensor in graph.tensors]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"{name}: two tensors have this name")
    tensors = graph.by_name()
    for tensor in graph.tensors:
        _check_tensor(tensor)
    _check_order(graph, tensors)
    for op in graph.ops:
        _OP_CHECKS[op.kind](op, [tensors[name] for name in op.inputs], tensors[op.output])
    _check_ends(graph, tensors)


def _check_tensor(tensor: QTensor) -> None:
    scales = tensor.scales
    if not tensor.shape or min(tensor.shape) < 1:
        raise ModelError(f"{tensor.name}: shape {tensor.shape} has an empty axis")
    if scales.ndim != 1 or not np.all(np.isfinite(scales)) or np.any(scales <= 0):
        raise ModelError(f"{tensor.name}: scales must be finite and above 0")
    if tensor.data is None:
        if scales.size != 1:
            raise ModelError(f"{tensor.name}: an activation has one scale, not {scales.size}")
        if not -128 <= tensor.zero_point <= 127:
            raise ModelError(f"{tensor.name}: zero point {tensor.zero_point} is no int8")
    else:
        _check_constant(tensor, tensor.data, scales)


def _check_constant(tensor: QTensor, data: NDArray[Any], scales: NDArray[np.float32]) -> None:
    if data.dtype not in (np.int8, np.int32):
        raise ModelError(f"{tensor.name}: constants are int8 or int32, not {data.dtype}")
    if data.shape != tensor.shape:
        raise ModelError(f"{tensor.name}: data {data.shape} does not have shape {tensor.shape}")
    if tensor.zero_point != 0:
        raise ModelError(f"{tensor.name}: constants are symmetric, zero point {tensor.zero_point}")
    if data.dtype == np.int8 and np.any(data == -128):
        raise ModelError(f"{tensor.name}: weights lie from -127 to 127, -128 found")
    axis = tensor.quantized_dimension
    if not 0 <= axis < len(tensor.shape) or scales.size not in (1, tensor.shape[axis]):
        raise ModelError(f"{tensor.name}: {scales.size} scales do not fit axis {axis}")


def _check_order(graph: QGraph, tensors: Mapping[str, QTensor]) -> None:
    """Every tensor is known, made once, and made before it is used."""
    for name in (*graph.inputs, *graph.outputs):
        if name not in tensors or tensors[name].data is not None:
            raise ModelError(f"{name}: an end of the graph must be one of its activations")
    ready = {tensor.name for tensor in graph.tensors if tensor.data is not None}
    ready.update(graph.inputs)
    for op in graph.ops:
        if op.kind not in _OP_CHECKS:
            raise ModelError(f"{op.output}: {op.kind!r} is not one of {', '.join(_OP_CHECKS)}")
        for name in op.inputs:
            if name not in ready:
                raise ModelError(f"{name}: used by {op.output} before anything makes it")
        if op.output not in tensors or op.output in ready:
            raise ModelError(f"{op.output}: unknown, or made twice")
        ready.add(op.output)
    for name in (*tensors, *graph.outputs):
        if name not in ready:
            raise ModelError(f"{name}: nothing makes it")


def _check_ends(graph: QGraph, tensors: Mapping[str, QTensor]) -> None:
    if FEATURES not in graph.inputs or MASK not in graph.outputs:
        raise ModelError(f"the graph needs an input {FEATURES!r} and an output {MASK!r}")
    features, mask = tensors[FEATURES], tensors[MASK]
    bands = features.shape[2] if len(features.shape) == 4 else 0
    _check_end(features, (1, 1, bands, 2), FEATURES_SCALE, 0)
    _check_end(mask, (1, 1, bands, 1), MASK_SCALE, MASK_ZERO_POINT)
    for name in graph.inputs:
        if name != FEATURES and not name.startswith(TAPS_PREFIX):
            raise ModelError(f"{name}: inputs are {FEATURES!r} and {TAPS_PREFIX}NAME")
    columns = state_columns(graph)
    for state, column in columns.items():
        _check_state(tensors[TAPS_PREFIX + state], tensors[column], graph.outputs)
    for name in graph.outputs:
        if name != MASK and name not in columns.values():
            raise ModelError(f"{name}: outputs are {MASK!r} and the columns of the states")


def _check_end(tensor: QTensor, shape: tuple[int, ...], scale: float, zero_point: int) -> None:
    if tensor.shape != shape:
        raise ModelError(f"{tensor.name}: shape {tensor.shape}, the contract says {shape}")
    if tensor.scales[0] != np.float32(scale) or tensor.zero_point != zero_point:
        raise ModelError(
            f"{tensor.name}: scale {tensor.scales[0]:g}, zero point {tensor.zero_point}; "
            f"the contract says {scale:g}, {zero_point}"
        )


def _check_state(taps: QTensor, column: QTensor, outputs: Sequence[str]) -> None:
    if column.name != FEATURES:
        if column.name not in outputs:
            raise ModelError(f"{column.name}: the new column of {taps.name} must be an output")
        if not column.name.startswith(COLUMN_PREFIX):
            raise ModelError(f"{column.name}: columns are called {COLUMN_PREFIX}NAME")
    if taps.shape != (1, taps.shape[1], *column.shape[2:]) or column.shape[1] != 1:
        raise ModelError(f"{taps.name}: {taps.shape} does not hold columns of {column.shape}")
    _check_same_scale(taps, column)


def _check_same_scale(a: QTensor, b: QTensor) -> None:
    if a.scales[0] != b.scales[0] or a.zero_point != b.zero_point:
        raise ModelError(
            f"{b.name}: scale {b.scales[0]:g}, zero point {b.zero_point} "
            f"differ from those of {a.name}: {a.scales[0]:g}, {a.zero_point}"
        )


def _check_activations(op: QOp, inputs: Sequence[QTensor], count: int) -> None:
    if len(inputs) != count:
        raise ModelError(f"{op.output}: {op.kind} takes {count} inputs, got {len(inputs)}")
    for tensor in inputs:
        if tensor.data is not None:
            raise ModelError(f"{tensor.name}: {op.kind} takes activations, this is a constant")
    if op.activation not in ACTIVATIONS:
        raise ModelError(f"{op.output}: activation {op.activation!r} is not none or relu")


def _check_output_shape(output: QTensor, shape: tuple[int, ...]) -> None:
    if output.shape != shape:
        raise ModelError(f"{output.name}: shape {output.shape}, its operation gives {shape}")


def _check_filter(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    if len(inputs) != 3:
        raise ModelError(f"{op.output}: {op.kind} takes input, weights and bias")
    x, weights, bias = inputs
    _check_activations(op, [x], 1)
    channel_axis = 0 if op.kind == "conv" else 3
    if len(x.shape) != 4 or x.shape[0] != 1:
        raise ModelError(f"{x.name}: shape {x.shape}, expected (1, height, width, channels)")
    if weights.data is None or weights.data.dtype != np.int8 or len(weights.shape) != 4:
        raise ModelError(f"{weights.name}: weights are int8 constants with four axes")
    if bias.data is None or bias.data.dtype != np.int32:
        raise ModelError(f"{bias.name}: a bias is an int32 constant")
    channels = weights.shape[channel_axis]
    if weights.quantized_dimension != channel_axis or weights.scales.size != channels:
        raise ModelError(f"{weights.name}: needs a scale per output channel on axis {channel_axis}")
    _check_channels(op, x, weights)
    if bias.shape != (channels,):
        raise ModelError(f"{bias.name}: shape {bias.shape}, expected ({channels},)")
    expected = x.scales * weights.scales
    if bias.scales.size != channels or not np.allclose(bias.scales, expected, rtol=1e-6, atol=0):
        raise ModelError(f"{bias.name}: its scales are not input scale * weight scale")
    _check_output_shape(output, _filter_shape(op, x, weights, channels))


def _check_channels(op: QOp, x: QTensor, weights: QTensor) -> None:
    if op.kind == "conv":
        fits = weights.shape[3] == x.shape[3]
    else:
        fits = weights.shape[0] == 1 and weights.shape[3] == x.shape[3] * op.depth_multiplier
    if not fits:
        raise ModelError(f"{weights.name}: {weights.shape} does not fit input {x.shape}")


def _filter_shape(op: QOp, x: QTensor, weights: QTensor, channels: int) -> tuple[int, ...]:
    sides = zip(x.shape[1:3], weights.shape[1:3], (op.stride_h, op.stride_w), strict=True)
    size = [_out_size(op, side, kernel, stride) for side, kernel, stride in sides]
    return (1, *size, channels)


def _out_size(op: QOp, side: int, kernel: int, stride: int) -> int:
    if stride < 1 or op.padding not in PADDINGS:
        raise ModelError(f"{op.output}: stride {stride}, padding {op.padding!r}")
    return -(-side // stride) if op.padding == "SAME" else (side - kernel) // stride + 1


def _check_add(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    _check_activations(op, inputs, 2)
    if inputs[0].shape != inputs[1].shape:
        raise ModelError(f"{inputs[1].name}: {inputs[1].shape} is not {inputs[0].shape}")
    _check_output_shape(output, inputs[0].shape)


def _check_concat(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    _check_activations(op, inputs, max(2, len(inputs)))
    if not 0 <= op.axis < len(output.shape):
        raise ModelError(f"{op.output}: concat axis {op.axis}")
    for tensor in inputs:
        _check_same_scale(output, tensor)
        if [n for i, n in enumerate(tensor.shape) if i != op.axis] != [
            n for i, n in enumerate(output.shape) if i != op.axis
        ]:
            raise ModelError(f"{tensor.name}: {tensor.shape} does not fit {output.shape}")
    if sum(tensor.shape[op.axis] for tensor in inputs) != output.shape[op.axis]:
        raise ModelError(f"{output.name}: {output.shape} is not the sum along axis {op.axis}")


def _check_reshape(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    _check_activations(op, inputs, 1)
    _check_same_scale(inputs[0], output)
    _check_output_shape(output, tuple(op.new_shape))
    if np.prod(inputs[0].shape) != np.prod(output.shape):
        raise ModelError(f"{output.name}: {inputs[0].shape} cannot become {output.shape}")


def _check_logistic(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> None:
    _check_activations(op, inputs, 1)
    _check_end(output, inputs[0].shape, MASK_SCALE, MASK_ZERO_POINT)


_OP_CHECKS: dict[str, Callable[[QOp, Sequence[QTensor], QTensor], None]] = {
    "conv": _check_filter,
    "depthwise": _check_filter,
    "add": _check_add,
    "concat": _check_concat,
    "reshape": _check_reshape,
    "logistic": _check_logistic,
}
