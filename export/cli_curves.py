"""`python -m export curves`: draw what training logged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_curves(commands: Any) -> None:
    """Add the command to the parser's sub-commands."""
    parser = commands.add_parser("curves", help="draw loss and dev figures of training runs")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="recipe name (its build/NAME), folder of a run, or log.csv",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("build/curves.png"),
        metavar="PNG",
        help="default: %(default)s",
    )
    parser.set_defaults(run=_curves)


def _curves(args: argparse.Namespace) -> None:
    from edgesep.table import print_table

    from .curves import draw_curves
    from .train_log import read_log

    logs = {}
    for run in args.runs:
        path = _log_of(run)
        logs[path.parent.name if path.parent.name not in logs else str(path)] = read_log(
            path, _epoch_steps(path.parent.name)
        )
    draw_curves(logs, args.out)
    rows = []
    for label, epochs in logs.items():
        if epochs:
            best = max(epochs, key=lambda row: row.dev_si_sdri_db)
            last = epochs[-1]
            rows.append(
                (
                    label,
                    str(last.epoch),
                    str(last.step),
                    f"{last.loss:.4f}",
                    f"{last.dev_si_sdri_db:.2f} dB",
                    f"{best.dev_si_sdri_db:.2f} dB at {best.step}",
                )
            )
    print_table(("run", "epochs", "steps", "loss", "dev SI-SDRi", "best"), rows)
    print(f"wrote {args.out}")


def _log_of(run: str) -> Path:
    from .train_log import LOG_FILE

    for path in (Path(run), Path(run) / LOG_FILE, Path("build") / run / LOG_FILE):
        if path.is_file():
            return path
    return Path("build") / run / LOG_FILE


def _epoch_steps(name: str) -> int:
    """Return a recipe's epoch length, for logs that did not count steps; 1 counts epochs."""
    from edgesep.errors import SettingsError

    from .recipe import load_recipe

    try:
        return load_recipe(name).training.epoch_steps
    except SettingsError:
        return 1
