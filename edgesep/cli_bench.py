"""The command `edgesep bench`."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.errors import EdgesepError, EngineError, SettingsError, one_line

if TYPE_CHECKING:
    from edgesep.bench import Result
    from edgesep.bench_sustained import Interval

__all__ = ["add_bench_command"]

NOTES = """\
Every model with every engine that runs here, one thread, hop after hop: what a hop takes (median,
95th and 99th percentile, longest), the share of one core (real-time factor), what is left of a hop
at the 99th percentile (headroom), and peak memory of a process of its own.

  edgesep bench                                    a few seconds for each pair
  edgesep bench -o pi4.json                        and save it
  edgesep bench --compare pi4.json pi5.json        two machines, or two days, side by side
  edgesep bench --minutes 20 --model base-16ms     full load: does the board get hot and slow?

End other programs first. Live sound adds its own work to that of the hops: `edgesep ctl status`
shows the load of a running loop.
"""


def add_bench_command(commands: Any) -> None:
    """Add the command to the parser of `edgesep`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="measure which models keep up on this machine",
        description="Measure which models keep up on this machine.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = command.add_argument
    add("--model", action="append", default=[], metavar="NAME",
        help="model name or .tflite path, as often as you like (default: all)")  # fmt: skip
    add("--engine", action="append", default=[], metavar="NAME",
        help="fast, exact or edgetpu (default: all that run here)")  # fmt: skip
    add("--seconds", type=_positive, default=3.0, metavar="S",
        help="measure each pair for so long, 500 hops at least (default: 3)")  # fmt: skip
    add("--minutes", type=_positive, metavar="N",
        help="instead, run one pair at full load for N minutes")  # fmt: skip
    add("-o", "--out", type=Path, metavar="FILE", help="save the report as JSON")
    add("--force", action="store_true", help="overwrite FILE")
    add("--json", action="store_true", help="print the report as JSON instead of tables")
    add("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"),
        help="measure nothing, print two saved reports side by side")  # fmt: skip
    command.set_defaults(run=_run, known=command)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _run(options: argparse.Namespace) -> int:
    import json

    if options.compare:
        return _compare(*options.compare)
    if options.out and options.out.exists() and not options.force:
        raise SettingsError(f"{options.out}: exists; --force overwrites it")
    if options.out and not options.out.parent.is_dir():
        raise SettingsError(f"{options.out}: there is no folder {options.out.parent}")
    from edgesep.bench_report import report, save_report
    from edgesep.machine import read_machine

    pairs = _chosen(options)
    machine = read_machine()
    if not options.json:
        print(
            f"{machine.board or machine.cpu}: {machine.cores} x {machine.cpu}, {machine.os}, "
            f"Python {machine.python}, {machine.runtime}, one thread\n"
        )
    if options.minutes:
        document = report(machine, [], _sustained(options))
    else:
        document = report(machine, _pairs(options, pairs))
    if options.json:
        print(json.dumps(document))
    if options.out:
        save_report(document, options.out)
    return 0


def _compare(first: Path, second: Path) -> int:
    from edgesep.bench_report import compare, read_report

    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    compare(read_report(first), read_report(second), names)
    return 0


def _chosen(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the models and engines to measure; engines are all where none is named."""
    from edgesep.coral.device import list_devices
    from edgesep.engine import EDGETPU, ENGINE_NAMES, engine_problem
    from edgesep.model_facts import named_models
    from edgesep.models import find_model

    if options.minutes and (len(options.model) > 1 or len(options.engine) > 1):
        raise SettingsError("--minutes runs one model with one engine: name one")
    for engine in options.engine:
        problem = engine_problem(engine)
        if problem:
            raise SettingsError(problem)
    models = options.model or named_models()
    for model in models:
        find_model(model)  # a wrong name is an error now, not after minutes
    engines = options.engine or [*ENGINE_NAMES, *([EDGETPU] if list_devices() else [])]
    return [(model, engine) for model in models for engine in engines]


def _pairs(options: argparse.Namespace, pairs: list[tuple[str, str]]) -> list[Result]:
    """Measure and, unless JSON is wanted, print; an engine that is not here is left out."""
    from edgesep.bench import measure
    from edgesep.bench_report import print_results, print_stages, words

    results: list[Result] = []
    for model, engine in pairs:
        _progress(f"{model} with {engine} ...")
        try:
            results.append(measure(model, engine, options.seconds))
        except EngineError as error:
            if options.engine:
                raise
            _note(f"{model} with {engine}: left out: {error}")
    _progress("")
    if not results:
        raise EdgesepError("no engine runs here: `edgesep doctor` says why")
    if not options.json:
        print_results(results)
        print()
        print_stages(results)
        print()
        print("\n".join(words(results)))
    return results


def _sustained(options: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from edgesep.bench import sample_hops
    from edgesep.bench_report import INTERVAL_COLUMNS, interval_row
    from edgesep.bench_sustained import run_intervals, sustained_words
    from edgesep.isolator import Isolator
    from edgesep.keys import DEFAULT_MODEL
    from edgesep.machine import Sensors
    from edgesep.settings import Settings
    from edgesep.table import print_table

    model = (options.model or [DEFAULT_MODEL])[0]
    settings = Settings(engine=options.engine[0]) if options.engine else Settings()
    isolator = Isolator(model, settings)
    hops = sample_hops(isolator.hop_samples)
    intervals: list[Interval] = []
    try:
        for interval in run_intervals(isolator.process, hops, options.minutes, Sensors()):
            intervals.append(interval)
            cells = zip(INTERVAL_COLUMNS, interval_row(interval), strict=True)
            _progress(" | ".join(f"{name} {cell}" for name, cell in cells))
    except KeyboardInterrupt:
        if not intervals:
            raise
        _note("interrupted: the report ends with the last whole interval")
    _progress("")
    said = sustained_words(intervals)
    if not options.json:
        print(f"{isolator.card.name}, {isolator.description}")
        print_table(INTERVAL_COLUMNS, map(interval_row, intervals))
        print(said)
    return {
        "model": isolator.card.name,
        "sha256": isolator.card.sha256,
        "engine": settings.engine,
        "intervals": [asdict(interval) for interval in intervals],
        "words": said,
    }


def _progress(text: str) -> None:
    """Show what goes on where somebody watches; an empty text takes it away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:160]}", end="", file=sys.stderr, flush=True)


def _note(text: str) -> None:
    print(f"edgesep: {one_line(text)}", file=sys.stderr)
