"""Commands of `edgesep` that have actions of their own, such as `edgesep model list`."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["Actions"]


class Actions:
    """Adds a command to the parser of `edgesep`, and to it its actions.

    commands: what `add_subparsers` returned. text: what the command does, as a sentence without its
    full stop, starting in lower case. notes: what follows its help.
    """

    def __init__(self, commands: Any, name: str, text: str, notes: str) -> None:
        command: argparse.ArgumentParser = commands.add_parser(
            name,
            help=text,
            description=_sentence(text),
            epilog=notes,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(self, name: str, text: str, run: Any) -> argparse.ArgumentParser:
        """Return the parser of a new action, which `run` takes the arguments of."""
        action: argparse.ArgumentParser = self._actions.add_parser(
            name, help=text, description=_sentence(text), allow_abbrev=False
        )
        action.set_defaults(run=run, known=action)
        return action


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
