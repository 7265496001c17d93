"""Batches for training, made by worker processes; batch i is the same whoever makes it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.features import signal_features

from .corpus import Corpus
from .mix import Mixer
from .recipe import Recipe

QUEUE_BATCHES = 8
INPUT_SCALE = 1.0 / 32.0  # of the features, as in the TFLite model


@dataclass(frozen=True)
class Source:
    """Where a feed's audio lies: two files written by `Corpus.save`."""

    speech: Path
    noise: Path

    def mixer(self, recipe: Recipe) -> Mixer:
        """Load both corpora and return a mixer of clips of the recipe's length."""
        samples = recipe.clip_frames * recipe.frame.hop_samples
        return Mixer(Corpus.load(self.speech), Corpus.load(self.noise), samples, recipe.mix)


def make_batch(mixer: Mixer, recipe: Recipe, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (batch, frames, bands, 2) int8 and hops (batch, frames, 2 * hop) int16.

    The hops hold [noisy | target], as `ResynthesisLoss` takes them.
    """
    rng = np.random.default_rng([recipe.training.seed, index])
    contract = recipe.frame.contract()
    features, hops = [], []
    for _ in range(recipe.training.batch):
        noisy, target = mixer.example(rng)
        features.append(signal_features(noisy, contract))
        pair = [x.reshape(-1, recipe.frame.hop_samples) for x in (noisy, target)]
        hops.append(np.concatenate(pair, axis=1))
    return np.stack(features), np.stack(hops)


def as_floats(features: np.ndarray, hops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale a batch as the network and the loss take it, float32."""
    return features.astype(np.float32) * np.float32(INPUT_SCALE), hops.astype(
        np.float32
    ) / np.float32(32768.0)


def _work(source: Source, recipe: Recipe, first: int, step: int, queue: Any) -> None:
    mixer = source.mixer(recipe)
    index = first
    while True:
        queue.put(make_batch(mixer, recipe, index))
        index += step


def batches(
    source: Source, recipe: Recipe, first: int, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield float batches number `first`, `first` + 1, ... for ever.

    workers: processes that mix ahead; 0 mixes here.
    """
    if workers == 0:
        mixer, index = source.mixer(recipe), first
        while True:
            yield as_floats(*make_batch(mixer, recipe, index))
            index += 1
    context = multiprocessing.get_context(
        "spawn"
    )  # forking a process with a backend's threads hangs
    queues = [context.Queue(max(QUEUE_BATCHES // workers, 2)) for _ in range(workers)]
    for worker, queue in enumerate(queues):
        context.Process(
            target=_work, args=(source, recipe, first + worker, workers, queue), daemon=True
        ).start()
    while True:
        for queue in queues:
            yield as_floats(*queue.get())
