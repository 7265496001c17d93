"""Before and after, clip by clip: means, 95% intervals, and whether it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .score import half_width

Rows = dict[str, list[dict[str, Any]]]
"""Test set ("room", "other") -> rows of `score.score`."""

LEAST_GAIN_DB = 0.1  # another calibration alone moves SI-SDR by some hundredths
FORGOTTEN_DB = 1.0  # clean speech may lose so much SI-SDR, mixtures with other noise half of it
PESQ_LOST = 0.02
OTHER_PESQ_LOST = 0.03  # what int8 may cost a model, and what goes along with half a dB of SI-SDR
PAUSES_LOST_DB = 3.0  # twice the noise power where nobody speaks: SI-SDR of mixtures hardly sees it


@dataclass(frozen=True)
class Estimate:
    """A mean over clips and the half-width of its 95% interval."""

    mean: float
    ci95: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Estimate:
        """Return the estimate of one value or more; a single one has no interval and gets 0."""
        x = np.asarray(values, float)
        return cls(float(x.mean()), half_width(x))


@dataclass(frozen=True)
class Figure:
    """One line of the table; `change` is the mean of the differences clip by clip."""

    group: str
    name: str
    digits: int
    clips: int
    before: Estimate
    after: Estimate
    change: Estimate


# key, test set, kind of clip, group, name, digits
_FIGURES = (
    ("own_si_sdri_db", "room", "mix", "your noise", "SI-SDR improvement, dB", 2),
    ("own_pesq", "room", "mix", "your noise", "PESQ", 3),
    ("own_estoi", "room", "mix", "your noise", "ESTOI", 3),
    ("own_attenuation_db", "room", "noise", "your noise alone", "attenuation, dB", 1),
    ("clean_si_sdr_db", "room", "clean", "clean speech (40 dB SNR)", "SI-SDR, dB", 2),
    ("clean_pesq", "room", "clean", "clean speech (40 dB SNR)", "PESQ", 3),
    ("other_si_sdri_db", "other", "mix", "other noise", "SI-SDR improvement, dB", 2),
    ("other_pesq", "other", "mix", "other noise", "PESQ", 3),
)


@dataclass(frozen=True)
class Comparison:
    """All figures by key; `faults`: why the new model is not better, none where it is."""

    figures: dict[str, Figure]
    faults: tuple[str, ...]

    @property
    def better(self) -> bool:
        """Whether the new model is to be preferred."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Return what the report file holds of it."""
        figures = {key: asdict(figure) for key, figure in self.figures.items()}
        return {"better": self.better, "faults": list(self.faults), "figures": figures}

    def after_means(self) -> dict[str, dict[str, float]]:
        """Return the new model's means by group, for its card."""
        means: dict[str, dict[str, float]] = {}
        for key, figure in self.figures.items():
            group, measure = key.split("_", 1)
            means.setdefault(GROUPS[group], {})[measure] = round(figure.after.mean, 3)
        return means


GROUPS = {"own": "own noise", "clean": "speech at 40 dB", "other": "other noise"}


def compare(before: Rows, after: Rows) -> Comparison:
    """Return the figures of two measurements of the same clips, and the verdict."""
    figures = {}
    for key, test_set, kind, group, name, digits in _FIGURES:
        pair = [
            [_value(key, row) for row in rows.get(test_set, ()) if row["kind"] == kind]
            for rows in (before, after)
        ]
        if pair[0]:
            change = Estimate.of(np.subtract(pair[1], pair[0]))
            both = Estimate.of(pair[0]), Estimate.of(pair[1])
            figures[key] = Figure(group, name, digits, len(pair[0]), *both, change)
    return Comparison(figures, tuple(_faults(figures)))


def _value(key: str, row: dict[str, Any]) -> float:
    measure = key.split("_", 1)[1]
    if measure == "si_sdri_db":
        return float(row["si_sdr_db_out"]) - float(row["si_sdr_db_noisy"])
    return float(row["attenuation_db" if measure == "attenuation_db" else f"{measure}_out"])


def _faults(figures: dict[str, Figure]) -> list[str]:
    gain = figures["own_si_sdri_db"].change
    faults = []
    if gain.mean < LEAST_GAIN_DB or gain.mean <= gain.ci95:
        faults.append(
            f"in your noise SI-SDR changes by {gain.mean:+.2f} +- {gain.ci95:.2f} dB, "
            f"which is no sure gain of {LEAST_GAIN_DB:g} dB"
        )
    limits = {
        "own_pesq": (PESQ_LOST, "PESQ in your noise"),
        "own_attenuation_db": (PAUSES_LOST_DB, "attenuation of your noise alone, dB,"),
        "clean_si_sdr_db": (FORGOTTEN_DB, "SI-SDR of clean speech, dB,"),
        "other_si_sdri_db": (FORGOTTEN_DB / 2.0, "SI-SDR improvement in other noise, dB,"),
        "other_pesq": (OTHER_PESQ_LOST, "PESQ in other noise"),
    }
    for key, (limit, what) in limits.items():
        if key in figures and figures[key].change.mean < -limit:
            faults.append(f"{what} falls by {-figures[key].change.mean:.2f} (limit {limit:g})")
    return faults


def print_table(comparison: Comparison) -> None:
    """Print before, after and change with 95% intervals."""
    table = Table(title="held-out noise and voices, int8, mean and 95% interval")
    for head in ("", "clips", "before", "after", "change"):
        table.add_column(head, justify="right" if head else "left")
    for figure in comparison.figures.values():
        d = figure.digits
        cells = [f"{e.mean:.{d}f} ±{e.ci95:.{d}f}" for e in (figure.before, figure.after)]
        cells.append(f"{figure.change.mean:+.{d}f} ±{figure.change.ci95:.{d}f}")
        table.add_row(f"{figure.group}: {figure.name}", str(figure.clips), *cells)
    Console(width=None if Console().is_terminal else 100).print(table)
