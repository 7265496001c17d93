"""`python -m export`: train, convert and score mask models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgesep.errors import EdgesepError

from .recipe import load_recipe


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe's network")
    train.add_argument("recipe", help="name in export/recipes, or a YAML file")
    train.add_argument("--speech", type=Path, required=True, metavar="DIR", help="clean speech")
    train.add_argument("--noise", type=Path, required=True, metavar="DIR", help="noise")
    train.add_argument("--out", type=Path, metavar="DIR", help="default: build/NAME")
    train.add_argument("--cache", type=Path, default=Path("build/corpus"), metavar="DIR", help="packed audio (default %(default)s)")
    train.add_argument("--workers", type=int, default=1, help="mixing processes (default %(default)s)")
    train.set_defaults(run=_train)
    return parser


def _train(args: argparse.Namespace) -> None:
    from .train import prepare_corpora, train

    recipe = load_recipe(args.recipe)
    sources = prepare_corpora(args.speech, args.noise, args.cache)
    path = train(recipe, sources, args.out or Path("build") / recipe.name, args.workers)
    print(f"weights: {path}")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except EdgesepError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0
