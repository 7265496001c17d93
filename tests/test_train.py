"""The training loop: what a run leaves must not depend on how it was cut into pieces."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

import export.train as training
from edgesep.errors import ModelError, SettingsError
from export.convert import load_weights
from export.distill import load_teacher, set_folded
from export.feed import Source, as_floats, make_batch
from export.float_model import float_mask
from export.loss_weights import TeacherTerm
from export.recipe import Recipe, load_recipe
from export.train import averaged, compiled_network, load_checkpoint, train
from export.train_log import read_log
from tests.helpers import random_weights
from tests.training_jobs import LARGER, tiny_recipe, tiny_source, write_recipe

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
    return tiny_recipe(steps=24, epoch_steps=24, learning_rate=0.03)


@pytest.fixture(scope="module")
def whole(
    recipe: Recipe, sources: dict[str, Source], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a run of one epoch."""
    return train(recipe, sources, tmp_path_factory.mktemp("whole"), 0).parent


def assert_same(ours: Path, theirs: Path) -> None:
    one, other = (load_weights(folder / "weights.npz") for folder in (ours, theirs))
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key], err_msg=key)


def test_epochs_do_not_change_what_is_learnt(
    recipe: Recipe, sources: dict[str, Source], whole: Path, tmp_path: Path
) -> None:
    """Keras's `fit` puts averages in the place of weights when it ends: not here."""
    short = replace(recipe, training=replace(recipe.training, epoch_steps=16))
    assert_same(train(short, sources, tmp_path, 0).parent, whole)
    assert [row.step for row in read_log(tmp_path / "log.csv")] == [16, 24]


def test_live_weights_are_kept_and_averages_written(
    recipe: Recipe, sources: dict[str, Source], whole: Path
) -> None:
    import keras

    from export.network import folded_weights

    keras.utils.set_random_seed(recipe.training.seed)
    plain, _ = compiled_network(recipe, training._optimizer(recipe))
    mixer = sources["train"].mixer(recipe)
    for step in range(24):
        plain.train_on_batch(*as_floats(*make_batch(mixer, recipe, step)))
    model, _ = compiled_network(recipe, training._optimizer(recipe))
    assert load_checkpoint(model, whole) == 24
    for live, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(live, expected, atol=1e-5)
    written, graph = load_weights(whole / "weights.npz"), recipe.graph()
    kernel = "logits.pw/kernel"
    assert np.abs(written[kernel] - folded_weights(model, graph)[kernel]).max() > 1e-3
    with averaged(model):
        for key, values in folded_weights(model, graph).items():
            np.testing.assert_array_equal(values, written[key], err_msg=key)


def test_a_run_that_is_stopped_amid_an_epoch_goes_on_bit_for_bit(
    recipe: Recipe,
    sources: dict[str, Source],
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = training.batches

    def then_stop(*args: object) -> Iterator[object]:
        for number, batch in enumerate(real(*args)):  # type: ignore[arg-type]
            if number == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(training, "batches", then_stop)
        train(recipe, sources, tmp_path, 0)
    assert stop.value.code == 128 + signal.SIGTERM
    assert "stopped after step 3: the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "log.csv").exists()
    assert_same(train(recipe, sources, tmp_path, 0).parent, whole)
    assert "going on after step 3" in capsys.readouterr().out


def test_a_student_learns_from_its_teacher(
    recipe: Recipe,
    sources: dict[str, Source],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A teacher lets all sound through: so does its student, and not one without a teacher."""
    import keras

    monkeypatch.chdir(tmp_path)
    lenient = replace(recipe, name="lenient", network=LARGER)
    weights = random_weights(lenient.graph())
    weights["logits.pw/kernel"] = np.zeros_like(weights["logits.pw/kernel"])
    weights["logits.pw/bias"] = np.full_like(weights["logits.pw/bias"], 6.0)
    (tmp_path / "build/lenient").mkdir(parents=True)
    np.savez(tmp_path / "build/lenient/weights.npz", **weights)
    teacher = TeacherTerm(str(write_recipe(lenient, tmp_path / "lenient.yaml")), weight=20.0)
    train(replace(recipe, teacher=teacher), sources, tmp_path / "out", 0)
    features = as_floats(*make_batch(sources["dev"].mixer(recipe), recipe, 1000))[0]
    model, _ = compiled_network(recipe, training._optimizer(recipe))
    mean_mask = {}
    for folder in (tmp_path / "out", whole):
        load_checkpoint(model, folder)
        mean_mask[folder] = np.mean(
            keras.ops.convert_to_numpy(model(features, training=True))  # few steps: not averages
        )
    assert mean_mask[tmp_path / "out"] > mean_mask[whole] + 0.1, mean_mask


def test_a_teacher_computes_what_its_weights_say(recipe: Recipe) -> None:
    import keras

    from export.network import build_network

    graph, frames = replace(recipe, network=LARGER).graph(), 20
    weights, model = random_weights(graph), build_network(graph, frames)
    set_folded(model, graph, weights)
    features = np.random.default_rng(0).normal(0, 1, (frames, 128, 2)).astype(np.float32)
    mask = keras.ops.convert_to_numpy(model(features[None], training=False))[0]
    np.testing.assert_allclose(mask, float_mask(graph, weights, features), atol=1e-4)


def test_a_teacher_that_hears_otherwise_or_has_no_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    student = replace(load_recipe("small-8ms"), teacher=TeacherTerm("base-16ms"))
    with pytest.raises(SettingsError, match="teacher base-16ms has hop_samples 128, small-8ms has"):
        load_teacher(student)
    recipe = replace(tiny_recipe(), name="untrained")
    path = write_recipe(recipe, tmp_path / "untrained.yaml")
    with pytest.raises(ModelError, match="untrained"):
        load_teacher(replace(recipe, teacher=TeacherTerm(str(path))))
    assert load_teacher(recipe) is None


def test_half_as_many_bits_leave_mask_and_weights_whole(recipe: Recipe) -> None:
    import keras

    masks = []
    features = np.random.default_rng(0).normal(0, 1, (1, recipe.clip_frames, 128, 2))
    for bfloat16 in (False, True):
        keras.utils.set_random_seed(1)
        settings = replace(recipe.training, bfloat16=bfloat16)
        model, _ = compiled_network(replace(recipe, training=settings), "adam")
        assert {str(weight.dtype) for weight in model.weights} == {"float32"}
        mask = model(features.astype(np.float32))
        assert keras.backend.standardize_dtype(mask.dtype) == "float32"
        masks.append(keras.ops.convert_to_numpy(mask))
    assert 1e-5 < np.abs(masks[0] - masks[1]).max() < 0.05
