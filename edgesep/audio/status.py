"""What a running loop says about itself: a line on a terminal, lines in a journal, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from edgesep.errors import SettingsError

__all__ = ["Metrics", "StatusLine"]

TERMINAL_S, JOURNAL_S, METRICS_S = 0.5, 60.0, 1.0
BAR = 10
BAR_FLOOR_DBFS = -60.0


class StatusLine:
    """Rewrites one line of a terminal twice a second; elsewhere prints one a minute."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream, self._quiet = stream, quiet
        self._terminal = stream.isatty()
        self._due = time.monotonic() + (TERMINAL_S if self._terminal else JOURNAL_S)
        self._shown = 0

    @property
    def due(self) -> bool:
        """Whether it is time for `show`."""
        return not self._quiet and time.monotonic() >= self._due

    def show(self, report: Mapping[str, float], losses: int) -> None:
        """Show the figures of `LiveSession.report` and the number of losses so far."""
        self._due = time.monotonic() + (TERMINAL_S if self._terminal else JOURNAL_S)
        text = (
            f"in {_meter(report['in_dbfs'])} out {_meter(report['out_dbfs'])} "
            f"cut {report['attenuation_db']:4.1f} dB  load {report['load_percent']:4.1f}%  "
            f"p99 {report['hop_p99_ms']:4.1f} ms  losses {losses}  "
            f"latency {report['latency_sum_ms']:.0f} ms"
        )
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._shown))
            self._shown = len(text)
        else:
            self._stream.write(f"edgesep: {text}\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """Print a line of its own."""
        if self._shown:
            self._stream.write("\r" + " " * self._shown + "\r")
            self._shown = 0
        self._stream.write(f"edgesep: {text}\n")
        self._stream.flush()


class Metrics:
    """Appends one JSON line a second to a file, or to standard output for "-"."""

    def __init__(self, target: str) -> None:
        self._due = time.monotonic() + METRICS_S
        self._stream: TextIO
        try:
            self._stream = sys.stdout if target == "-" else Path(target).open("a")  # noqa: SIM115
        except OSError as error:
            raise SettingsError(f"--metrics {target}: cannot be written ({error})") from error

    @property
    def due(self) -> bool:
        """Whether it is time for `write`."""
        return time.monotonic() >= self._due

    def write(self, figures: Mapping[str, float | int | bool | None]) -> None:
        """Write one line, with the time in seconds since 1970."""
        self._due = time.monotonic() + METRICS_S
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}
        self._stream.write(json.dumps({"time_s": round(time.time(), 3), **rounded}) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        if self._stream is not sys.stdout:
            self._stream.close()


def _meter(level_dbfs: float) -> str:
    filled = round(BAR * min(1.0, max(0.0, 1 - level_dbfs / BAR_FLOOR_DBFS)))
    return f"[{'#' * filled}{'.' * (BAR - filled)}]{level_dbfs:4.0f}"
