"""A network and sound small enough to train in a test."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import yaml

from export.corpus import RATE_HZ, Corpus
from export.feed import Source
from export.graph import UNetShape
from export.recipe import Recipe, load_recipe

TINY = UNetShape((4,), 4, (1,))
LARGER = UNetShape((6,), 6, (1,))


def tiny_recipe(**training: object) -> Recipe:
    """Return a recipe of four steps on clips of 0.6 s; `training` overrides its keys."""
    recipe = load_recipe("nano-16ms")
    settings = {"steps": 4, "epoch_steps": 2, "batch": 4, "clip_s": 0.6, "warmup_steps": 1}
    settings |= {"learning_rate": 0.01, "ema_momentum": 0.9, "distinct_batches": 0, **training}
    return replace(
        recipe,
        name="tiny",
        network=TINY,
        training=replace(recipe.training, **settings),  # type: ignore[arg-type]
    )


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe as YAML."""
    values = json.loads(json.dumps(asdict(recipe)))
    path.write_text(yaml.safe_dump(values))
    return path


def tiny_source(folder: Path) -> Source:
    """Write a few seconds of generated voices and noises, and return where."""
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    pitches_hz = rng.uniform(90, 250, 4)[:, None]
    voices = sum(np.sin(2 * np.pi * pitches_hz * k * time) / k for k in range(1, 12))
    voices = voices * (np.sin(2 * np.pi * 3 * time) > 0)
    for kind, clips in (("speech", voices), ("noise", rng.standard_normal((4, 2 * RATE_HZ)))):
        samples = (clips * 3000).astype(np.int16).ravel()
        starts = np.arange(5) * 2 * RATE_HZ
        names = tuple(f"{kind}{i}" for i in range(4))
        Corpus(samples, starts, np.full(4, 0.25), names).save(folder / f"{kind}.npz")
    return Source(folder / "speech.npz", folder / "noise.npz")
