"""What `edgesep bench` says: tables, words, the saved report, and two reports side by side."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgesep.bench import Result
from edgesep.bench_sustained import Interval
from edgesep.errors import EdgesepError
from edgesep.machine import Machine
from edgesep.table import print_table

__all__ = [
    "compare",
    "interval_row",
    "print_results",
    "print_stages",
    "read_report",
    "report",
    "save_report",
    "verdict",
    "words",
]

FORMAT = 1
ROOMY, TIGHT = 0.5, 0.8
"""Share of a hop's time at the 99th percentile: up to here it keeps up; up to there, just so."""
BUSY = 0.05
"""Share of the time that other programs took, from which on figures are not to be trusted."""
QUICKER = 0.8
"""Share of fast's median below which exact is recommended instead."""
BUSY_VERDICT = "unknown: machine busy"
INTERVAL_COLUMNS = (
    "start", "hops", "p50 us", "p95 us", "p99 us", "max us", "slowdown", "MHz", "C", "throttled",
)  # fmt: skip


def verdict(result: Result) -> str:
    """Return "keeps up", "just keeps up", "does not keep up", or "unknown: machine busy".

    The last where hops are late though half of them take little, while other programs run.
    """
    share = result.p99_us / result.hop_us
    if share <= ROOMY:
        return "keeps up"
    if result.stolen > BUSY and result.p50_us <= ROOMY * result.hop_us:
        return BUSY_VERDICT
    return "just keeps up" if share <= TIGHT else "does not keep up"


def words(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each result, and which to take."""
    lines = [_sentence(result) for result in results]
    good = [result for result in results if verdict(result) == "keeps up"]
    stolen = max((result.stolen for result in results), default=0.0)
    if good:
        # The largest network, and of its engines the quicker one.
        best = max(good, key=lambda result: (result.macs_per_s, -result.p99_us))
        lines.append(f"the largest that keeps up here: {best.model} with {best.engine}")
    elif stolen <= BUSY:
        lines.append("nothing keeps up here with room to spare: take a smaller model")
    lines += _exact_is_quicker(results)
    if stolen > BUSY:
        lines.append(
            f"other programs had the core for up to {stolen:.0%} of the time: end them and measure "
            "again; of these figures, only the medians say something about edgesep"
        )
    return lines


def _exact_is_quicker(results: Sequence[Result]) -> list[str]:
    """Say where "fast" is not: tflite-runtime does not always come with XNNPACK."""
    medians = {(result.model, result.engine): result.p50_us for result in results}
    return [
        f"{model}: exact is quicker here than fast ({medians[model, 'exact']:.0f} us a hop, "
        f"{fast_us:.0f}), and has the same bits everywhere: --engine exact"
        for (model, engine), fast_us in medians.items()
        if engine == "fast" and medians.get((model, "exact"), fast_us) < QUICKER * fast_us
    ]


def _sentence(result: Result) -> str:
    name, hop_ms = f"{result.model} with {result.engine}", result.hop_us / 1000
    if verdict(result) == BUSY_VERDICT:
        return (
            f"{name}: half of the hops take at most {result.p50_us / 1000:.2f} of {hop_ms:g} ms, "
            "but other programs interrupt too often to say whether it keeps up"
        )
    return (
        f"{name} {verdict(result)}: 99 of 100 hops take at most {result.p99_us / 1000:.2f} of "
        f"{hop_ms:g} ms; {1 / result.real_time_factor:.0f} times real time on average"
    )


def print_results(results: Sequence[Result]) -> None:
    """Print a row for each model and engine."""
    columns = ("model", "engine", "p50 us", "p95 us", "p99 us", "max us", "real-time factor",
               "headroom", "memory MB", "verdict")  # fmt: skip
    rows = [
        (
            r.model, r.engine, f"{r.p50_us:.0f}", f"{r.p95_us:.0f}", f"{r.p99_us:.0f}",
            f"{r.max_us:.0f}", f"{r.real_time_factor:.4f}", f"{r.headroom:.0%}",
            _maybe(r.memory_mb, ".0f"), verdict(r),
        )
        for r in results
    ]  # fmt: skip
    print_table(columns, rows)


def print_stages(results: Sequence[Result]) -> None:
    """Print where the time of a hop goes."""
    columns = ("median us of a hop", "engine", "STFT", "features", "model", "mask", "iSTFT", "rest")
    rows = []
    for result in results:
        stages = result.stages
        values = (stages.stft_us, stages.features_us, stages.model_us, stages.mask_us,
                  stages.istft_us, stages.rest_us)  # fmt: skip
        rows.append((result.model, result.engine, *(f"{value:.1f}" for value in values)))
    print_table(columns, rows)
    call_us = max((result.stages.call_us for result in results), default=0.0)
    print(
        "Stages are timed call by call in a run of their own. The core does STFT and features in "
        "one call, mask and\niSTFT in another: the transforms are timed alone, in batches, and "
        "the rest of the call is put down to features\nand mask. "
        f"A call into the core that does nothing takes {call_us:.1f} us; rest: checks in Python."
    )


def interval_row(interval: Interval) -> tuple[str, ...]:
    """Return the cells of an interval, for INTERVAL_COLUMNS."""
    minutes, seconds = divmod(round(interval.start_s), 60)
    throttled = "?" if interval.throttled is None else ", ".join(interval.throttled) or "no"
    return (
        f"{minutes}:{seconds:02d} min", f"{interval.hops}", f"{interval.p50_us:.0f}",
        f"{interval.p95_us:.0f}", f"{interval.p99_us:.0f}", f"{interval.max_us:.0f}",
        f"{interval.slowdown:.2f}", _maybe(interval.mhz, ".0f"), _maybe(interval.celsius, ".0f"),
        throttled,
    )  # fmt: skip


# --- reports -------------------------------------------------------------------------------------


def report(
    machine: Machine, results: Iterable[Result], sustained: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is saved: plain values, ready for JSON."""
    return {
        "edgesep_bench": FORMAT,
        "machine": asdict(machine),
        "threads": 1,
        "results": [
            {
                **asdict(result),
                "real_time_factor": result.real_time_factor,
                "headroom": result.headroom,
                "verdict": verdict(result),
            }
            for result in results
        ],
        "sustained": sustained,
    }


def save_report(document: Mapping[str, Any], path: Path) -> None:
    """Write a report whole or not at all. Raises EdgesepError where it cannot be written."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=1) + "\n")
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise EdgesepError(f"{path}: cannot be written ({error.strerror})") from error


def read_report(path: Path) -> dict[str, Any]:
    """Read a saved report. Raises EdgesepError for what is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["edgesep_bench"] != FORMAT:
            raise EdgesepError(
                f"{path}: report of format {document['edgesep_bench']}, this edgesep reads {FORMAT}"
            )
        _ = [_pair(row) for row in document["results"]], dict(document["machine"])
    except OSError as error:
        raise EdgesepError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EdgesepError(f"{path}: not a report of `edgesep bench -o`") from error
    return dict(document)


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a comparison needs of a result; KeyError or TypeError where it is not there."""
    figures = ("p50_us", "p99_us", "real_time_factor")
    found = {name: float(row[name]) for name in figures}
    return {**found, **{name: str(row[name]) for name in ("model", "engine", "sha256")}}


def compare(first: Mapping[str, Any], second: Mapping[str, Any], names: tuple[str, str]) -> None:
    """Print two reports side by side: what differs between the machines, then the figures."""
    a, b = names
    machines = first["machine"], second["machine"]
    keys = [key for key in machines[0] | machines[1] if _differs(machines, key)]
    print_table(
        ("machine", a, b),
        [(key, *(str(machine.get(key, "?")) or "?" for machine in machines)) for key in keys]
        or [("the same in all that is known", "", "")],
    )
    print()
    tables = [
        {(pair["model"], pair["engine"]): pair for pair in map(_pair, document["results"])}
        for document in (first, second)
    ]
    rows = []
    for key in dict.fromkeys([*tables[0], *tables[1]]):
        one, two = tables[0].get(key), tables[1].get(key)
        cells = [_figure(item, name) for name in ("p50_us", "p99_us", "real_time_factor")
                 for item in (one, two)]  # fmt: skip
        ratio = f"{two['p50_us'] / one['p50_us']:.2f}" if one and two else "?"
        other = one is not None and two is not None and one["sha256"] != two["sha256"]
        rows.append((*key, *cells, ratio, "other weights" if other else ""))
    columns = ["model", "engine"]
    columns += [f"{what} {who}" for what in ("p50 us", "p99 us", "RTF") for who in (a, b)]
    print_table([*columns, f"p50 {b} / {a}", ""], rows)


def _differs(machines: tuple[Mapping[str, Any], Mapping[str, Any]], key: str) -> bool:
    return bool(machines[0].get(key) != machines[1].get(key))


def _figure(row: Mapping[str, Any] | None, name: str) -> str:
    return "?" if row is None else f"{row[name]:.{4 if name == 'real_time_factor' else 0}f}"


def _maybe(value: float | None, form: str) -> str:
    return "?" if value is None else f"{value:{form}}"
