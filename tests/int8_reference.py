"""The int8 arithmetic of the model, in plain NumPy integers: gemmlowp's double rounding.

An independent truth for LiteRT's reference kernels. It follows the published formulas
(gemmlowp fixedpoint.h, TFLite's quantization specification), one whole array at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from export.qgraph import QGraph, QOp, QTensor

Int64 = NDArray[np.int64]
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
ONE_Q31 = INT32_MAX


def run(graph: QGraph, inputs: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
    """Run the graph once; return all its activations by name."""
    tensors = graph.by_name()
    values = dict(inputs)
    for op in graph.ops:
        arguments = [tensors[name] for name in op.inputs]
        arrays = [values[t.name] if t.data is None else t.data for t in arguments]
        values[op.output] = _KINDS[op.kind](op, arguments, arrays, tensors[op.output])
    return values


# --- gemmlowp ------------------------------------------------------------------------------------


def doubling_high_mul(a: Int64, b: Int64 | int) -> Int64:
    """Return the high half of 2ab, rounded to nearest with ties away from zero, saturated."""
    product = a.astype(np.int64) * b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    # C's division rounds towards zero.
    high: Int64 = np.sign(nudged) * (np.abs(nudged) >> 31)
    return np.minimum(high, INT32_MAX)


def rounding_shift_right(x: Int64, shift: Int64 | int) -> Int64:
    """Return x / 2^shift rounded to nearest, ties away from zero."""
    mask = (np.int64(1) << shift) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> shift) + ((x & mask) > threshold)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split a positive factor into a Q31 mantissa in [2^30, 2^31) and an exponent."""
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, exponent = mantissa // 2, exponent + 1
    return (0, 0) if exponent < -31 else (mantissa, exponent)


def multiply(x: Int64, mantissa: Int64 | int, exponent: Int64 | int) -> Int64:
    """Return x * mantissa * 2^(exponent - 31), rounded twice."""
    left, right = np.maximum(exponent, 0), np.maximum(-np.asarray(exponent), 0)
    return rounding_shift_right(doubling_high_mul(x << left, mantissa), right)


def _saturate(x: Int64) -> Int64:
    return np.clip(x, INT32_MIN, INT32_MAX)


def _exp_between_minus_quarter_and_zero(a: Int64) -> Int64:
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4_over_4 = rounding_shift_right(doubling_high_mul(x2, x2), 2)
    third = doubling_high_mul(x4_over_4 + x3, 715827883) + x2
    return 1895147668 + doubling_high_mul(x + rounding_shift_right(third, 1), 1895147668)


def _exp_on_negative(a: Int64) -> Int64:
    """Return exp(a) in Q31 for a <= 0 in Q27."""
    quarter = 1 << 25
    a_mod = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_zero(_saturate(a_mod << 4))
    remainder = a_mod - a
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401)
    for shift, factor in enumerate(factors, start=25):
        result = np.where(remainder & (1 << shift), doubling_high_mul(result, factor), result)
    return np.where(a == 0, ONE_Q31, result)


def _one_over_one_plus(a: Int64) -> Int64:
    """Return 1 / (1 + a) in Q31 for a in [0, 1] in Q31: Newton, three steps."""
    total = a + ONE_Q31
    half = np.sign(total) * ((np.abs(total) + 1) // 2)
    x = 1515870810 + doubling_high_mul(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half, x)
        x = x + _saturate(doubling_high_mul(x, error) << 2)
    return _saturate(x << 1)


def logistic_q31(a: Int64) -> Int64:
    """Return the logistic function in Q31 of a in Q27."""
    positive = _one_over_one_plus(_exp_on_negative(-np.abs(a)))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, ONE_Q31 - positive))


# --- operations ----------------------------------------------------------------------------------


def _clamp(op: QOp, values: Int64, output: QTensor) -> NDArray[np.int8]:
    low = max(-128, output.zero_point) if op.activation == "relu" else -128
    return np.clip(values + output.zero_point, low, 127).astype(np.int8)


def _pad(op: QOp, side: int, kernel: int, stride: int) -> tuple[int, int]:
    if op.padding == "VALID":
        return 0, (side - kernel) // stride + 1
    out = -(-side // stride)
    return max((out - 1) * stride + kernel - side, 0) // 2, out


def _filter(
    op: QOp, tensors: list[QTensor], arrays: list[NDArray[np.int8]], output: QTensor
) -> NDArray[np.int8]:
    (x_tensor, w_tensor, _), (x, weights, bias) = tensors, arrays
    _, height, width, channels = x.shape
    kernel_h, kernel_w = weights.shape[1:3]
    top, out_h = _pad(op, height, kernel_h, op.stride_h)
    left, out_w = _pad(op, width, kernel_w, op.stride_w)
    # Padding holds the zero point, so after its subtraction it is zero.
    padded = np.zeros((height + 2 * kernel_h, width + 2 * kernel_w, channels), np.int64)
    padded[top : top + height, left : left + width] = x[0].astype(np.int64) - x_tensor.zero_point
    sums = np.zeros((out_h, out_w, output.shape[3]), np.int64) + bias
    for i in range(kernel_h):
        for j in range(kernel_w):
            rows = slice(i, i + op.stride_h * (out_h - 1) + 1, op.stride_h)
            columns = slice(j, j + op.stride_w * (out_w - 1) + 1, op.stride_w)
            patch = padded[rows, columns]
            if op.kind == "conv":
                sums += patch @ weights[:, i, j].astype(np.int64).T
            else:
                sums += np.repeat(patch, op.depth_multiplier, axis=2) * weights[0, i, j]
    factors = [
        quantize_multiplier(float(x_tensor.scales[0]) * float(scale) / float(output.scales[0]))
        for scale in w_tensor.scales
    ]
    mantissa, exponent = np.array(factors, np.int64).T
    return _clamp(op, multiply(sums, mantissa, exponent), output)[np.newaxis]


def _add(
    op: QOp, tensors: list[QTensor], arrays: list[NDArray[np.int8]], output: QTensor
) -> NDArray[np.int8]:
    twice = 2.0 * max(float(t.scales[0]) for t in tensors)
    total = np.zeros(output.shape, np.int64)
    for tensor, array in zip(tensors, arrays, strict=True):
        shifted = (array.astype(np.int64) - tensor.zero_point) << 20
        total += multiply(shifted, *quantize_multiplier(float(tensor.scales[0]) / twice))
    factor = quantize_multiplier(twice / ((1 << 20) * float(output.scales[0])))
    return _clamp(op, multiply(total, *factor), output)


def _concat(
    op: QOp, tensors: list[QTensor], arrays: list[NDArray[np.int8]], output: QTensor
) -> NDArray[np.int8]:
    return np.concatenate(arrays, axis=op.axis)


def _reshape(
    op: QOp, tensors: list[QTensor], arrays: list[NDArray[np.int8]], output: QTensor
) -> NDArray[np.int8]:
    return arrays[0].reshape(op.new_shape)


def _logistic(
    op: QOp, tensors: list[QTensor], arrays: list[NDArray[np.int8]], output: QTensor
) -> NDArray[np.int8]:
    mantissa, exponent = quantize_multiplier(float(tensors[0].scales[0]) * (1 << 27))
    radius = math.floor((15 << 27) / 2.0**exponent)
    centred = arrays[0].astype(np.int64) - tensors[0].zero_point
    in_range = np.clip(centred, -radius, radius)
    q31 = logistic_q31(multiply(in_range, mantissa, exponent))
    q8 = np.clip(rounding_shift_right(q31, 23) - 128, -128, 127)
    q8 = np.where(centred <= -radius, -128, np.where(centred >= radius, 127, q8))
    return q8.astype(np.int8)


_KINDS = {
    "conv": _filter,
    "depthwise": _filter,
    "add": _add,
    "concat": _concat,
    "reshape": _reshape,
    "logistic": _logistic,
}
