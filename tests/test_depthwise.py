"""Training's depthwise convolution: what it puts out, and the gradient that is written by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="keras is not installed: pip install 'edgesep[export]'")

CASES = [  # batch, frames and bands put out, channels, (frames, dilation, bands) of the taps
    (1, 7, 5, 3, (1, 1, 3)),
    (4, 9, 1, 6, (3, 4, 1)),
    (6, 5, 4, 2, (3, 1, 2)),
    (16, 3, 2, 4, (2, 2, 3)),
]


@pytest.fixture(params=CASES, ids=str)
def parts(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Return padded input, kernel, what comes back from the output, and the taps."""
    batch, frames, bands, channels, taps = request.param
    rng = np.random.default_rng(batch)
    past = (taps[0] - 1) * taps[1]
    x = rng.standard_normal((batch, frames + past, bands + taps[2] - 1, channels))
    kernel = rng.standard_normal((taps[0] * taps[2], channels))
    dy = rng.standard_normal((batch, frames, bands, channels))
    return x.astype(np.float32), kernel.astype(np.float32), dy.astype(np.float32), taps


def expected(
    x: np.ndarray, kernel: np.ndarray, dy: np.ndarray, taps: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return output and gradients of input and kernel, tap by tap."""
    y, dx, dkernel = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(kernel)
    _, frames, bands, _ = dy.shape
    for i in range(taps[0]):
        for j in range(taps[2]):
            tap = i * taps[2] + j
            seen = np.s_[:, i * taps[1] : i * taps[1] + frames, j : j + bands]
            y += x[seen] * kernel[tap]
            dx[seen] += dy * kernel[tap]
            dkernel[tap] = (x[seen] * dy).sum(axis=(0, 1, 2))
    return y, dx, dkernel


def test_output_and_gradients_are_those_of_its_definition(parts: tuple) -> None:
    jax = pytest.importorskip("jax", reason="gradients are taken with JAX: pip install jax")
    from export.depthwise import Taps, depthwise

    x, kernel, dy, taps = parts
    y, back = jax.vjp(lambda x, kernel: depthwise(x, kernel, Taps(*taps)), x, kernel)
    for ours, right in zip((y, *back(dy)), expected(x, kernel, dy, taps), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)
