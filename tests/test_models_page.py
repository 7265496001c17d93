"""MODELS.md says what the shipped cards say; the float path is the device's path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesep.isolator import Isolator, Settings
from edgesep.models import find_model, list_models
from export.cli import main
from export.convert import load_weights
from export.float_path import isolate_float
from export.models_page import page
from export.recipe import load_recipe
from tests.signals import speech_like

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_cards_say() -> None:
    written = (ROOT / "MODELS.md").read_text(encoding="utf-8")
    again = "run `python -m export card --page`"
    assert written == page(find_model(name) for name in list_models()), again


def test_every_shipped_model_is_on_the_page_with_its_scores() -> None:
    text = page(find_model(name) for name in list_models())
    for name in list_models():
        assert f"| {name} | int8 |" in text and f"| {name} | float |" in text


def test_card_without_a_model_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card"]) == 1
    assert "name a model, or give --page" in capsys.readouterr().err


@pytest.mark.parametrize("model", list_models())
def test_int8_stays_close_to_the_float_path(model: str) -> None:
    recipe = load_recipe(model)
    weights = load_weights(ROOT / "export" / "weights" / f"{model}.npz")
    samples = speech_like(16000 * 3)
    wanted = isolate_float(recipe.graph(), weights, recipe.frame.contract(), samples)
    assert wanted.shape == samples.shape and wanted.any()
    isolator = Isolator(model, Settings(engine="exact"))
    hop, delay = isolator.hop_samples, isolator.delay_samples
    padded = np.concatenate([samples, np.zeros(delay + hop, np.int16)])
    count = (len(samples) + delay + hop - 1) // hop
    hops = [isolator.process(padded[i * hop : (i + 1) * hop]) for i in range(count)]
    ours = np.concatenate(hops)[delay : delay + len(samples)].astype(float)
    difference = ours - wanted
    assert np.sum(difference**2) < 0.01 * np.sum(wanted.astype(float) ** 2)  # 20 dB below
