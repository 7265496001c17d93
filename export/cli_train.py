"""`python -m export train`."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from edgesep.errors import EdgesepError, SettingsError

from .cli_corpus import add_audio, sources_of
from .recipe import load_recipe

if TYPE_CHECKING:
    from .team import Team

LAUNCHER_S = 2.0  # after which it has seen which process was the first to end, and ended us


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser's commands."""
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
    train.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="train together in so many, each on its share of every batch (default %(default)s)",
    )
    train.add_argument(
        "--cluster",
        metavar="HOST:PORT",
        help="of process 0, where the processes are on several machines (docs/distributed.md)",
    )
    train.add_argument(
        "--process-id", type=int, metavar="I", help="which of them this is, from 0 on"
    )
    train.add_argument("--launched", action="store_true", help=argparse.SUPPRESS)
    train.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    if args.processes < 1:
        raise SettingsError(f"--processes {args.processes}: give 1 or more")
    if (args.cluster is None) != (args.process_id is None):
        raise SettingsError("--cluster and --process-id go together: give both or neither")
    if args.cluster is not None:
        return _join(args)
    if args.processes > 1:
        return _launch(args)
    from .team import devices_here

    _run(args, devices_here())
    return 0


def _launch(args: argparse.Namespace) -> int:
    """Train in several processes on this machine; return the exit status."""
    from .launch import launch
    from .team import check_backend, check_batch

    check_backend()
    check_batch(load_recipe(args.recipe).training.batch, args.processes)
    sources_of(args)  # read and packed once, before all of them would
    return launch([sys.executable, "-m", "export", *args.line], args.processes)


def _join(args: argparse.Namespace) -> int:
    """Train as one of several processes; return the exit status."""
    from .launch import GO_ON, end_with_launcher
    from .team import first_line, join, lost

    if args.launched:
        end_with_launcher()
    try:
        _run(args, join(args.cluster, args.process_id, args.processes))
        return 0
    except EdgesepError as error:
        what = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must not wait for us
        loss = lost(error)
        if loss is None:
            traceback.print_exc()
            what = "ended by the error above"
        else:
            what = f"lost the others ({first_line(loss)}); {GO_ON}"
            if args.launched:
                time.sleep(LAUNCHER_S)
    except KeyboardInterrupt:
        what = "interrupted"
    print(f"export: error: process {args.process_id}: {what}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)  # an orderly exit would wait for the others, and abort


def _run(args: argparse.Namespace, team: Team) -> None:
    from .convert import KEPT, check_weights, load_weights
    from .train import train

    recipe = load_recipe(args.recipe)
    start_from = None
    if args.start_from:
        old = load_recipe(args.start_from)
        kept = KEPT / f"{old.name}.npz"
        start_from = old, load_weights(kept)
        check_weights(old.graph(), start_from[1], kept)
    sources = sources_of(args)
    out = args.out or Path("build") / recipe.name
    path = train(recipe, sources, out, args.workers, args.pool, start_from, team)
    if team.leads:
        print(f"weights: {path}")
