"""`export finetune` as a whole, on a tiny network: trained, stopped, exported or not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

import export.adapt as adapting
import export.finetune as finetuning
import export.score as scoring
from edgesep.card import read_card
from edgesep.errors import ModelError
from edgesep.isolator import Isolator
from export.adapt import Budget, Progress, adapt
from export.cli import main
from export.convert import convert, load_weights
from export.feed import Source
from export.finetune import Base, released
from export.recipe import Recipe, load_recipe
from export.recordings import read_recordings, split_in_time
from export.voices import read_share
from tests.finetune_jobs import write_audio
from tests.helpers import random_weights

TINY = {
    "name": "tiny",
    "network": {"encoder": [4, 6, 8, 10], "context": 8, "dilations": [2], "first_frames": 2},
    "training": {"batch": 2, "clip_s": 0.6},
}
STEPS, STOP_AFTER = 6, 3

# find_spec: where slow tests are left out, Keras is not imported, which takes seconds.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("keras") is None, reason="training needs Keras: pip install -e .[export]"
    ),
    pytest.mark.skipif(
        find_spec("pesq") is None, reason="finetune measures with pesq: pip install -e .[score]"
    ),
]


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audio")
    write_audio(root)
    return root


@pytest.fixture(scope="module", autouse=True)
def short_clips() -> Iterator[None]:
    """PESQ of 3 s says as much about the command as PESQ of 6 s, in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "CLIP_S", 3.0)
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return load_recipe(str(path))


@pytest.fixture(scope="module")
def base(recipe: Recipe, audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A model of random weights that stands for a released one."""
    folder = tmp_path_factory.mktemp("base")
    weights = random_weights(recipe.graph())
    np.savez(folder / "tiny.npz", **weights)
    speech, noise = read_share(audio / "speech", "speech"), read_recordings(audio / "noise")
    source = Source(folder / "speech.npz", folder / "noise.npz")
    speech.train.save(source.speech)
    split_in_time(noise).train.save(source.noise)
    path = convert(recipe, folder / "tiny.npz", source, folder, {})
    return Base(recipe, weights, path, read_card(path.with_suffix(".json")))


@pytest.fixture
def command(base: Base, audio: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line but for where it writes; it finds the random model under any name."""
    monkeypatch.setattr(finetuning, "released", lambda name: base)
    folders = ["--noise", str(audio / "noise"), "--speech", str(audio / "speech")]
    return ["finetune", "tiny", *folders, "--clips", "2", "--workers", "0"]


@pytest.fixture(scope="module")
def run(
    base: Base, audio: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run ended by Ctrl-C and then gone on with: its folder, and the report after Ctrl-C."""
    out = tmp_path_factory.mktemp("out")
    folders = ["--noise", str(audio / "noise"), "--speech", str(audio / "speech")]
    arguments = ["finetune", "tiny", *folders, "--clips", "2", "--workers", "0"]
    arguments += ["--steps", str(STEPS), "--keep-anyway", "-o", str(out), "--name", "mine"]
    real = adapting.batches

    def interrupting(source: Source, recipe: Recipe, first: int, workers: int) -> Iterator[Any]:
        for number, batch in enumerate(real(source, recipe, first, workers), 1):
            if number == STOP_AFTER:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "released", lambda name: base)
        patch.setattr(adapting, "batches", interrupting)
        assert main(arguments) == 0
        stopped = json.loads((out / "mine.report.json").read_text())
        patch.setattr(adapting, "batches", real)
        assert main(arguments) == 0
    return out, stopped


class TestRun:
    def test_ctrl_c_exports_what_was_reached(self, run: tuple[Path, dict[str, Any]]) -> None:
        stopped = run[1]["training"]
        assert stopped["step"] == STOP_AFTER and stopped["interrupted"]
        assert run[1]["exported"]

    def test_the_same_command_goes_on_to_the_end(self, run: tuple[Path, dict[str, Any]]) -> None:
        out = run[0]
        report = json.loads((out / "mine.report.json").read_text())
        assert report["training"]["step"] == STEPS and not report["training"]["interrupted"]
        assert report["figures"]["own_pesq"]["clips"] == 2
        assert sorted(path.name for path in out.iterdir()) == [
            "mine.json",
            "mine.npz",
            "mine.report.json",
            "mine.tflite",
        ]

    def test_it_ends_where_an_uninterrupted_training_ends(
        self, run: tuple[Path, dict[str, Any]], base: Base, audio: Path, tmp_path: Path
    ) -> None:
        sound = finetuning.Sound(
            split_in_time(read_recordings(audio / "noise")), read_share(audio / "speech", "speech")
        )
        plan = finetuning.Plan("mine")
        source = finetuning._source(sound, plan, tmp_path)
        recipe = finetuning._adapted_recipe(base, plan)
        budget = Budget(1.0, plan.learning_rate, STEPS)
        whole, _ = adapt(recipe, base.weights, source, tmp_path, budget, workers=0)
        resumed = load_weights(run[0] / "mine.npz")
        assert any(np.abs(whole[key] - base.weights[key]).max() > 1e-6 for key in whole)
        for key, values in whole.items():
            np.testing.assert_allclose(resumed[key], values, atol=1e-5, err_msg=key)

    def test_the_model_runs_and_says_where_it_comes_from(
        self, run: tuple[Path, dict[str, Any]], base: Base
    ) -> None:
        path = run[0] / "mine.tflite"
        card = read_card(path.with_suffix(".json"))
        assert card.name == "mine" and card.training["from"]["sha256"] == base.card.sha256
        assert card.training["seed"] == 1 and card.training["minutes"] >= 0.0
        assert set(card.scores["exact"]) == {"seed", "own noise", "speech at 40 dB"}
        isolator = Isolator(str(path))
        assert not isolator.process(np.zeros(isolator.hop_samples, np.int16)).any()

    def test_another_model_of_that_name_is_not_overwritten(
        self,
        run: tuple[Path, dict[str, Any]],
        command: list[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert main([*command, "--steps", "5", "-o", str(run[0]), "--name", "mine"]) == 1
        assert "there is a model of this name already" in capsys.readouterr().err

    def test_what_is_not_better_is_not_exported(
        self,
        command: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def learn_nothing(recipe: Recipe, weights: Any, *others: Any) -> Any:
            return dict(weights), Progress(step=1)

        monkeypatch.setattr(finetuning, "adapt", learn_nothing)
        assert main([*command, "--steps", "1", "-o", str(tmp_path)]) == 1
        assert "nothing exported" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["tiny-noise.report.json"]
        assert not json.loads((tmp_path / "tiny-noise.report.json").read_text())["exported"]

    def test_bad_arguments_are_one_line(
        self, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for extra, said in (
            (["--speech", ""], "LibriSpeech"),
            (["--learning-rate", "0.0015"], "--learning-rate 0.0015: use a value"),
            (["--minutes", "0"], "--minutes 0: use a value"),
            (["--minutes", "1"], "are left to train: give"),
        ):
            assert main([*command, *extra, "-o", str(tmp_path)]) == 1, extra
            error = capsys.readouterr().err
            assert said in error and error.count("\n") == 1

    def test_only_released_models_can_be_adapted(self) -> None:
        with pytest.raises(ModelError, match="did you mean 'small-16ms'"):
            released("small-16")
        assert released("small-16ms").recipe.name == "small-16ms"
        with pytest.raises(ModelError, match="float weights"):
            released(str(replace(released("small-16ms")).path))
