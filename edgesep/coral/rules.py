"""What the Edge TPU's compiler publishes about the operations that it maps, one rule each.

Sources, read in November 2026: Google's page "TensorFlow models on the Edge TPU" (the overview, and
the table of supported operations), and the same table in the documentation of Axis' ARTPEC-7, whose
accelerator is an Edge TPU. Rules that are not `confirmed` could be read in neither; they are from
what users reported of the compiler. The compiler itself has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from edgesep.coral.operations import EDGETPU_CUSTOM_OP, Operation, Tensor

__all__ = ["RULES", "Breach", "Rule", "find_breach"]

SOFTMAX_MOST = 16_000
MEAN_CHANNELS = 4
ON_CHIP_AXES = 3
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"


@dataclass(frozen=True)
class Breach:
    """What keeps an operation from being mapped."""

    tensor: str
    """Name of the tensor it is about."""
    reason: str


@dataclass(frozen=True)
class Rule:
    """The rule of one kind of operation, beyond what holds for all."""

    limits: str = ""
    """The limits in words; empty when there are none."""
    check: Callable[[Operation], Breach | None] = lambda _: None
    confirmed: bool = True
    """False: not read in Google's documents."""
    may_not: str = ""
    """A limit for which no number is published, so that nothing can check it."""


def find_breach(operation: Operation) -> Breach | None:
    """Return what stops the operation by the published rules, or None: it should be mapped."""
    output = operation.outputs[0].name if operation.outputs else f"operation {operation.index}"
    if operation.kind == EDGETPU_CUSTOM_OP:
        return Breach(output, "this model is compiled for the Edge TPU already")
    rule = RULES.get(operation.kind)
    if rule is None:
        return Breach(output, f"the compiler's table has no {operation.kind}")
    if not operation.outputs:
        return Breach(output, "makes nothing")
    return _check_tensors(operation) or rule.check(operation)


# --- what holds for all ----------------------------------------------------------------------


def _check_tensors(operation: Operation) -> Breach | None:
    inputs = [tensor for tensor in operation.inputs if tensor is not None]
    for tensor in inputs:
        if tensor.is_constant and tensor.dtype in ("FLOAT32", "FLOAT16", "INT16", "INT64"):
            return Breach(tensor.name, f"is {tensor.dtype}: constants must be 8-bit or INT32")
    is_lstm = operation.kind == LSTM  # the one kind whose variables, of 16 bits, are its own
    for tensor in (*inputs, *operation.outputs):
        if tensor.is_constant or (is_lstm and tensor.is_variable):
            continue
        breach = _check_activation(tensor)
        if breach:
            return breach
    return None


def _check_activation(tensor: Tensor) -> Breach | None:
    if tensor.dtype not in ("INT8", "UINT8"):
        return Breach(tensor.name, f"is {tensor.dtype}: only INT8 and UINT8 are mapped")
    if not tensor.is_quantized:
        return Breach(tensor.name, "has no quantization parameters")
    if tensor.is_variable:
        return Breach(tensor.name, "is a variable: make states inputs and outputs")
    if any(length < 1 for length in tensor.shape):
        return Breach(tensor.name, f"has shape {tensor.shape}: sizes must be fixed")
    if any(axis >= ON_CHIP_AXES for axis in tensor.long_axes()):
        return Breach(
            tensor.name,
            f"has shape {tensor.shape}: only the {ON_CHIP_AXES} innermost axes may exceed 1",
        )
    return None


# --- the rules of single kinds ------------------------------------------------------------------


def _input(operation: Operation, number: int) -> Tensor | None:
    return operation.inputs[number] if number < len(operation.inputs) else None


def _need_constants(operation: Operation, numbers: Iterable[int]) -> Breach | None:
    """Refuse inputs that are computed at run time; absent ones are optional."""
    for number in numbers:
        tensor = _input(operation, number)
        if tensor is not None and not tensor.is_constant:
            return Breach(tensor.name, "is not constant: weights, biases and axes must be")
    return None


def _no_activation(operation: Operation, field: int) -> Breach | None:
    activation = operation.option(field, "b")
    if activation == 0:
        return None
    return Breach(operation.outputs[0].name, f"has a fused activation (number {activation})")


def _filter(operation: Operation) -> Breach | None:
    width, height = (4, 5) if operation.kind == "CONV_2D" else (5, 6)
    dilations = operation.option(width, "i", 1), operation.option(height, "i", 1)
    if dilations[0] != dilations[1]:
        return Breach(
            operation.outputs[0].name,
            f"is dilated by {dilations[0]} in x and {dilations[1]} in y: they must be equal",
        )
    return _need_constants(operation, (1, 2))


def _transpose_conv(operation: Operation) -> Breach | None:
    return _need_constants(operation, (0, 1, 3))


def _pool(operation: Operation) -> Breach | None:
    return _no_activation(operation, 5)


def _concatenation(operation: Operation) -> Breach | None:
    breach = _no_activation(operation, 1)
    for tensor in operation.inputs:
        if breach or tensor is None or not tensor.is_constant:
            continue
        if len(operation.inputs) != 2:
            breach = Breach(tensor.name, "is constant: then there must be two inputs, no more")
        elif tensor.data is None or np.any(tensor.data != tensor.zero_point):
            breach = Breach(tensor.name, "is constant: then it must be all zero")
    return breach


def _fully_connected(operation: Operation) -> Breach | None:
    if operation.option(1, "b") != 0:
        return Breach(operation.outputs[0].name, "its weights are not in the default format")
    if any(axis > 0 for axis in operation.outputs[0].long_axes()):
        shape = operation.outputs[0].shape
        return Breach(operation.outputs[0].name, f"has shape {shape}: it must be one-dimensional")
    return _need_constants(operation, (1, 2))


def _reduction(operation: Operation) -> Breach | None:
    breach = _need_constants(operation, (1,))
    x, axes = _input(operation, 0), _input(operation, 1)
    if breach or x is None or not x.shape or axes is None or axes.data is None:
        return breach
    rank = len(x.shape)
    reduced = {int(axis) % rank for axis in axes.data}
    if rank == 4 and 0 in reduced:
        return Breach(x.name, "is reduced along the batch")
    if operation.kind == "MEAN" and rank - 1 in reduced and x.shape[-1] % MEAN_CHANNELS:
        return Breach(
            x.name, f"is averaged over {x.shape[-1]} channels: a multiple of {MEAN_CHANNELS} maps"
        )
    return None


def _pack(operation: Operation) -> Breach | None:
    rank = len(operation.outputs[0].shape)
    if rank == 4 and operation.option(1, "i") % rank == 0:
        return Breach(operation.outputs[0].name, "is packed along the batch")
    return None


def _pad(operation: Operation) -> Breach | None:
    breach = _need_constants(operation, (1,))
    x, paddings = _input(operation, 0), _input(operation, 1)
    if breach or x is None or paddings is None or paddings.data is None:
        return breach
    if len(x.shape) == 4 and np.any(paddings.data[:2]):
        return Breach(x.name, "is padded along the batch")
    return None


def _prelu(operation: Operation) -> Breach | None:
    alpha = _input(operation, 1)
    if alpha is not None and any(axis > 0 for axis in alpha.long_axes()):
        return Breach(alpha.name, f"has shape {alpha.shape}: alpha must be one-dimensional")
    return _need_constants(operation, (1,))


def _softmax(operation: Operation) -> Breach | None:
    x = _input(operation, 0)
    if x is None:
        return None
    if any(axis > 0 for axis in x.long_axes()):
        return Breach(x.name, f"has shape {x.shape}: it must be one-dimensional")
    if x.shape and x.shape[-1] > SOFTMAX_MOST:
        return Breach(x.name, f"has {x.shape[-1]} values, more than {SOFTMAX_MOST}")
    return None


def _split(operation: Operation) -> Breach | None:
    breach = _need_constants(operation, (0,))
    axis, x = _input(operation, 0), _input(operation, 1)
    if breach or axis is None or axis.data is None or x is None:
        return breach
    rank = len(x.shape)
    if rank == 4 and int(axis.data[0]) % rank == 0:
        return Breach(x.name, "is split along the batch")
    return None


def _strided_slice(operation: Operation) -> Breach | None:
    name = operation.outputs[0].name
    for field, mask in ((2, "an ellipsis"), (3, "a new-axis")):
        if operation.option(field, "i"):
            return Breach(name, f"is sliced with {mask} mask")
    breach = _need_constants(operation, (1, 2, 3))
    strides = _input(operation, 3)
    if breach or strides is None or strides.data is None or np.all(strides.data == 1):
        return breach
    return Breach(name, f"is sliced with strides {strides.data.tolist()}: only 1 maps")


_RESIZE = Rule("input and output three-dimensional", may_not="some sizes, to keep precision")
_REDUCE = Rule("not along the batch", _reduction)

RULES: dict[str, Rule] = {
    "ADD": Rule(),
    "AVERAGE_POOL_2D": Rule("no fused activation", _pool),
    "CONCATENATION": Rule(
        "no fused activation; a constant only as one of two inputs, and all zero", _concatenation
    ),
    "CONV_2D": Rule("the same dilation in x and y", _filter),
    "DEPTHWISE_CONV_2D": Rule("the same dilation in x and y", _filter),
    "EXPAND_DIMS": Rule(),
    "FULLY_CONNECTED": Rule("default weights format, output one-dimensional", _fully_connected),
    "L2_NORMALIZATION": Rule(),
    "LOGISTIC": Rule(),
    "MAXIMUM": Rule(),
    "MAX_POOL_2D": Rule("no fused activation", _pool),
    "MEAN": Rule("not along the batch; along channels only multiples of 4", _reduction),
    "MINIMUM": Rule(),
    "MUL": Rule(),
    "PACK": Rule("not along the batch", _pack),
    "PAD": Rule("not along the batch", _pad),
    "PRELU": Rule("alpha one-dimensional", _prelu),
    "QUANTIZE": Rule(),
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "RELU": Rule(),
    "RELU6": Rule(),
    "RELU_N1_TO_1": Rule(),
    "RESHAPE": Rule(may_not="some large tensors"),
    "RESIZE_BILINEAR": _RESIZE,
    "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "RSQRT": Rule(confirmed=False),
    "SLICE": Rule(confirmed=False),
    "SOFTMAX": Rule("one-dimensional, at most 16,000 values", _softmax, confirmed=False),
    "SPACE_TO_DEPTH": Rule(confirmed=False),
    "SPLIT": Rule("not along the batch", _split, confirmed=False),
    "SQUARED_DIFFERENCE": Rule(confirmed=False),
    "SQUEEZE": Rule(confirmed=False),
    "STRIDED_SLICE": Rule(
        "strides 1, no ellipsis or new-axis mask", _strided_slice, confirmed=False
    ),
    "SUB": Rule(),
    "SUM": Rule("not along the batch", _reduction, confirmed=False),
    "TANH": Rule(),
    "TRANSPOSE": Rule(confirmed=False),
    "TRANSPOSE_CONV": Rule("constant weights", _transpose_conv, confirmed=False),
    LSTM: Rule("of LSTMs the only one"),
}
"""By the schema's name of the operation; what is not here is not mapped."""
