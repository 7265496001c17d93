"""MODELS.md says what the shipped cards say; the float path is the device's path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def test_int8_is_held_against_float_of_the_same_clips() -> None:
    path, card = find_model(list_models()[0])
    exact: dict[str, Any] = {"seed": 1, "mixes": {"si_sdr_db_out": 9.7, "pesq_out": 1.49}}
    figures = ("si_sdri_db", "pesq_noisy", "estoi_noisy", "estoi_out", "worse_share")
    exact["mixes"] |= dict.fromkeys(figures, 0.0)
    exact["speech at 40 dB"] = {"si_sdr_db_out": 30.0, "pesq_noisy": 3.9, "pesq_out": 3.9}
    exact["noise alone"] = {"attenuation_db": 20.0}
    kept = {"onsets_kept_db": -1.5, "fricatives_kept_db": -2.5}
    theirs = {**exact, "mixes": exact["mixes"] | {"si_sdr_db_out": 9.8, "pesq_out": 1.5} | kept}
    text = page([(path, replace(card, scores={"exact": exact, "float": theirs}))])
    assert "| 0.10 dB, 0.010 |  |" in text and "|  | -1.5 dB, -2.5 dB |" in text
    text = page([(path, replace(card, scores={"exact": exact, "float": {**theirs, "seed": 2}}))])
    assert "0.10 dB" not in text


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
