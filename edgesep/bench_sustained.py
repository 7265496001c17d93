"""Run at full load for minutes, in intervals, to see whether the machine gets slower."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesep.bench import percentiles, time_hops
from edgesep.machine import Reading, Sensors

__all__ = ["Interval", "interval_seconds", "run_intervals", "sustained_words"]

SLOWER = 1.15
"""An interval whose median is this many times that of the first minute counts as slowed down."""
BASELINE_S = 60.0


@dataclass(frozen=True)
class Interval:
    """A stretch of hops at full load."""

    start_s: float
    """Since the run began."""
    seconds: float
    hops: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    slowdown: float
    """Median against that of the first minute so far; 1.0 is as fast."""
    mhz: float | None
    celsius: float | None
    throttled: tuple[str, ...] | None
    """See `edgesep.machine.Reading`."""


def interval_seconds(minutes: float) -> float:
    """Return how long an interval is: ten seconds, less for short runs, a minute for long ones."""
    if minutes > 15:
        return 60.0
    return min(10.0, minutes * 60 / 6)


def run_intervals(
    process: Callable[[NDArray[np.int16]], object],
    hops: NDArray[np.int16],
    minutes: float,
    sensors: Sensors,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Iterator[Interval]:
    """Process hops for so many minutes without a pause; yield a row as each interval ends.

    clock: nanoseconds.
    """
    length_s = interval_seconds(minutes)
    began = clock()
    baseline: list[float] = []
    while True:
        start_s = (clock() - began) / 1e9
        if start_s >= minutes * 60:
            return
        times_us = time_hops(process, hops, length_s, clock, least=1)
        p50, p95, p99, most = percentiles(times_us)
        if not baseline or start_s < min(BASELINE_S, minutes * 60 / 3):
            baseline.append(p50)
        reading = sensors.read()
        yield Interval(
            start_s, (clock() - began) / 1e9 - start_s, len(times_us), p50, p95, p99, most,
            p50 / float(np.median(baseline)), reading.mhz, reading.celsius, reading.throttled,
        )  # fmt: skip


def sustained_words(intervals: Sequence[Interval]) -> str:
    """Say in a sentence whether the machine got slower, when, and what its sensors saw."""
    slow = [item for item in intervals if item.slowdown > SLOWER]
    last = intervals[-1]
    total_s = last.start_s + last.seconds
    sensed = Reading(last.mhz, last.celsius, last.throttled).to_text()
    now = [word for word in last.throttled or () if not word.endswith("before")]
    warning = f"; the firmware says: {', '.join(now)}" if now else ""
    if not slow:
        worst = max(item.slowdown for item in intervals)
        return (
            f"no slow-down in {total_s / 60:.1f} minutes at full load: at most {worst:.2f} times "
            f"the first minute's time per hop ({sensed} at the end){warning}"
        )
    worst = max(item.slowdown for item in slow)
    lasting = all(item.slowdown > SLOWER for item in intervals[-max(len(intervals) // 4, 1) :])
    kind = (
        "and it stays so: cool the board, or plan with the slower time"
        if lasting
        else "but not at the end: another program, or a short throttling"
    )
    clocks = [item.mhz for item in intervals if item.mhz is not None]
    clock = f", clock {clocks[0]:.0f} -> {min(clocks):.0f} MHz" if clocks else ""
    return (
        f"slows down from minute {slow[0].start_s / 60:.1f}: {worst:.2f} times the first minute's "
        f"time per hop{clock}, {kind} ({sensed} at the end){warning}"
    )
