"""Adapt a released model to a user's own noise; measure before and after; export where it helped.

Both measurements take held-out noise and held-out voices through `edgesep file` with the int8
model. What is better and what was forgotten is decided on paired differences, clip by clip.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.card import Card, read_card, write_card
from edgesep.errors import EdgesepError, ModelError, unknown_name
from edgesep.models import find_model, list_models, read_model

from .adapt import Budget, Progress, adapt
from .convert import KEPT, check_weights, convert, load_weights
from .corpus import RATE_HZ
from .files import write_whole
from .finetune_report import Comparison, Rows, compare
from .float_model import Weights
from .outputs import read_outputs
from .recipe import Recipe, load_recipe
from .recordings import Split
from .room import RoomSource, room_ranges
from .score import Clip, input_quality, isolate_folder, make_clips, measure, write_clips

SNR_DB = (-5.0, 15.0)
ENGINE = "exact"
CLIPS_SEED = 7
MOST_EXTRA_CLIPS = 12  # of clean speech and of noise each: measuring takes the user's minutes
CONVERT_S = 60.0  # set aside for quantizing, beside the time that measuring takes once more
SHORTEST_TRAINING_S = 30.0
Inputs = dict[str, list[dict[str, float]]]
"""Test set -> `input_quality` of its clips."""
WORK, KEY_FILE, BEFORE_FILE = "work", "settings.json", "before.json"


@dataclass(frozen=True)
class Base:
    """A released model: its recipe, its float weights, and the int8 file with its card."""

    recipe: Recipe
    weights: Weights
    path: Path
    card: Card


@dataclass(frozen=True)
class Sound:
    """What is heard: the user's noise, speech, and other noise or None."""

    noise: Split
    speech: Split
    general: Split | None = None

    def digest(self) -> str:
        """Return a hash over all samples."""
        digest = hashlib.sha256()
        for split in filter(None, (self.noise, self.speech, self.general)):
            for part in (split.train, split.held_out):
                digest.update(part.samples[0 : len(part.samples)].tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """How to adapt.

    name: of the new model; minutes: of the whole run; steps: train exactly so many instead;
    general_share: of recorded noise, where other noise is given; clips: mixtures to measure.
    """

    name: str
    minutes: float = 15.0
    steps: int | None = None
    learning_rate: float = 0.0003
    general_share: float = 0.3
    seed: int = 1
    workers: int = 1
    clips: int = 40
    keep_anyway: bool = False


@dataclass(frozen=True)
class Outcome:
    """How it ended; model: the exported file, None where nothing was exported."""

    comparison: Comparison
    progress: Progress
    report: Path
    model: Path | None


def released(name: str) -> Base:
    """Return a shipped model whose float weights are kept.

    Raises ModelError for any other name, and where weights, recipe and model do not fit.
    """
    kept = KEPT / f"{name}.npz"
    names = [known for known in list_models() if (KEPT / f"{known}.npz").exists()]
    if name not in names:
        raise ModelError(
            f"{unknown_name('model', name, names)}; only these have float weights to go on from"
        )
    recipe, weights = load_recipe(name), load_weights(kept)
    check_weights(recipe.graph(), weights, kept)
    path, card = find_model(name)
    read_model(path, card)
    if card.contract != recipe.frame.contract():
        raise ModelError(f"{path}: its frame is not that of recipe {name}: convert it again")
    return Base(recipe, weights, path, card)


def finetune(base: Base, sound: Sound, plan: Plan, out: Path, begun: float) -> Outcome:
    """Measure, train, quantize, measure again; write NAME.tflite and its card into `out` if better.

    The report NAME.report.json is written in any case. An earlier run with the same arguments that
    was cut off, or ended by Ctrl-C, is gone on with. begun: `time.monotonic()` when the user's
    minutes began. Raises EdgesepError where `out` holds another model of that name.
    """
    work = _open_work(base, sound, plan, out)
    sets = _test_sets(sound, plan)
    before, inputs, seconds = _measure_before(base, sets, work)
    recipe, source = _adapted_recipe(base, plan), _source(sound, plan, work)
    budget = Budget(_training_s(plan, begun, seconds), plan.learning_rate, plan.steps)
    weights, progress = adapt(recipe, base.weights, source, work, budget, plan.workers)
    if progress.interrupted:
        print(
            f"stopped at step {progress.step}: going on with what was reached; "
            "the same command trains on from here"
        )
    candidate = _convert(base, recipe, weights, source, plan, sound, progress, work)
    after = _measure(str(candidate), sets, inputs, "after")
    comparison = compare(before, after)
    return _finish(comparison, progress, candidate, plan, base, out)


def _adapted_recipe(base: Base, plan: Plan) -> Recipe:
    training = replace(base.recipe.training, seed=plan.seed)
    ranges = room_ranges(base.recipe.mix)
    return replace(base.recipe, name=plan.name, mix=ranges, training=training)


# --- the folder of a run -------------------------------------------------------------------------


def _open_work(base: Base, sound: Sound, plan: Plan, out: Path) -> Path:
    """Return the work folder, empty or that of an earlier run with the same arguments."""
    work, key = out / WORK, _key(base, sound, plan)
    same = (work / KEY_FILE).exists() and (work / KEY_FILE).read_text() == key
    model = out / f"{plan.name}.tflite"
    if model.exists() and not same:
        raise EdgesepError(
            f"{model}: there is a model of this name already: give another --name or -o, "
            "or remove it"
        )
    if not same:
        shutil.rmtree(work, ignore_errors=True)
    try:
        write_whole(work / KEY_FILE, lambda path: path.write_text(key))
    except OSError as error:
        raise EdgesepError(
            f"{out}: cannot be written ({error.strerror}): give another -o"
        ) from error
    return work


def _key(base: Base, sound: Sound, plan: Plan) -> str:
    """Return what has to be equal for a run to be gone on with."""
    settings = {k: v for k, v in asdict(plan).items() if k not in ("workers", "keep_anyway")}
    return json.dumps({"model": base.card.sha256, "sound": sound.digest(), **settings}, indent=1)


def _source(sound: Sound, plan: Plan, work: Path) -> RoomSource:
    paths = {}
    for kind, split in (("speech", sound.speech), ("noise", sound.noise), ("other", sound.general)):
        if split:
            paths[kind] = work / f"{kind}.npz"
            if not paths[kind].exists():
                split.train.save(paths[kind])
    share = plan.general_share if sound.general else 0.0
    return RoomSource(paths["speech"], paths["noise"], paths.get("other"), share)


# --- measuring -----------------------------------------------------------------------------------


def _test_sets(sound: Sound, plan: Plan) -> dict[str, list[Clip]]:
    """Return clips with the user's noise, of clean speech, of noise alone, and with other noise."""
    voices = sound.speech.held_out
    extra = min(MOST_EXTRA_CLIPS, max(2, plan.clips // 3))
    heard = sound.noise.held_out
    own = list(make_clips(voices, heard, plan.clips, SNR_DB, CLIPS_SEED, extra))
    sets = {"room": own}
    if sound.general:
        heard = sound.general.held_out
        sets["other"] = list(make_clips(voices, heard, plan.clips, SNR_DB, CLIPS_SEED, extra=0))
    return sets


def _measure(model: str, sets: dict[str, list[Clip]], inputs: Inputs, when: str) -> Rows:
    print(f"measuring {when} ({sum(map(len, sets.values()))} clips)")
    rows = {}
    for name, clips in sets.items():
        with tempfile.TemporaryDirectory() as scratch:
            write_clips(clips, Path(scratch))
            out = Path(scratch, "out")
            isolate_folder(model, ENGINE, Path(scratch, "noisy"), out)
            rows[name] = measure(clips, inputs[name], read_outputs(clips, out))
    return rows


def _measure_before(
    base: Base, sets: dict[str, list[Clip]], work: Path
) -> tuple[Rows, Inputs, float]:
    """Return the released model's figures, those of the input, and how many seconds they took.

    They are kept in the work folder, for a run that goes on.
    """
    path = work / BEFORE_FILE
    if not path.exists():
        begun = time.monotonic()
        inputs = {name: input_quality(clips) for name, clips in sets.items()}
        rows = _measure(str(base.path), sets, inputs, "before")
        document = {"rows": rows, "inputs": inputs, "seconds": time.monotonic() - begun}
        write_whole(path, lambda part: part.write_text(json.dumps(document)))
    found = json.loads(path.read_text())
    return found["rows"], found["inputs"], found["seconds"]


def _training_s(plan: Plan, begun: float, measuring_s: float) -> float:
    """Return how long training may take, with time set aside for what follows."""
    used_s = time.monotonic() - begun
    left = plan.minutes * 60.0 - used_s - measuring_s - CONVERT_S
    if plan.steps is None and left < SHORTEST_TRAINING_S:
        needed = (plan.minutes * 60.0 - left + SHORTEST_TRAINING_S) / 60.0
        raise EdgesepError(
            f"--minutes {plan.minutes:g}: reading, measuring and quantizing take so long here that "
            f"{max(left, 0.0):.0f} s are left to train: give {np.ceil(needed) + 1:.0f} or more"
        )
    return max(left, 1.0)


# --- the result ----------------------------------------------------------------------------------


def _convert(
    base: Base,
    recipe: Recipe,
    weights: dict[str, Any],
    source: RoomSource,
    plan: Plan,
    sound: Sound,
    progress: Progress,
    work: Path,
) -> Path:
    path = work / f"{plan.name}.npz"
    write_whole(path, partial(np.savez, **weights))
    training = training_facts(base, plan, sound, progress)
    return convert(recipe, path, source, work / "model", training)


def training_facts(base: Base, plan: Plan, sound: Sound, progress: Progress) -> dict[str, object]:
    """Return what the card says of the training."""
    noise_s = [len(part.samples) / RATE_HZ for part in (sound.noise.train, sound.noise.held_out)]
    minutes = progress.seconds / 60.0
    ended = ", ended by Ctrl-C" if progress.interrupted else ""
    return {
        "recipe": base.recipe.name,
        "note": f"adapted from {base.card.name} version {base.card.version} to {noise_s[0]:.0f} s "
        f"of a user's noise: {progress.step} steps in {minutes:.1f} minutes{ended}",
        "from": {
            "model": base.card.name,
            "version": base.card.version,
            "sha256": base.card.sha256,
        },
        "seed": plan.seed,
        "steps": progress.step,
        "minutes": round(minutes, 2),
        "interrupted": progress.interrupted,
        "learning_rate": plan.learning_rate,
        "noise_recordings": len(sound.noise.train),
        "noise_s": round(noise_s[0], 1),
        "noise_held_out_s": round(noise_s[1], 1),
        "other_noise_share": plan.general_share if sound.general else 0.0,
    }


def _finish(
    comparison: Comparison, progress: Progress, candidate: Path, plan: Plan, base: Base, out: Path
) -> Outcome:
    """Write the report, and model, card and float weights where they are wanted; clear up."""
    keep = comparison.better or plan.keep_anyway
    report = out / f"{plan.name}.report.json"
    document: dict[str, Any] = {
        "model": plan.name,
        "from": {"model": base.card.name, "sha256": base.card.sha256},
        "engine": ENGINE,
        "settings": asdict(plan),
        "training": asdict(progress),
        "exported": keep,
        **comparison.as_json(),
    }
    text = json.dumps(document, indent=1) + "\n"
    write_whole(report, lambda path: path.write_text(text))
    model = out / f"{plan.name}.tflite"
    if keep:
        _export(candidate, comparison, model)
    else:
        for path in (model, model.with_suffix(".json"), model.with_suffix(".npz")):
            path.unlink(missing_ok=True)  # of a run that was stopped earlier, and gone on with
    if not progress.interrupted:
        shutil.rmtree(candidate.parents[1])
    return Outcome(comparison, progress, report, model if keep else None)


def _export(candidate: Path, comparison: Comparison, model: Path) -> None:
    card = read_card(candidate.with_suffix(".json"))
    scores = {ENGINE: {"seed": CLIPS_SEED, **comparison.after_means()}}
    card = replace(card, scores=scores)
    write_whole(model.with_suffix(".json"), partial(write_card, card))
    weights = candidate.parents[1] / f"{model.stem}.npz"
    for source, target in ((weights, model.with_suffix(".npz")), (candidate, model)):
        write_whole(target, partial(shutil.copyfile, source))
