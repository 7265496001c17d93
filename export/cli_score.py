"""`python -m export score`: measure a model, its float network and other systems side by side."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.errors import EdgesepError

from .cli_corpus import add_audio, sources_of

if TYPE_CHECKING:
    import numpy as np

    from .recipe import Recipe
    from .score import Clip, Map
    from .score_report import System

ENGINES = {"exact": "int8", "fast": "int8, fast", "float": "float"}
SPECTROGRAMS = 4
EXTRA_CLIPS = 48  # a dozen leave PESQ of clean speech uncertain by 0.1


def add_score(commands: Any) -> None:
    """Add the command to the parser's sub-commands."""
    parser = commands.add_parser("score", help="measure a model on dev speech in dev noise")
    parser.add_argument("model", nargs="?", help="name or path, as `edgesep file --model` takes it")
    add_audio(parser)
    parser.add_argument(
        "--engine",
        default="exact",
        choices=tuple(ENGINES),
        help="float: the float weights in the same frame path (default %(default)s)",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        choices=tuple(ENGINES),
        help="also with this engine, in the same table; may be given again",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of float (default: export/weights/NAME.npz)"
    )
    parser.add_argument(
        "--outputs",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="also score what another system made of --keep's noisy/; may be given again; "
        "without MODEL this alone",
    )
    parser.add_argument(
        "--align",
        action="store_true",
        help="take the delay of --outputs away, one per system; the table says how much",
    )
    parser.add_argument("--clips", type=int, default=60, help="mixes (default %(default)s)")
    parser.add_argument(
        "--extra",
        type=int,
        default=EXTRA_CLIPS,
        metavar="N",
        help="clips of speech at 40 dB SNR, and as many of noise alone (default %(default)s)",
    )
    parser.add_argument(
        "--snr-db", type=float, nargs=2, default=(0.0, 10.0), metavar=("LOW", "HIGH")
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--workers",
        type=int,
        default=_processors(),
        metavar="N",
        help="processes that measure; the figures are the same (default: processors, %(default)s)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep noisy, clean and out here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every figure")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="write scores.png and spectrograms here"
    )
    parser.add_argument(
        "--spectrograms",
        type=int,
        default=SPECTROGRAMS,
        metavar="N",
        help="clips to draw into --plots (default %(default)s)",
    )
    parser.add_argument("--into-card", action="store_true", help="write the means into the card")
    parser.set_defaults(run=_score)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _score(args: argparse.Namespace) -> None:
    from .corpus import Corpus
    from .score import input_quality, make_clips, mapping, write_clips

    _check_arguments(args)
    others = dict(_named_folder(text) for text in args.outputs)
    source = sources_of(args)["dev"]
    corpora = Corpus.load(source.speech), Corpus.load(source.noise)
    clips = list(make_clips(*corpora, args.clips, tuple(args.snr_db), args.seed, args.extra))
    with tempfile.TemporaryDirectory() as scratch:
        work = args.keep or Path(scratch)
        write_clips(clips, work)
        sounds, late = _read_all(args, clips, others, work)
    if not sounds:
        print(f"wrote {len(clips)} clips below {work}; name a model or --outputs to score")
        return
    with mapping(min(args.workers, len(clips))) as map_:
        systems = _measure_all(clips, input_quality(clips, map_), sounds, late, map_)
    _report(args, systems)
    if args.plots:
        _draw(args, clips, systems, sounds)


def _check_arguments(args: argparse.Namespace) -> None:
    """Say before the work what could not be done after it."""
    from .score import libraries

    if args.clips < 3 or args.extra < 1 or args.workers < 1 or args.spectrograms < 0:
        raise EdgesepError("--clips is 3 at least, --extra and --workers 1, --spectrograms 0")
    if not args.model:
        if args.into_card or args.beside:
            raise EdgesepError("--into-card and --beside need a MODEL")
        if not args.outputs and not args.keep:
            raise EdgesepError("name a MODEL, or --outputs DIR, or --keep DIR for the clips alone")
    if args.model or args.outputs:
        libraries()  # refuses where PESQ or STOI is missing
    if args.plots:
        from .plots import figure

        figure(1, 1, 1.0, 1.0)  # refuses where matplotlib is missing


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise EdgesepError(f"--outputs {text}: {folder} is no folder; give NAME=DIR")
    return name or path.name, path


def _read_all(
    args: argparse.Namespace, clips: list[Clip], others: dict[str, Path], work: Path
) -> tuple[dict[str, list[np.ndarray]], dict[str, int]]:
    """Return every system's outputs, and by how many samples they are to be moved."""
    from .outputs import delay_of, read_outputs

    folders: dict[str, Path] = {}
    if args.model:
        for engine in dict.fromkeys([args.engine, *args.beside]):
            folders[ENGINES[engine]] = work / ("out" if not folders else f"out_{engine}")
            _process(args, engine)(work / "noisy", folders[ENGINES[engine]])
    for name in others:
        if name in folders:
            raise EdgesepError(f"--outputs {name}=..: give it another name, this one is taken")
    sounds, late = {}, {}
    for label, folder in {**folders, **others}.items():
        sounds[label], late[label] = read_outputs(clips, folder), 0
        if label in others:
            found = delay_of(clips, sounds[label])
            late[label] = found if args.align else 0
            if found:
                verb = "taken away" if args.align else "left as it is: --align takes it away"
                print(f"{label}: outputs lie {found} samples late, {verb}")
    return sounds, late


def _process(args: argparse.Namespace, engine: str) -> Callable[[Path, Path], None]:
    from .score import isolate_folder

    def process(noisy: Path, out: Path) -> None:
        if engine == "float":
            _isolate_float(args.model, args.weights, noisy, out)
        else:
            isolate_folder(args.model, engine, noisy, out)

    return process


def _isolate_float(model: str, weights_path: Path | None, noisy: Path, out: Path) -> None:
    from .convert import KEPT, check_weights, load_weights
    from .float_path import isolate_folder_float

    recipe = _recipe_of(model)
    path = weights_path or KEPT / f"{recipe.name}.npz"
    weights = load_weights(path)
    check_weights(recipe.graph(), weights, path)
    isolate_folder_float(recipe.graph(), weights, recipe.frame.contract(), noisy, out)


def _recipe_of(model: str) -> Recipe:
    """Return the recipe of a name, or the one that the card of a .tflite file tells."""
    from edgesep.models import find_model

    from .recipe import load_recipe

    if not model.endswith(".tflite"):
        return load_recipe(model)
    card = find_model(model)[1]
    return load_recipe(str(card.training.get("recipe", card.name)))


def _measure_all(
    clips: list[Clip],
    before: list[dict[str, float]],
    sounds: dict[str, list[np.ndarray]],
    late: dict[str, int],
    map_: Map,
) -> list[System]:
    from .score import measure, summary
    from .score_report import System

    systems = []
    for label, outputs in sounds.items():
        rows = measure(clips, before, outputs, map_, late[label])
        systems.append(System(label, rows, summary(rows), late[label]))
    return systems


def _report(args: argparse.Namespace, systems: list[System]) -> None:
    from edgesep.table import print_table

    from .score import cost
    from .score_report import COLUMNS, bars, save_json, score_table

    print_table(COLUMNS, score_table(systems))
    print("onsets, fricatives: speech energy kept there (export/speech_parts.py); +-: 95% interval")
    float_rows = next((s.rows for s in systems if s.label == ENGINES["float"]), None)
    costs = {
        system.label: cost(system.rows, float_rows)
        for system in systems
        if float_rows is not None and system.label in (ENGINES["exact"], ENGINES["fast"])
    }
    print()
    for system in systems:
        verdicts = bars(system, costs.get(system.label))
        print_table((system.label, "found", "wanted", ""), verdicts)
        print()
    if args.json:
        settings = {
            "model": args.model,
            "clips": args.clips,
            "extra": args.extra,
            "snr_db": list(args.snr_db),
            "seed": args.seed,
        }
        save_json(systems, settings, costs, args.json)
    if args.into_card:
        _write_scores(args, systems)


def _draw(
    args: argparse.Namespace,
    clips: list[Clip],
    systems: list[System],
    sounds: dict[str, list[np.ndarray]],
) -> None:
    from .score_plots import chosen_clips, draw_scores, draw_spectrograms

    draw_scores(systems, args.plots / "scores.png")
    for i in chosen_clips(clips, args.spectrograms):
        outputs = {label: outs[i] for label, outs in sounds.items()}
        draw_spectrograms(clips[i], outputs, args.plots / f"{clips[i].name}.png")
    print(f"plots: {args.plots}")


def _write_scores(args: argparse.Namespace, systems: list[System]) -> None:
    from edgesep.card import write_card
    from edgesep.models import find_model

    path, card = find_model(args.model)
    scores = dict(card.scores)
    for engine, label in ENGINES.items():
        for system in systems:
            if system.label == label and engine in (args.engine, *args.beside):
                means = {
                    group: {k: round(v, 3) for k, v in figures.items() if "_ci95" not in k}
                    for group, figures in system.groups.items()
                }
                scores[engine] = {"seed": args.seed, **means}
    write_card(replace(card, scores=scores), path.with_suffix(".json"))
