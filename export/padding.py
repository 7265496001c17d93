"""TensorFlow's SAME padding, in one place for training, float and int8."""

from __future__ import annotations


def same_padding(bands: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding (before, after) along the bands."""
    out = -(-bands // stride)
    total = max((out - 1) * stride + kernel - bands, 0)
    return total // 2, total - total // 2
