"""log.csv of a training run: a row per epoch, with a header; older files had none."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from edgesep.errors import SettingsError

from .files import write_whole

LOG_FILE = "log.csv"


@dataclass(frozen=True)
class LogRow:
    """One epoch; NaN where an older file did not say."""

    epoch: int
    step: int
    """Steps taken by the end of it."""
    seconds: float
    """Wall time of this epoch, the dev figures included."""
    learning_rate: float
    """At its last step."""
    loss: float
    """Mean over its steps."""
    dev_si_sdri_db: float
    """SI-SDR improvement of the averaged weights on dev mixtures."""


HEADER = tuple(field.name for field in fields(LogRow))


def append_row(path: Path, row: LogRow) -> None:
    """Append an epoch to a file that has a header, or start one."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(HEADER)
        writer.writerow(_cells(row))


def read_log(path: Path, epoch_steps: int = 0) -> list[LogRow]:
    """Return the epochs of a log, with or without a header.

    epoch_steps: makes steps of the epochs of a file that does not count them.
    Raises SettingsError where the file is missing or is no training log.
    """
    try:
        lines = list(csv.reader(path.read_text().splitlines()))
        if lines and tuple(lines[0]) == HEADER:
            return [LogRow(int(c[0]), int(c[1]), *map(float, c[2:])) for c in lines[1:]]
        return _without_header(lines, epoch_steps)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot read it ({error.strerror}); run `train` first"
        ) from error
    except (ValueError, TypeError, IndexError) as error:
        raise SettingsError(
            f"{path}: no training log ({error}); its columns are {', '.join(HEADER)}"
        ) from error


def upgrade_log(path: Path, epoch_steps: int) -> None:
    """Give a file without a header the one of today, so that a resumed run can go on with it."""
    if path.exists() and not path.read_text().startswith(",".join(HEADER)):
        rows = read_log(path, epoch_steps)
        write_whole(path, partial(_write, rows=rows))


def _write(path: Path, rows: list[LogRow]) -> None:
    path.write_text("\n".join([",".join(HEADER), *(",".join(_cells(r)) for r in rows), ""]))


def _cells(row: LogRow) -> list[str]:
    forms = {"seconds": ".1f", "learning_rate": ".3g", "loss": ".5f", "dev_si_sdri_db": ".3f"}
    return [format(value, forms.get(name, "d")) for name, value in asdict(row).items()]


def _without_header(lines: list[list[str]], epoch_steps: int) -> list[LogRow]:
    """Read rows of epoch, time in seconds since 1970, loss, gain in dB."""
    rows, before = [], math.nan
    for epoch, time_s, loss, gain_db in lines:
        seconds = float(time_s) - before
        before = float(time_s)
        number = int(epoch)
        rows.append(
            LogRow(number, number * epoch_steps, seconds, math.nan, float(loss), float(gain_db))
        )
    return rows
