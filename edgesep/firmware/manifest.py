"""MANIFEST.json of a project: what is in it, what it takes, and how that is known."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from edgesep.card import Card
from edgesep.contract import FrameContract
from edgesep.firmware.boards import Board
from edgesep.firmware.budget import CODE_BYTES, STACK_BYTES, Needs
from edgesep.firmware.costs import ERROR_PERCENT
from edgesep.firmware.measure import Figures
from edgesep.firmware.part import Part
from edgesep.settings import Settings

__all__ = ["manifest", "measured_here", "shipped_figures"]

FORMAT = 2
_NOT_MEASURED = (
    "null: nobody has measured this model with this latency on this board yet; "
    "`edgesep firmware --measure` builds and runs the project"
)


def manifest(
    board: Board,
    card: Card,
    contract: FrameContract,
    settings: Settings,
    needs: Needs,
    measured: Mapping[str, Any] | None,
    parts: Sequence[Part],
    files: Mapping[str, bytes],
) -> bytes:
    """Return the manifest. Equal arguments give equal bytes.

    measured: what `shipped_figures` or `measured_here` returns; None: unknown.
    """
    percent = needs.hop_percent(board)
    document = {
        "format": FORMAT,
        "board": {
            "name": board.name,
            "clock_mhz": board.clock_mhz,
            "cpu_flags": board.cpu_flags,
            "flash_bytes": board.flash_bytes,
            "ram_bytes": board.ram_bytes,
            "qemu": board.qemu.machine if board.qemu else None,
            "npu": board.npu,
        },
        "model": {"name": card.name, "version": card.version, "sha256": card.sha256},
        "settings": {
            name: getattr(settings, name) for name in ("max_attenuation_db", "wet", "output")
        },
        "latency_ms": contract.latency_samples / 16,
        "latency_double_buffered_ms": (contract.latency_samples + contract.hop_samples) / 16,
        "hop_samples": contract.hop_samples,
        "at_most": {
            "flash_bytes": needs.flash_bytes,
            "ram_bytes": needs.ram_bytes,
            "code_bytes": CODE_BYTES,
            "weights_and_tables_bytes": needs.weights_and_tables,
            "state_and_activations_bytes": needs.state_and_activations,
            "stack_bytes": STACK_BYTES,
        },
        "estimated": {
            "instructions_per_hop": needs.instructions,
            "percent_of_hop": None if percent is None else round(percent, 1),
            "error_percent": ERROR_PERCENT,
        },
        "measured": measured,
        "measured_how": _NOT_MEASURED if measured is None else measured_how(measured),
        **{part.name: dict(part.figures) for part in parts},
        "files": {
            name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def measured_how(measured: Mapping[str, Any]) -> str:
    """Say in a sentence where the figures come from."""
    where = "for this release of edgesep" if measured["released"] else "when this was generated"
    return (
        f"{where}, built with {measured['compiler']} and run under {measured['emulator']}: "
        "executed instructions, not cycles; percent_of_hop takes one a clock cycle"
    )


def measured_here(
    board: Board, hop_samples: int, figures: Figures, tools: Mapping[str, str]
) -> dict[str, Any]:
    """Return figures as they stand in a manifest, measured with `tools` on this machine."""
    return _entry(board, hop_samples, asdict(figures), tools, released=False)


def shipped_figures(board: Board, card: Card, contract: FrameContract) -> dict[str, Any] | None:
    """Return the figures of a shipped model that figures.json holds; None for other models."""
    table = released_table()
    row = table["boards"].get(board.name, {}).get(card.name)
    same = row is not None and row["sha256"] == card.sha256 and row["cpu_flags"] == board.cpu_flags
    if not same or contract != card.contract:
        return None
    figures = {name: row[name] for name in Figures.__dataclass_fields__}
    return _entry(board, contract.hop_samples, figures, table["tools"], released=True)


def _entry(
    board: Board,
    hop_samples: int,
    figures: Mapping[str, int],
    tools: Mapping[str, str],
    *,
    released: bool,
) -> dict[str, Any]:
    percent = 100 * figures["instructions_per_hop"] / board.cycles_per_hop(hop_samples)
    return {**figures, "percent_of_hop": round(percent, 1), **tools, "released": released}


@functools.cache
def released_table() -> dict[str, Any]:
    """Return figures.json: what benchmarks/firmware.py measured of every shipped model."""
    text = (resources.files("edgesep.firmware") / "figures.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
