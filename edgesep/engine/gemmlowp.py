"""Gemmlowp's fixed-point numbers, one at a time, for the constants of a plan.

What the reference kernels of TensorFlow Lite compute when a model is opened: multipliers of
rescaling steps, and the table of the int8 logistic function.
"""

from __future__ import annotations

import math

__all__ = ["logistic_table", "multiplier_and_shift"]

_MAX = (1 << 31) - 1  # almost one, in Q31


def multiplier_and_shift(factor: float) -> tuple[int, int]:
    """Split a positive factor into multiplier / 2^31 / 2^shift; the multiplier is 2^30 .. 2^31 - 1.

    Factors below 2^-32 give (0, 0).
    """
    fraction, exponent = math.frexp(factor)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return (0, 0) if exponent < -31 else (multiplier, -exponent)


def logistic_table(scale: float, zero_point: int) -> list[int]:
    """Return the logistic function of every int8 (-128 first), at scale 1/256, zero point -128."""
    multiplier, shift = multiplier_and_shift(scale * (1 << 27))  # to Q27: 15 is the largest input
    radius = math.floor(math.ldexp(15 << 27, shift))
    return [_logistic(x - zero_point, multiplier, shift, radius) for x in range(-128, 128)]


def _logistic(x: int, multiplier: int, shift: int, radius: int) -> int:
    if x <= -radius:
        return -128
    if x >= radius:
        return 127
    q27 = _shift_right(_multiply(x << max(-shift, 0), multiplier), max(shift, 0))
    q31 = _one_over_one_plus(_exp(-abs(q27)))
    if q27 <= 0:
        q31 = 1 << 30 if q27 == 0 else _MAX - q31
    return min(_shift_right(q31, 23) - 128, 127)


def _multiply(a: int, b: int) -> int:
    """Return 2ab / 2^32 rounded to nearest: the product of Q31 numbers."""
    return min((a * b + (1 << 30)) >> 31, _MAX)


def _shift_right(x: int, shift: int) -> int:
    """Return x / 2^shift rounded to nearest, ties away from zero."""
    half = (1 << shift) >> 1
    return (x + half) >> shift if x >= 0 else -((-x + half) >> shift)


def _saturate(x: int) -> int:
    return max(-_MAX - 1, min(x, _MAX))


_EXP_OF_MINUS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401)
"""exp(-2^k), k = -2 .. 3, Q31."""


def _exp(a: int) -> int:
    """Return exp(a) in Q31 of a <= 0 in Q27."""
    if a == 0:
        return _MAX
    quarter = 1 << 25
    rest = (a & (quarter - 1)) - quarter  # -1/4 .. 0
    result = _exp_of_quarter(_saturate(rest << 4))
    for bit, factor in enumerate(_EXP_OF_MINUS, start=25):
        if (rest - a) >> bit & 1:
            result = _multiply(result, factor)
    return result


def _exp_of_quarter(a: int) -> int:
    """Return exp(a) for a from -1/4 to 0, both in Q31: four terms of the series about -1/8."""
    x = a + (1 << 28)
    square = _multiply(x, x)
    cube = _multiply(square, x)
    fourth = _shift_right(_multiply(square, square), 2)
    third = _multiply(fourth + cube, 715827883) + square
    return 1895147668 + _multiply(x + _shift_right(third, 1), 1895147668)


def _one_over_one_plus(a: int) -> int:
    """Return 1 / (1 + a) in Q31 for a from 0 to 1 in Q31: three steps of Newton's iteration."""
    half = (a + _MAX + 1) // 2
    x = 1515870810 + _multiply(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - _multiply(half, x)
        x += _saturate(_multiply(x, error) << 2)
    return _saturate(x << 1)
