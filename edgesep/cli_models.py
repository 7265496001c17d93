"""The command `edgesep model`: list, show, verify, add."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.cli_actions import Actions
from edgesep.errors import ModelError, one_line

if TYPE_CHECKING:
    from edgesep.model_boards import Fit
    from edgesep.model_facts import ModelFacts

__all__ = ["add_model_command"]

NOTES = """\
  edgesep model list                    every model that has a name here, and what it costs
  edgesep model show NAME               its card, and the boards it fits
  edgesep model verify [NAME ...]       card, SHA-256, file and engines; all models without a name
  edgesep model add FILE.tflite         your own model: from then on --model takes its card's name

A model is NAME.tflite with its card NAME.json. Your own are kept in ~/.local/share/edgesep/models
(XDG_DATA_HOME), or in the folder that EDGESEP_MODELS names; to remove one, delete its two files.
`fits` goes by flash, RAM and estimated instructions of the boards that `edgesep firmware` knows;
for computers, `edgesep bench` measures which models keep up.
Each model is checked before it is loaded: bytes that are not those of the card run nowhere.

exit status: 0 all is well, 1 a model is not, 2 wrong usage
"""


def add_model_command(commands: Any) -> None:
    """Add the command to the parser of `edgesep`."""
    actions = Actions(commands, "model", "list, show, verify and add models", NOTES)
    listing = actions.add("list", "list the models, and what they cost", _list)
    listing.add_argument("--json", action="store_true", help="as JSON")
    show = actions.add("show", "show a model's card", _show)
    show.add_argument("model", metavar="NAME", help="model name or .tflite path")
    show.add_argument("--json", action="store_true", help="as JSON, with the whole card")
    verify = actions.add("verify", "check models and their cards", _verify)
    verify.add_argument("models", nargs="*", metavar="NAME", help="names or .tflite paths")
    verify.add_argument("--json", action="store_true", help="as JSON")
    add = actions.add("add", "add a model of your own", _add)
    add.add_argument("file", type=Path, metavar="FILE.tflite", help="int8 model")
    add.add_argument("--card", type=Path, metavar="FILE.json", help="its card (default: beside it)")
    add.add_argument("--force", action="store_true", help="replace one of yours of the same name")


def _list(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.model_boards import fits
    from edgesep.model_facts import facts, named_models

    found: list[tuple[ModelFacts, list[Fit] | None]] = []
    failed = 0
    for name in named_models():
        try:
            found.append((facts(name), fits(name)))
        except ModelError as error:
            print(f"edgesep: error: {one_line(str(error))}", file=sys.stderr)
            failed = 1
    if options.json:
        print(json.dumps([{**asdict(item), "boards": _as_json(on)} for item, on in found]))
        return failed
    from edgesep.table import print_table

    columns = (
        "model", "origin", "ms", "file kB", "parameters", "MMAC/s", "memory kB", "SHA-256",
        "fits Cortex",
    )  # fmt: skip
    print_table(columns, [_row(item, on) for item, on in found])
    return failed


def _as_json(boards: list[Fit] | None) -> list[dict[str, Any]] | None:
    from dataclasses import asdict

    return None if boards is None else [asdict(fit) for fit in boards]


def _row(item: ModelFacts, boards: list[Fit] | None) -> tuple[str, ...]:
    fitting = [fit.board.removeprefix("cortex_") for fit in boards or () if not fit.too_much]
    return (
        f"{item.name} {item.version}",
        item.origin,
        f"{item.latency_ms:g}",
        f"{item.file_bytes / 1000:.0f}",
        "?" if item.parameters is None else f"{item.parameters}",
        f"{item.macs_per_s / 1e6:.1f}",
        "?" if item.memory_bytes is None else f"{item.memory_bytes / 1000:.0f}",
        item.sha256[:12],
        "?" if boards is None else ", ".join(fitting) or "no microcontroller",
    )


def _show(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.model_boards import fits
    from edgesep.model_facts import facts
    from edgesep.models import find_model

    item, boards = facts(options.model), fits(options.model)
    _, card = find_model(options.model)
    if options.json:
        document = {**asdict(item), "boards": _as_json(boards)}
        print(json.dumps({**document, "card": json.loads(card.to_json())}))
        return 0
    memory = "unknown: the C core is not built" if item.memory_bytes is None else (
        f"{item.memory_bytes} bytes a stream (engine exact, front end included)"
    )  # fmt: skip
    rows = [
        ("model", f"{item.name} {item.version} ({item.origin})"),
        ("file", f"{item.path}, {item.file_bytes} bytes"),
        ("SHA-256", item.sha256),
        ("licence", item.licence or "not stated"),
        ("latency", f"{item.latency_ms:g} ms, a mask every {item.hop_ms:g} ms"),
        ("network", f"{item.parameters or 'unknown number of'} parameters, int8"),
        ("work", f"{item.macs_per_frame} MACs per hop, {item.macs_per_s / 1e6:.1f} M/s"),
        ("memory", memory),
    ]  # fmt: skip
    rows += [(f"training {key}", _flat(value)) for key, value in card.training.items()]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{one_line(name):<{width}}  {one_line(value)}")
    _print_boards(boards or [])
    _print_scores(card.scores)
    return 0


def _print_boards(boards: list[Fit]) -> None:
    """Print what the model needs on each board, and what the board has."""
    from edgesep.table import print_table

    rows = [
        (
            fit.board,
            f"{fit.flash_bytes / 1024:.0f} of {fit.flash_budget / 1024:.0f}",
            f"{fit.ram_bytes / 1024:.0f} of {fit.ram_budget / 1024:.0f}",
            "?" if fit.hop_percent is None else f"{fit.hop_percent:.0f}% of "
            f"{fit.hop_budget_percent:g}%",
            f"too much {' and '.join(fit.too_much)}" if fit.too_much else "fits",
            fit.like,
        )
        for fit in boards
    ]  # fmt: skip
    if rows:
        print()
        print_table(("board", "flash KB", "RAM KB", "instructions", "", "like"), rows)


def _print_scores(scores: Mapping[str, Any]) -> None:
    """Print a row for each innermost table of figures in a card's scores."""
    from edgesep.table import print_table

    tables = _tables("", scores)
    figures = list(dict.fromkeys(key for _, table in tables for key in table))
    rows = [(name, *(_flat(table.get(key, "")) for key in figures)) for name, table in tables]
    if rows:
        print()
        print_table(("scores", *figures), rows)


def _tables(prefix: str, scores: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    plain = {key: value for key, value in scores.items() if not isinstance(value, dict)}
    found = [(prefix, plain)] if plain else []
    for key, value in scores.items():
        if isinstance(value, dict):
            found += _tables(f"{prefix} {key}".strip(), value)
    return found


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _verify(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.model_facts import named_models, verify

    found: dict[str, list[dict[str, object]]] = {}
    failed = False
    for model in options.models or named_models():
        found[model] = []
        if not options.json:
            print(one_line(model))
        for check in verify(model):
            failed |= not check.ok
            found[model].append(asdict(check))
            if not options.json:
                verdict = "ok" if check.ok else "FAIL"
                print(f"  {verdict:<4}  {check.what:<5}  {one_line(check.found)}")
    if options.json:
        print(json.dumps(found))
    return 1 if failed else 0


def _add(options: argparse.Namespace) -> int:
    from edgesep.model_add import add_model

    name, path = add_model(options.file, options.card, replace=options.force)
    print(f"added {name}: {path}")
    return 0
