"""Batches for training, made by worker processes; batch i is the same whoever makes it.

Mixing takes about half as long as a training step of a small network. With a pool, a folder on
disk, batch i is mixed once and read again by runs of other networks on the same recipe of sound.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np

from edgesep.errors import EdgesepError
from edgesep.features import signal_features

from .corpus import Corpus
from .files import write_whole
from .mix import Mixer
from .recipe import Recipe

QUEUE_BATCHES = 8
WAIT_S = 5.0  # for a batch, before a look at whether anybody is making it
INPUT_SCALE = 1.0 / 32.0  # of the features, as in the TFLite model


@dataclass(frozen=True)
class Source:
    """Where a feed's audio lies: two files written by `Corpus.save`."""

    speech: Path
    noise: Path

    def mixer(self, recipe: Recipe) -> Mixer:
        """Load both corpora and return a mixer of clips of the recipe's length."""
        speech, noise = Corpus.load(self.speech), Corpus.load(self.noise)
        return Mixer(speech, noise, recipe.clip_samples, recipe.mix)


def make_batch(mixer: Mixer, recipe: Recipe, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (batch, frames, bands, 2) int8 and hops (batch, frames, 2 * hop) int16.

    The hops hold [noisy | target], as `ResynthesisLoss` takes them.
    """
    return _as_frames(_mix(mixer, recipe, index), recipe)


def _mix(mixer: Mixer, recipe: Recipe, index: int) -> np.ndarray:
    """Return batch `index` as sound: (batch, 2, samples) int16, noisy and target."""
    rng = np.random.default_rng([recipe.training.seed, index])
    return np.stack([np.stack(mixer.example(rng)) for _ in range(recipe.training.batch)])


def _as_frames(sound: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    contract = recipe.frame.contract()
    features = np.stack([signal_features(noisy, contract) for noisy, _ in sound])
    hops = sound.reshape(*sound.shape[:2], -1, recipe.frame.hop_samples)
    return features, np.concatenate([hops[:, 0], hops[:, 1]], axis=-1)


@dataclass(frozen=True)
class Pool:
    """Mixed batches on disk; `folder` is theirs who mix alike (`pool_of`)."""

    folder: Path

    def batch(self, mixer: Mixer, recipe: Recipe, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what `make_batch` returns, from the disk where it lies there."""
        path = self.folder / f"{index}.npy"
        if path.exists():
            return _as_frames(np.load(path, allow_pickle=False), recipe)
        sound = _mix(mixer, recipe, index)
        write_whole(path, partial(np.save, arr=sound))
        return _as_frames(sound, recipe)


def pool_of(root: Path, source: Source, recipe: Recipe) -> Pool:
    """Return the pool below `root` for this sound, mix, clip length, batch size and seed."""
    training = recipe.training
    parts = (source, recipe.mix, recipe.clip_samples, training.batch, training.seed)
    folder = root / hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return Pool(folder)


def as_floats(features: np.ndarray, hops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale a batch as the network and the loss take it, float32."""
    return features.astype(np.float32) * np.float32(INPUT_SCALE), hops.astype(
        np.float32
    ) / np.float32(32768.0)


def _work(
    source: Source, recipe: Recipe, pool: Pool | None, first: int, step: int, queue: Any
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
    mixer, index = source.mixer(recipe), first
    make = pool.batch if pool else make_batch
    while True:
        queue.put(make(mixer, recipe, index))
        index += step


def batches(
    source: Source, recipe: Recipe, first: int, workers: int, pool: Pool | None = None
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield float batches number `first`, `first` + 1, ... for ever.

    workers: processes that mix ahead; 0 mixes here. pool: where mixed batches are kept, if at all.
    """
    if workers == 0:
        mixer, index = source.mixer(recipe), first
        make = pool.batch if pool else make_batch
        while True:
            yield as_floats(*make(mixer, recipe, index))
            index += 1
    context = multiprocessing.get_context(
        "spawn"
    )  # forking a process with a backend's threads hangs
    queues = [context.Queue(max(QUEUE_BATCHES // workers, 2)) for _ in range(workers)]
    processes = [
        context.Process(
            target=_work, args=(source, recipe, pool, first + i, workers, queue), daemon=True
        )
        for i, queue in enumerate(queues)
    ]
    for process in processes:
        process.start()
    try:
        while True:
            for queue, process in zip(queues, processes, strict=True):
                yield as_floats(*_receive(queue, process))
    finally:
        for process in processes:
            process.terminate()


def _receive(queue: Any, process: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the next batch. Raises EdgesepError where nobody is left to make it."""
    while True:
        try:
            batch: tuple[np.ndarray, np.ndarray] = queue.get(timeout=WAIT_S)
        except Empty:
            if not process.is_alive():
                raise EdgesepError(
                    f"a mixing process ended with exit code {process.exitcode}: its message stands "
                    "above; killed for want of memory: use --workers 0"
                ) from None
        else:
            return batch
