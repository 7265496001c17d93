"""Train a recipe's network; checkpoint every epoch and on a signal, resume where it stopped.

There are two copies of the network where several processes or devices train it: the team's, which
Keras fits, and process 0's own, which is read from files, measured and written.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .feed import Source, as_floats, batches, make_batch, pool_of
from .files import write_whole
from .float_model import Weights
from .gather import prepare_corpora as prepare_corpora
from .loss_weights import TeacherTerm
from .measure import si_sdr_db
from .recipe import Recipe
from .stopping import stop_requests
from .team import ALONE, Team, check_batch
from .train_log import LOG_FILE, LogRow, append_row, upgrade_log

DEV_BATCHES = 6
DEV_FIRST = 1 << 40  # batch numbers that no training reaches
WARM_FIRST, WARM_BATCHES = 1 << 41, 4
CHECKPOINT_FILE = "checkpoint.weights.h5"
WEIGHTS_FILE = "weights.npz"
NO_TEACHER = TeacherTerm()


def train(
    recipe: Recipe,
    sources: dict[str, Source],
    out: Path,
    workers: int,
    pool: Path | None = None,
    start_from: tuple[Recipe, Weights] | None = None,
    team: Team = ALONE,
) -> Path:
    """Train to the recipe's last step and return the path of the averaged, folded weights.

    out: folder of checkpoints, `log.csv` and `weights.npz`; a run found there is gone on with.
    pool: folder where mixed batches are kept for other runs (`feed.Pool`).
    start_from: a recipe and its folded weights to begin with instead of random ones (`warm.py`).
    team: the processes that train together; all call this alike.
    SIGTERM and Ctrl-C end it after the step in hand, with a checkpoint and SystemExit.
    """
    import keras

    from .distill import load_teacher, with_masks

    settings = recipe.training
    check_batch(settings.batch, team.devices)
    keras.utils.set_random_seed(settings.seed)
    teacher = load_teacher(recipe)

    def build() -> tuple[Any, Any]:
        return compiled_network(recipe, _optimizer(recipe), recipe.teacher)

    own, loss = build()
    own.optimizer.build(own.trainable_variables)
    dev: list[tuple[np.ndarray, np.ndarray]] = []
    if team.leads:
        _prepare(own, recipe, sources["train"], out, start_from)
        dev = _dev_batches(sources["dev"], recipe)
        if teacher:
            print(f"teacher: {teacher[1]}, weight {recipe.teacher.weight:g}")
    model = team.spread(own, lambda: build()[0])
    step = int(model.optimizer.iterations)

    kept = pool_of(pool, sources["train"], recipe) if pool else None
    feed = batches(sources["train"], recipe, step, workers, kept, team.share)
    with stop_requests() as asked, closing(feed):
        told = with_masks(feed, teacher[0], team) if teacher else feed
        while step < settings.steps:
            started = time.monotonic()
            epoch = step // settings.epoch_steps
            last = min((epoch + 1) * settings.epoch_steps, settings.steps)
            with team.together():
                history = model.fit(
                    _epoch(told, last - step, model, asked, team),
                    steps_per_epoch=last - step,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    shuffle=False,
                    verbose=0,
                )
            step = int(model.optimizer.iterations)
            team.collect(model, own)
            if team.leads:
                save_checkpoint(own, out)
            if team.leads and step == last:
                gain_db = _conclude(own, loss, recipe, dev, out)
                rate, mean = float(own.optimizer.learning_rate), history.history["loss"][0]
                seconds = time.monotonic() - started
                _log(out, LogRow(epoch + 1, step, seconds, rate, mean, gain_db))
            if step < settings.steps and team.any(bool(asked)):
                if team.leads:
                    print(f"stopped after step {step}: the same command goes on from there")
                raise SystemExit(128 + (asked[0] if asked else signal.SIGTERM))
    return out / WEIGHTS_FILE


def _prepare(
    model: Any, recipe: Recipe, source: Source, out: Path, start: tuple[Recipe, Weights] | None
) -> None:
    """Go on from the last checkpoint, or begin."""
    out.mkdir(parents=True, exist_ok=True)
    if start and not (out / CHECKPOINT_FILE).exists():
        begin_with(model, recipe, source, *start)
    load_checkpoint(model, out)
    upgrade_log(out / LOG_FILE, recipe.training.epoch_steps)


def _epoch(
    feed: Iterable[tuple[np.ndarray, np.ndarray]],
    count: int,
    model: Any,
    asked: list[int],
    team: Team,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `count` batches; once a process was asked to stop, let Keras end with that step.

    No more than it takes: Keras reads ahead, and would lose what it read.
    """
    stop = False
    for number, batch in enumerate(islice(feed, count)):
        if number % team.talk_steps == 0:
            stop = stop or team.any(bool(asked))
        if stop:
            model.stop_training = True  # again and again: `fit` forgets it while it begins
        yield batch


def _conclude(
    model: Any, loss: Any, recipe: Recipe, dev: list[tuple[np.ndarray, np.ndarray]], out: Path
) -> float:
    """Write the averaged weights, and return their SI-SDR improvement on dev mixtures in dB."""
    from .network import folded_weights

    with averaged(model):
        gain_db = float(np.mean([_improvement_db(model, loss, *batch) for batch in dev]))
        weights = folded_weights(model, recipe.graph())
    write_whole(out / WEIGHTS_FILE, partial(np.savez, **weights))
    return gain_db


def compiled_network(
    recipe: Recipe, optimizer: Any, teacher: TeacherTerm = NO_TEACHER
) -> tuple[Any, Any]:
    """Return the recipe's Keras model, compiled with its loss, and that `ResynthesisLoss`.

    teacher: what its masks, which then come behind the target, add to the loss.
    """
    from .distill import objective
    from .loss import ResynthesisLoss
    from .network import build_network

    with _precision(recipe.training.bfloat16):
        model = build_network(recipe.graph(), recipe.clip_frames)
    loss = ResynthesisLoss(*loss_windows(recipe), recipe.frame.contract().band_edges, recipe.loss)
    model.compile(optimizer=optimizer, loss=objective(loss, teacher))
    return model, loss


@contextmanager
def _precision(bfloat16: bool) -> Iterator[None]:
    """Let layers that are made inside the block compute with so many bits."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16 else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def averaged(model: Any) -> Iterator[None]:
    """Let the model hold the optimizer's averaged weights inside the block."""
    import keras

    live = model.get_weights()
    keras.Optimizer.finalize_variable_values(model.optimizer, model.trainable_variables)
    model.set_weights(model.get_weights())  # a copy: JAX frees what two variables share
    try:
        yield
    finally:
        model.set_weights(live)


def begin_with(model: Any, recipe: Recipe, source: Source, old: Recipe, weights: Weights) -> None:
    """Put the folded weights of recipe `old` into the model, grown or cut to `recipe`'s shape."""
    from .warm import start, transplant

    grown = transplant(old.graph(), weights, recipe.graph(), recipe.training.seed)
    mixer = source.mixer(recipe)
    made = [make_batch(mixer, recipe, WARM_FIRST + i) for i in range(WARM_BATCHES)]
    start(model, recipe.graph(), grown, [clip for both in made for clip in as_floats(*both)[0]])


def loss_windows(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the device's analysis window (512,) and full-overlap synthesis window, as floats."""
    from edgesep.core import tables
    from edgesep.stft import synthesis_window

    contract = recipe.frame.contract()
    return np.asarray(tables.ANALYSIS_WINDOW_Q31) / 2.0**31, synthesis_window(contract) / 2.0**30


def _optimizer(recipe: Recipe) -> Any:
    import keras

    from .optimizer import Optimizer

    settings = recipe.training
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 100.0,
        decay_steps=settings.steps - settings.warmup_steps,
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
    )
    return Optimizer(
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=settings.ema_momentum,
    )


def _log(out: Path, row: LogRow) -> None:
    append_row(out / LOG_FILE, row)
    print(
        f"epoch {row.epoch}: loss {row.loss:.4f}, "
        f"dev SI-SDR improvement {row.dev_si_sdri_db:.2f} dB",
        flush=True,
    )


def save_checkpoint(model: Any, out: Path) -> None:
    """Write weights and the optimizer's state into `out`, whole or not at all."""
    write_whole(out / CHECKPOINT_FILE, model.save_weights)


def load_checkpoint(model: Any, out: Path) -> int:
    """Load the last checkpoint, if any, and return the number of steps it has seen."""
    if not (out / CHECKPOINT_FILE).exists():
        return 0
    model.optimizer.build(model.trainable_variables)
    model.load_weights(out / CHECKPOINT_FILE)
    steps = int(model.optimizer.iterations)
    print(f"going on after step {steps} in {out}")
    return steps


def _dev_batches(source: Source, recipe: Recipe) -> list[tuple[np.ndarray, np.ndarray]]:
    mixer = source.mixer(recipe)
    return [as_floats(*make_batch(mixer, recipe, DEV_FIRST + i)) for i in range(DEV_BATCHES)]


def _improvement_db(model: Any, loss: Any, features: np.ndarray, hops: np.ndarray) -> float:
    """Return the mean SI-SDR improvement over a batch's clips that hold speech and noise."""
    from keras import ops

    mask = model.predict_on_batch(features)
    estimate = ops.convert_to_numpy(loss.resynthesise(hops[..., : loss.hop], mask))
    gains = []
    for clean, noisy, ours in zip(
        hops[:, :-1, loss.hop :], hops[:, :-1, : loss.hop], estimate, strict=True
    ):
        before = si_sdr_db(noisy.ravel(), clean.ravel())
        if -15.0 < before < 20.0:
            gains.append(si_sdr_db(ours.ravel(), clean.ravel()) - before)
    return float(np.mean(gains)) if gains else 0.0
