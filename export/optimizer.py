"""The optimizer: AdamW, but with orthogonal steps for the kernels that are matrices (Muon).

Adam's step for a matrix is ruled by the few directions in which gradients are large. Muon
(K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) takes the
orthogonal matrix next to the momentum instead, so that all directions learn at one pace; its size
follows J. Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982. Biases, normalisation,
depthwise kernels and the last layer keep Adam's step. What it brings: decision 0027.
"""

from __future__ import annotations

from math import prod
from typing import Any

import keras
from keras import ops

MOMENTUM = 0.95
STEP_RMS = 0.1  # in learning rates; Adam's is 0.2 (Liu et al.), half of it learned more here
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steep at 0, and within 0.7 to 1.2 after five
LAST_LAYER = "logits"


class Optimizer(keras.optimizers.AdamW):
    """AdamW for vectors and depthwise kernels, Muon for convolutions (frames, bands, in, out).

    Keeps the live weights where `fit` would put their average, at the end of every call.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights alone: `train.averaged` asks for the average where it is wanted."""

    def build(self, var_list: Any) -> None:
        """Make room for momentums, and note the matrices while variables have their paths."""
        super().build(var_list)
        self.matrices = {self._get_variable_index(v) for v in var_list if is_matrix(v)}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        index = self._get_variable_index(variable)
        if index not in self.matrices:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[index]
        self.assign(momentum, MOMENTUM * momentum + gradient)
        ahead = gradient + MOMENTUM * momentum  # Nesterov's
        rows, columns = prod(variable.shape[:-1]), variable.shape[-1]
        heading = orthogonal(ops.reshape(ahead, (rows, columns)))
        size = STEP_RMS * max(rows, columns) ** 0.5 * ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, size * ops.reshape(heading, variable.shape))


def is_matrix(variable: Any) -> bool:
    """True for the kernels of convolutions over channels, the last layer's excepted."""
    return len(variable.shape) == 4 and LAST_LAYER not in variable.path


def orthogonal(matrix: Any) -> Any:
    """Return about the orthogonal matrix (singular values 0.7 to 1.2) nearest to (rows, columns).

    By Newton and Schulz's iteration, with matrix products alone; a matrix of zeros stays one.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-12)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
