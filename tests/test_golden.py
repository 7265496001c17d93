"""The bits of the shipped models, pinned: any board can be held against these hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import soundfile

from edgesep.isolator import Isolator, Settings
from edgesep.models import list_models

GOLDEN = Path(__file__).with_name("golden.json")
SAMPLE = Path(__file__).parents[1] / "demo" / "noisy.flac"


def output_hash(model: str, settings: Settings) -> str:
    """Return the SHA-256 of the int16 output, hop by hop, for whole hops of the demo's sample."""
    samples, _ = soundfile.read(SAMPLE, dtype="int16")
    isolator = Isolator(model, settings)
    hop = isolator.hop_samples
    digest = hashlib.sha256()
    for start in range(0, len(samples) - hop + 1, hop):
        digest.update(isolator.process(samples[start : start + hop]).astype("<i2").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("model", list_models())
def test_exact_output_is_pinned(model: str) -> None:
    pinned = json.loads(GOLDEN.read_text())
    assert output_hash(model, Settings(engine="exact")) == pinned.get(model)


def test_every_pinned_model_is_shipped() -> None:
    assert sorted(json.loads(GOLDEN.read_text())) == list(list_models())
