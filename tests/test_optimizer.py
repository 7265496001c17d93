"""Steps of the optimizer, against NumPy's singular values and Keras' own AdamW."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

pytestmark = [  # find_spec: where slow tests are left out, Keras is not imported
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("keras") is None, reason="training needs Keras: pip install -e .[export]"
    ),
]

RATE = 0.01
SHAPES = {
    "enc1/kernel": (1, 1, 24, 32),
    "squeeze/kernel": (1, 8, 12, 20),
    "ctx0_pw/bias": (20,),
    "ctx0_dw/kernel": (3, 1, 20),
    "logits_pw/kernel": (1, 3, 20, 2),
}


def moved(optimizer, steps: int) -> dict[str, np.ndarray]:
    """Return how `steps` gradients moved variables of SHAPES that begin at zero."""
    import keras

    rng = np.random.default_rng(3)
    variables = {}
    for path, shape in SHAPES.items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            variables[path] = keras.Variable(np.zeros(shape, np.float32), name=name)
    for _ in range(steps):
        gradients = [rng.normal(0, 1, shape).astype(np.float32) for shape in SHAPES.values()]
        optimizer.apply(
            [keras.ops.convert_to_tensor(gradient) for gradient in gradients],
            list(variables.values()),
        )
    return {path: keras.ops.convert_to_numpy(v.value) for path, v in variables.items()}


@pytest.mark.parametrize("shape", [(112, 112), (576, 112), (5, 40), (1, 7)])
def test_all_directions_of_a_matrix_weigh_about_the_same(shape: tuple[int, int]) -> None:
    from keras import ops

    from export.optimizer import orthogonal

    rng = np.random.default_rng(1)
    left, values, right = np.linalg.svd(rng.normal(0, 1, shape), full_matrices=False)
    values = np.geomspace(1.0, 0.05, len(values))
    matrix = (left * values * 1e-4) @ right
    ours = ops.convert_to_numpy(orthogonal(ops.convert_to_tensor(matrix.astype(np.float32))))
    along = left.T @ ours @ right.T  # in the directions of the matrix itself
    assert np.all(np.abs(np.diag(along) - 0.95) < 0.3)
    assert np.abs(along - np.diag(np.diag(along))).max() < 0.01
    zeros = ops.convert_to_numpy(orthogonal(ops.zeros(shape)))
    assert not zeros.any()


def test_a_step_has_its_size_whatever_the_gradients() -> None:
    from export.optimizer import STEP_RMS, Optimizer

    step = moved(Optimizer(RATE, weight_decay=0.0), 1)
    for path in ("enc1/kernel", "squeeze/kernel"):
        rms = float(np.sqrt(np.mean(step[path] ** 2)))
        assert 0.7 < rms / (STEP_RMS * RATE) < 1.2


def test_what_is_no_matrix_moves_as_with_adam() -> None:
    import keras

    from export.optimizer import Optimizer

    ours = moved(Optimizer(RATE, weight_decay=0.0), 5)
    adams = moved(keras.optimizers.AdamW(RATE, weight_decay=0.0), 5)
    for path in ("ctx0_pw/bias", "ctx0_dw/kernel", "logits_pw/kernel"):
        np.testing.assert_allclose(ours[path], adams[path], rtol=1e-5, atol=1e-7)
    assert np.abs(ours["enc1/kernel"] - adams["enc1/kernel"]).max() > RATE


def test_steps_follow_the_momentum() -> None:
    """Three gradients by the definition, with exact singular vectors in place of the iteration."""
    from export.optimizer import MOMENTUM, STEP_RMS, Optimizer

    ours = moved(Optimizer(RATE, weight_decay=0.0), 3)["squeeze/kernel"].reshape(96, 20)
    rng = np.random.default_rng(3)
    momentum, weights = np.zeros((96, 20)), np.zeros((96, 20))
    for _ in range(3):
        gradient = {path: rng.normal(0, 1, shape) for path, shape in SHAPES.items()}[
            "squeeze/kernel"
        ].reshape(96, 20)
        momentum = MOMENTUM * momentum + gradient
        left, _, right = np.linalg.svd(gradient + MOMENTUM * momentum, full_matrices=False)
        weights -= RATE * STEP_RMS * 96**0.5 * left @ right
    cosine = np.sum(ours * weights) / np.linalg.norm(ours) / np.linalg.norm(weights)
    assert cosine > 0.99
