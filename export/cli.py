"""`python -m export`: train, convert, score and describe mask models."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from edgesep.errors import EdgesepError

from .cli_corpus import add_audio, add_corpus, sources_of
from .cli_curves import add_curves
from .models_page import PAGE, page
from .recipe import load_recipe

KEPT = Path(__file__).parent / "weights"
"""The float weights of the shipped models."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe's network; goes on where it stopped")
    train.add_argument("recipe", help="name in export/recipes, or a YAML file")
    add_audio(train)
    train.add_argument("--out", type=Path, metavar="DIR", help="default: build/NAME")
    train.add_argument(
        "--pool",
        type=Path,
        metavar="DIR",
        help="keep mixed sound here (230 MB an hour) and read it again in later runs",
    )
    train.add_argument(
        "--from",
        dest="start_from",
        metavar="RECIPE",
        help="begin with this recipe's kept weights, grown or cut to the new shape",
    )
    train.add_argument(
        "--workers", type=int, default=1, help="mixing processes, 0: none (default %(default)s)"
    )
    train.set_defaults(run=_train)

    convert = commands.add_parser("convert", help="quantize trained weights to an int8 .tflite")
    convert.add_argument("recipe", help="the recipe that trained them")
    add_audio(convert)
    convert.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="default: build/NAME/weights.npz, else export/weights/NAME.npz",
    )
    convert.add_argument(
        "-o", "--out", type=Path, default=Path("edgesep/models"), metavar="DIR", help="%(default)s"
    )
    convert.add_argument("--note", default="", help="what the card says of the training")
    convert.set_defaults(run=_convert)

    score = commands.add_parser("score", help="measure a model on dev speech in dev noise")
    score.add_argument("model", help="name or path, as `edgesep file --model` takes it")
    add_audio(score)
    score.add_argument(
        "--engine",
        default="exact",
        choices=("fast", "exact", "float"),
        help="float: the kept weights in the same frame path (default %(default)s)",
    )
    score.add_argument("--clips", type=int, default=60, help="mixes (default %(default)s)")
    score.add_argument(
        "--snr-db", type=float, nargs=2, default=(0.0, 10.0), metavar=("LOW", "HIGH")
    )
    score.add_argument("--seed", type=int, default=7)
    score.add_argument("--keep", type=Path, metavar="DIR", help="keep noisy, clean and out here")
    score.add_argument("--json", type=Path, metavar="FILE", help="save every figure")
    score.add_argument("--into-card", action="store_true", help="write the means into the card")
    score.add_argument(
        "--outputs", type=Path, metavar="DIR", help="score these files of another system instead"
    )
    score.set_defaults(run=_score)

    add_corpus(commands)
    add_curves(commands)

    card = commands.add_parser("card", help="show a model's card, or make MODELS.md of them all")
    card.add_argument("model", nargs="?", help="name or path")
    card.add_argument("--page", action="store_true", help=f"write {PAGE} from the shipped cards")
    card.set_defaults(run=_card)
    return parser


def _train(args: argparse.Namespace) -> None:
    from .convert import load_weights
    from .train import train

    recipe = load_recipe(args.recipe)
    sources = sources_of(args)
    start_from = None
    if args.start_from:
        old = load_recipe(args.start_from)
        start_from = old, load_weights(KEPT / f"{old.name}.npz")
    out = args.out or Path("build") / recipe.name
    path = train(recipe, sources, out, args.workers, args.pool, start_from)
    print(f"weights: {path}")


def _convert(args: argparse.Namespace) -> None:
    from .convert import convert

    recipe = load_recipe(args.recipe)
    trained = Path("build") / recipe.name / "weights.npz"
    weights = args.weights or (trained if trained.exists() else KEPT / f"{recipe.name}.npz")
    print(f"weights: {weights}")
    source = sources_of(args)["train"]
    convert(recipe, weights, source, args.out, {"recipe": recipe.name, "note": args.note})


def _score(args: argparse.Namespace) -> None:
    from .corpus import Corpus
    from .score import isolate_folder, make_clips, save, score, summary, table

    source = sources_of(args)["dev"]
    corpora = Corpus.load(source.speech), Corpus.load(source.noise)
    clips = list(make_clips(*corpora, args.clips, tuple(args.snr_db), args.seed))

    def process(noisy: Path, out: Path) -> None:
        if args.engine == "float":
            _isolate_float(args.model, noisy, out)
        else:
            isolate_folder(args.model, args.engine, noisy, out)

    rows = score(clips, process, args.keep, outputs=args.outputs)
    groups = summary(rows)
    print(table(groups))
    if args.json:
        save(rows, groups, args.json)
    if args.into_card:
        _write_scores(args, groups)


def _isolate_float(model: str, noisy: Path, out: Path) -> None:
    from .convert import check_weights, load_weights
    from .float_path import isolate_folder_float

    recipe, path = load_recipe(model), KEPT / f"{model}.npz"
    weights = load_weights(path)
    check_weights(recipe.graph(), weights, path)
    isolate_folder_float(recipe.graph(), weights, recipe.frame.contract(), noisy, out)


def _card(args: argparse.Namespace) -> None:
    from edgesep.models import find_model, list_models

    if args.model:
        print(find_model(args.model)[1].to_json(), end="")
    elif args.page:
        PAGE.write_text(page(find_model(name) for name in list_models()), encoding="utf-8")
        print(f"wrote {PAGE}")
    else:
        raise EdgesepError("card: name a model, or give --page to write MODELS.md")


def _write_scores(args: argparse.Namespace, groups: dict[str, dict[str, float]]) -> None:
    from edgesep.card import write_card
    from edgesep.models import find_model

    path, card = find_model(args.model)
    means = {
        group: {key: round(value, 3) for key, value in figures.items() if "_ci95" not in key}
        for group, figures in groups.items()
    }
    scores = {**card.scores, args.engine: {"seed": args.seed, **means}}
    write_card(replace(card, scores=scores), path.with_suffix(".json"))


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except EdgesepError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0
