"""Measure a training step on one processor core: network, loss, and all of it with gradients.

    python benchmarks/training.py [RECIPE ...]

Least of several runs in milliseconds, for a batch of the recipe's clips of noise (the values do not
matter), on JAX; the optimizer, mixing and reading are left out. `of matmul` says how fast the
network's multiplications go, three times those of its output, against one large matrix product's
in the same run: 100% would be a step that does nothing else, and does that as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_enable_fast_math=true --xla_cpu_multi_thread_eigen=false "
    "intra_op_parallelism_threads=1",
)

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep.machine import read_machine
from edgesep.table import print_table
from export.recipe import load_recipe
from export.train import compiled_network

RUNS = 8
PRODUCT = 1024  # rows and columns of the matrices that are known


def least_s(function: Callable[..., Any], *args: Any) -> float:
    """Return the seconds of the fastest of `RUNS` runs, after one that compiles."""
    run = jax.jit(function)
    jax.block_until_ready(run(*args))
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        jax.block_until_ready(run(*args))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def product_macs_per_s() -> float:
    """Return what a product of large matrices reaches."""
    a = jnp.asarray(np.random.default_rng(0).standard_normal((PRODUCT, PRODUCT)), jnp.float32)
    return PRODUCT**3 / least_s(jnp.matmul, a, a)


def measure(name: str, known_macs_per_s: float) -> list[str]:
    """Return the table's row of one recipe."""
    recipe = load_recipe(name)
    model, loss = compiled_network(recipe, "sgd")
    clips, frames, hop = recipe.training.batch, recipe.clip_frames, recipe.frame.hop_samples
    rng = np.random.default_rng(0)
    features = rng.standard_normal((clips, frames, recipe.frame.bands, 2)).astype("float32")
    hops = (0.1 * rng.standard_normal((clips, frames, 2 * hop))).astype("float32")
    trained = [v.value for v in model.trainable_variables]
    other = [v.value for v in model.non_trainable_variables]

    def masks(trained: Any, features: Any) -> tuple[Any, Any]:
        return model.stateless_call(trained, other, features, training=True)

    def step(trained: Any, features: Any, hops: Any) -> Any:
        def objective(trained: Any) -> tuple[Any, Any]:
            mask, state = masks(trained, features)
            return loss(hops, mask), state

        return jax.value_and_grad(objective, has_aux=True)(trained)

    network_s = least_s(masks, trained, features)
    loss_s = least_s(jax.value_and_grad(lambda m, h: loss(h, m)), features[..., 0], hops)
    step_s = least_s(step, trained, features, hops)
    macs = 3.0 * recipe.graph().macs_per_frame() * clips * frames
    sound_s = clips * frames * hop / 16000
    return [name, f"{network_s * 1e3:.0f}", f"{loss_s * 1e3:.0f}", f"{step_s * 1e3:.0f}",
            f"{sound_s / step_s:.0f}", f"{macs / step_s / known_macs_per_s:.0%}"]  # fmt: skip


def main() -> None:
    """Print a row for each recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE",
                        default=["nano-16ms", "small-8ms", "small-16ms", "base-16ms"])  # fmt: skip
    recipes = parser.parse_args().recipes
    known = product_macs_per_s()
    machine = read_machine()
    print(
        f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, JAX {jax.__version__}; "
        f"one thread; matrix product of {PRODUCT}: {known / 1e9:.1f} GMAC/s"
    )
    columns = ["recipe", "network, ms", "loss with gradient, ms", "step, ms",
               "sound a second, s", "of matmul"]  # fmt: skip
    print_table(columns, [measure(name, known) for name in recipes])


if __name__ == "__main__":
    main()
