"""Go on training a network for so many minutes: a schedule by the clock, checkpoints, Ctrl-C.

The learning rate rises over some steps and falls as a cosine to one hundredth, over as many steps
as fit; where the machine turns out slower than it was measured, over the time that is left.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from .feed import Source, batches
from .files import write_whole
from .float_model import Weights
from .recipe import Recipe
from .train import averaged, begin_with, compiled_network, load_checkpoint, save_checkpoint

STATE_FILE = "state.json"
CHECKPOINT_S = 60.0
WARMUP_STEPS = 20
WEIGHT_DECAY = 0.001
EMA_MOMENTUM = 0.98  # over 50 steps: a longer average would hold on to the start
MEASURE_FROM, MEASURE_TO = 2, 12  # steps: the first one compiles
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
SHOWN_LOSS = 0.95  # momentum of the loss beside the progress bar


@dataclass(frozen=True)
class Budget:
    """How long to train: `seconds` of wall-clock time, or exactly `steps` where given."""

    seconds: float
    learning_rate: float
    steps: int | None = None


@dataclass
class Progress:
    """How far a training has come, over all its runs; steps_planned: 0 until measured."""

    step: int = 0
    seconds: float = 0.0
    steps_planned: int = 0
    interrupted: bool = False

    def share(self, budget: Budget) -> float:
        """Return how much of the budget is used up, 1.0 at the end."""
        if budget.steps:
            return self.step / budget.steps
        by_steps = self.step / self.steps_planned if self.steps_planned else 0.0
        return max(by_steps, self.seconds / budget.seconds)

    def learning_rate(self, budget: Budget) -> float:
        """Return the learning rate of the next step."""
        warmup = min((self.step + 1) / WARMUP_STEPS, 1.0)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(self.share(budget), 1.0)))
        return budget.learning_rate * warmup * (0.01 + 0.99 * cosine)


def adapt(
    recipe: Recipe, weights: Weights, source: Source, folder: Path, budget: Budget, workers: int
) -> tuple[dict[str, np.ndarray], Progress]:
    """Train from folded `weights` on and return the averaged new ones and how it went.

    folder: holds the checkpoint; a training found there is gone on with. recipe.training gives
    batch, clip length and seed. Ctrl-C ends after the step in hand, and `interrupted` says so;
    before the first one it is a KeyboardInterrupt.
    """
    import keras

    from .network import folded_weights

    keras.utils.set_random_seed(recipe.training.seed)
    model, _ = compiled_network(recipe, _optimizer(budget))
    progress = _load_progress(folder)
    if progress.step == 0:
        begin_with(model, recipe, source, recipe, weights)
    else:
        progress.step = load_checkpoint(model, folder)
    feed = batches(source, recipe, progress.step, workers)
    with _interrupt() as asked, closing(feed):
        _steps(model, feed, progress, budget, folder, asked)
    if progress.step == 0:
        raise KeyboardInterrupt
    progress.interrupted = bool(asked)
    _save(model, folder, progress)
    with averaged(model):
        return folded_weights(model, recipe.graph()), progress


def _steps(
    model: Any,
    feed: Iterator[tuple[np.ndarray, np.ndarray]],
    progress: Progress,
    budget: Budget,
    folder: Path,
    asked: list[int],
) -> None:
    """Train until the budget is used up or `asked` is not empty; `progress` is kept up to date."""
    first, before, begun = progress.step, progress.seconds, time.monotonic()
    saved, measured_from, loss = begun, begun, float("nan")
    bar = tqdm(total=100, unit="%", desc="training", disable=None, bar_format=BAR)
    while progress.share(budget) < 1.0 and not asked:
        model.optimizer.learning_rate = progress.learning_rate(budget)
        features, hops = next(feed)
        now = float(model.train_on_batch(features, hops))
        loss = now if math.isnan(loss) else SHOWN_LOSS * loss + (1.0 - SHOWN_LOSS) * now
        progress.step += 1
        clock = time.monotonic()
        progress.seconds = before + clock - begun
        if progress.step - first == MEASURE_FROM:
            measured_from = clock
        if progress.step - first == MEASURE_TO and not (budget.steps or progress.steps_planned):
            rate = (MEASURE_TO - MEASURE_FROM) / (clock - measured_from)
            progress.steps_planned = progress.step + int(rate * (budget.seconds - progress.seconds))
            tqdm.write(
                f"{rate:.2f} steps a second: about {progress.steps_planned} steps fit "
                f"(each {features.shape[0]} clips)"
            )
        if clock - saved > CHECKPOINT_S:
            _save(model, folder, progress)
            saved = clock
        bar.n = min(round(100 * progress.share(budget)), 100)
        bar.set_postfix_str(f"step {progress.step}, loss {loss:.3f}")
    bar.close()


def _optimizer(budget: Budget) -> Any:
    import keras

    return keras.optimizers.AdamW(
        budget.learning_rate,
        weight_decay=WEIGHT_DECAY,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=EMA_MOMENTUM,
    )


def _save(model: Any, folder: Path, progress: Progress) -> None:
    save_checkpoint(model, folder)
    text = json.dumps(asdict(progress))
    write_whole(folder / STATE_FILE, lambda path: path.write_text(text))


def _load_progress(folder: Path) -> Progress:
    path = folder / STATE_FILE
    return Progress(**json.loads(path.read_text())) if path.exists() else Progress()


@contextmanager
def _interrupt() -> Iterator[list[int]]:
    """Collect the first Ctrl-C instead of stopping amid a step; the second one stops at once."""
    asked: list[int] = []
    old = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, old)
        tqdm.write("stopping after this step (Ctrl-C again: at once, and nothing is exported)")

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, old)
