"""Batches for training, made by worker processes; batch i is the same whoever makes it.

Mixing takes about half as long as a training step of a small network. With a pool, a folder on
disk, batch i is mixed once and read again by runs of other networks on the same recipe of sound.
"""

from __future__ import annotations

import hashlib
import multiprocessing
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
from .workers import end_with_parent, start

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


@dataclass(frozen=True)
class Share:
    """Which clips of every batch are made here: part `part` of `parts` equal ones."""

    part: int = 0
    parts: int = 1

    def clips(self, batch: int) -> range:
        """Return the numbers of the clips out of a batch of so many."""
        size = batch // self.parts
        return range(self.part * size, (self.part + 1) * size)

    @property
    def suffix(self) -> str:
        """What tells the share's files from those of whole batches."""
        return f".{self.part}of{self.parts}" if self.parts > 1 else ""


WHOLE = Share()


def make_batch(
    mixer: Mixer, recipe: Recipe, index: int, share: Share = WHOLE
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (clips, frames, bands, 2) int8 and hops (clips, frames, 2 * hop) int16.

    The hops hold [noisy | target], as `ResynthesisLoss` takes them.
    """
    return _as_frames(_mix(mixer, recipe, index, share), recipe)


def _mix(mixer: Mixer, recipe: Recipe, index: int, share: Share) -> np.ndarray:
    """Return batch `index` as sound: (clips, 2, samples) int16, noisy and target.

    Every clip has a generator of its own: it is the same in whatever share it is made.
    """
    seed = recipe.training.seed
    return np.stack(
        [
            np.stack(mixer.example(np.random.default_rng([seed, index, clip])))
            for clip in share.clips(recipe.training.batch)
        ]
    )


def _as_frames(sound: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    contract = recipe.frame.contract()
    features = np.stack([signal_features(noisy, contract) for noisy, _ in sound])
    hops = sound.reshape(*sound.shape[:2], -1, recipe.frame.hop_samples)
    return features, np.concatenate([hops[:, 0], hops[:, 1]], axis=-1)


@dataclass(frozen=True)
class Pool:
    """Mixed batches on disk; `folder` is theirs who mix alike (`pool_of`)."""

    folder: Path

    def batch(
        self, mixer: Mixer, recipe: Recipe, index: int, share: Share = WHOLE
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `make_batch` returns, from the disk where it lies there."""
        whole = self.folder / f"{index}.npy"
        if whole.exists():
            clips = share.clips(recipe.training.batch)
            sound = np.load(whole, mmap_mode="r", allow_pickle=False)[clips.start : clips.stop]
            return _as_frames(np.array(sound), recipe)
        path = self.folder / f"{index}{share.suffix}.npy"
        if path.exists():
            return _as_frames(np.load(path, allow_pickle=False), recipe)
        sound = _mix(mixer, recipe, index, share)
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
    scaled = features.astype(np.float32) * np.float32(INPUT_SCALE)
    return scaled, hops.astype(np.float32) / np.float32(32768.0)


def _work(
    source: Source,
    recipe: Recipe,
    pool: Pool | None,
    share: Share,
    first: int,
    step: int,
    queue: Any,
) -> None:
    end_with_parent()
    mixer, index = source.mixer(recipe), first
    make = pool.batch if pool else make_batch
    while True:
        queue.put(make(mixer, recipe, recipe.training.batch_of(index), share))
        index += step


def batches(
    source: Source,
    recipe: Recipe,
    first: int,
    workers: int,
    pool: Pool | None = None,
    share: Share = WHOLE,
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield the float batches of steps `first`, `first` + 1, ... for ever.

    workers: processes that mix ahead; 0 mixes here. pool: where mixed batches are kept, if at all.
    share: the clips of each batch that are wanted here.
    """
    if workers == 0:
        mixer, index = source.mixer(recipe), first
        make = pool.batch if pool else make_batch
        while True:
            yield as_floats(*make(mixer, recipe, recipe.training.batch_of(index), share))
            index += 1
    # forking a process with a backend's threads hangs
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue(max(QUEUE_BATCHES // workers, 2)) for _ in range(workers)]
    processes = [
        context.Process(
            target=_work, args=(source, recipe, pool, share, first + i, workers, queue), daemon=True
        )
        for i, queue in enumerate(queues)
    ]
    try:
        start(processes)
        while True:
            for queue, process in zip(queues, processes, strict=True):
                yield as_floats(*_receive(queue, process))
    finally:
        for process in processes:
            if process.pid is not None:  # else Ctrl-C came before it was started
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
