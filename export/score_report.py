"""What `score` says: systems side by side by SNR, the bars a model has to pass, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .files import write_whole
from .score import Groups, Row

COLUMNS = (
    "clips",
    "system",
    "SI-SDR in, out",
    "gain",
    "PESQ in, out",
    "ESTOI in, out",
    "worse",
    "onsets",
    "fricatives",
    "attenuated",
)
WORST_SHARE, CLEAN_SI_SDR_DB, ATTENUATION_DB = 0.03, 30.0, 20.0
INT8_COST_DB, INT8_COST_PESQ = 0.15, 0.03


@dataclass(frozen=True)
class System:
    """One system's rows, their summary, and by how many samples its outputs were moved."""

    label: str
    rows: Sequence[Row]
    groups: Groups
    late_samples: int = 0


def score_table(systems: Sequence[System]) -> list[tuple[str, ...]]:
    """Return the cells of a table, `COLUMNS`: every group of clips, in it a row per system."""
    rows = []
    for group in dict.fromkeys(name for system in systems for name in system.groups):
        first = f"{group} ({systems[0].groups[group]['clips']:.0f})"
        for system in systems:
            rows.append((first, system.label, *_cells(system.groups[group])))
            first = ""
    return rows


def _cells(g: Mapping[str, float]) -> tuple[str, ...]:
    if "attenuation_db" in g:
        return ("",) * 7 + (f"{g['attenuation_db']:.1f} +-{g['attenuation_db_ci95']:.1f} dB",)
    return (
        f"{g['si_sdr_db_noisy']:.2f}, {g['si_sdr_db_out']:.2f} dB",
        f"{g['si_sdri_db']:.2f} +-{g['si_sdri_db_ci95']:.2f} dB",
        f"{g['pesq_noisy']:.3f}, {g['pesq_out']:.3f} +-{g['pesq_out_ci95']:.3f}",
        f"{g['estoi_noisy']:.3f}, {g['estoi_out']:.3f} +-{g['estoi_out_ci95']:.3f}",
        f"{g['worse_share']:.1%}",
        *(_kept(g, f"{part}_kept_db") for part in ("onsets", "fricatives")),
        "",
    )


def _kept(g: Mapping[str, float], key: str) -> str:
    return f"{g[key]:.1f} +-{g[f'{key}_ci95']:.1f} dB" if key in g else ""


def bars(system: System, int8_cost: Mapping[str, float] | None = None) -> list[tuple[str, ...]]:
    """Return (what, found, wanted, "passed" or "missed") for each bar that has figures.

    int8_cost: what the system loses against its own float (`score.cost`).
    """
    found = []
    groups = system.groups
    if "mixes" in groups:
        share = groups["mixes"]["worse_share"]
        found.append(
            ("mixes that end worse", f"{share:.1%}", f"< {WORST_SHARE:.0%}", share < WORST_SHARE)
        )
    if "speech at 40 dB" in groups:
        clean = groups["speech at 40 dB"]
        level, gain = clean["si_sdr_db_out"], clean["pesq_gain"]
        wanted, text = f">= {CLEAN_SI_SDR_DB:g} dB", f"{gain:+.3f} +-{clean['pesq_gain_ci95']:.3f}"
        found += [
            ("speech at 40 dB: SI-SDR", f"{level:.1f} dB", wanted, level >= CLEAN_SI_SDR_DB),
            ("speech at 40 dB: PESQ against the input's", text, ">= 0", gain >= 0.0),
        ]
    if "noise alone" in groups:
        off = groups["noise alone"]["attenuation_db"]
        wanted = f">= {ATTENUATION_DB:g} dB"
        found.append(("noise alone: attenuation", f"{off:.1f} dB", wanted, off >= ATTENUATION_DB))
    if int8_cost:
        for key, limit, unit in (
            ("si_sdr_db", INT8_COST_DB, " dB"), ("pesq", INT8_COST_PESQ, "")
        ):  # fmt: skip
            lost, width = int8_cost[key], int8_cost[f"{key}_ci95"]
            what = f"{'SI-SDR' if unit else 'PESQ'} lost against float"
            text = f"{lost:.3f} +-{width:.3f}{unit}"
            found.append((what, text, f"<= {limit:g}{unit}", lost <= limit))
    return [
        (what, text, wanted, "passed" if good else "missed") for what, text, wanted, good in found
    ]


def save_json(
    systems: Sequence[System],
    settings: Mapping[str, object],
    costs: Mapping[str, Mapping[str, float]],
    path: Path,
) -> None:
    """Write every figure: the first system's summary and clips, the others' below `beside`."""
    first, *others = systems
    document = {
        "settings": dict(settings),
        **_document(first),
        "beside": {system.label: _document(system) for system in others},
        "loses_against": {label: dict(cost) for label, cost in costs.items()},
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, partial(Path.write_text, data=text))


def _document(system: System) -> dict[str, object]:
    return {
        "system": system.label,
        "late_samples": system.late_samples,
        "summary": system.groups,
        "clips": list(system.rows),
    }
