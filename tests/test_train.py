"""The training loop: what a run leaves must not depend on how it was cut into pieces."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from export.convert import load_weights
from export.feed import Source
from export.recipe import Recipe
from export.train import train
from tests.training_jobs import tiny_recipe, tiny_source

pytestmark = [  # find_spec: where slow tests are left out, Keras is not imported
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("keras") is None, reason="training needs Keras: pip install -e .[export]"
    ),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    source = tiny_source(tmp_path_factory.mktemp("corpus"))
    return {"train": source, "dev": source}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return tiny_recipe()


def test_epochs_do_not_change_what_is_learnt(
    recipe: Recipe, sources: dict[str, Source], tmp_path: Path
) -> None:
    """Keras's `fit` puts averages in the place of weights when it ends: not here."""
    weights = []
    for epoch_steps in (2, 4):
        training = replace(recipe.training, epoch_steps=epoch_steps)
        out = tmp_path / str(epoch_steps)
        weights.append(load_weights(train(replace(recipe, training=training), sources, out, 0)))
    for key, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][key], err_msg=key)
