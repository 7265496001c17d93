"""`python -m export`: train, convert, score and describe mask models."""

from __future__ import annotations

import argparse
import sys

from edgesep.errors import EdgesepError

from .cli_convert import add_convert, add_quantize
from .cli_corpus import add_corpus
from .cli_curves import add_curves
from .cli_finetune import add_finetune
from .cli_score import add_score
from .cli_train import add_train
from .models_page import PAGE, page


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_train(commands)
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
    line = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(line, argparse.Namespace(line=line))
    try:
        status = args.run(args)
    except EdgesepError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return status or 0
