"""A network and sound small enough to train in a test."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import soundfile
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


def voices_and_noises() -> dict[str, np.ndarray]:
    """Return four generated voices and four noises of two seconds each, int16."""
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    pitches_hz = rng.uniform(90, 250, 4)[:, None]
    voices = np.sum([np.sin(2 * np.pi * pitches_hz * k * time) / k for k in range(1, 12)], axis=0)
    voices = voices * (np.sin(2 * np.pi * 3 * time) > 0)
    noises = rng.standard_normal((4, 2 * RATE_HZ))
    return {
        kind: (clips * 3000).astype(np.int16)
        for kind, clips in (("speech", voices), ("noise", noises))
    }


def tiny_source(folder: Path) -> Source:
    """Write generated sound as packed corpora, and return where."""
    for kind, clips in voices_and_noises().items():
        names = tuple(f"{kind}{i}" for i in range(4))
        starts = np.arange(5) * 2 * RATE_HZ
        Corpus(clips.ravel(), starts, np.full(4, 0.25), names).save(folder / f"{kind}.npz")
    return Source(folder / "speech.npz", folder / "noise.npz")


def write_audio(folder: Path) -> list[str]:
    """Write generated sound as files; return the command line's arguments that name them."""
    for kind, clips in voices_and_noises().items():
        for split in ("train", "dev"):
            (folder / kind / split).mkdir(parents=True)
            for i, clip in enumerate(clips):
                soundfile.write(folder / kind / split / f"{kind}{i}.wav", clip, RATE_HZ)
    named = [f"--{kind}={folder / kind}" for kind in ("speech", "noise")]
    return [*named, f"--cache={folder / 'cache'}"]
