"""`python -m export`: train, convert, score and describe mask models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgesep.errors import EdgesepError

from .cli_convert import add_convert, add_quantize
from .cli_corpus import add_audio, add_corpus, sources_of
from .cli_curves import add_curves
from .cli_finetune import add_finetune
from .cli_score import add_score
from .convert import KEPT
from .models_page import PAGE, page
from .recipe import load_recipe


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

    add_quantize(commands)
    add_convert(commands)
    add_score(commands)
    add_corpus(commands)
    add_curves(commands)
    add_finetune(commands)

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


def _card(args: argparse.Namespace) -> None:
    from edgesep.models import find_model, list_models

    if args.model:
        print(find_model(args.model)[1].to_json(), end="")
    elif args.page:
        PAGE.write_text(page(find_model(name) for name in list_models()), encoding="utf-8")
        print(f"wrote {PAGE}")
    else:
        raise EdgesepError("card: name a model, or give --page to write MODELS.md")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except EdgesepError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0
