"""Does a model fit a board? Flash, RAM and instructions, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from edgesep import native
from edgesep.card import Card
from edgesep.contract import FrameContract
from edgesep.engine.exact import compile_model
from edgesep.engine.plan import Plan
from edgesep.errors import ModelError
from edgesep.firmware.boards import Board
from edgesep.firmware.costs import ERROR_PERCENT, estimate
from edgesep.models import find_model, list_models

__all__ = [
    "CODE_BYTES",
    "STACK_BYTES",
    "BudgetError",
    "Needs",
    "check_budget",
    "exceeded",
    "needs_of",
]

CODE_BYTES = 30 << 10
"""Flash that the core's code and tables take at most, on any of the boards; tested."""
STACK_BYTES = 4 << 10
"""Stack that a call of edgesep_process takes at most; tested."""


CONTRACT_BYTES = 40  # edgesep_contract, with padding
GAINS = 256  # one for each value of a mask, 16 bit


class BudgetError(ModelError):
    """A model does not fit a board; `table` has a line for each budget."""

    def __init__(self, message: str, table: str) -> None:
        super().__init__(message)
        self.table = table


@dataclass(frozen=True)
class Needs:
    """What a model takes on a board. Bytes are upper bounds: pointers count eight of them each."""

    weights_and_tables: int
    state_and_activations: int
    instructions: int | None
    """Of a hop, estimated; None where the processor has not been counted."""
    hop_samples: int

    @property
    def flash_bytes(self) -> int:
        """Weights, tables and code."""
        return self.weights_and_tables + CODE_BYTES

    @property
    def ram_bytes(self) -> int:
        """State, activations and stack."""
        return self.state_and_activations + STACK_BYTES

    def hop_percent(self, board: Board) -> float | None:
        """Instructions of a hop by the clock cycles in a hop."""
        if self.instructions is None:
            return None
        return 100 * self.instructions / board.cycles_per_hop(self.hop_samples)


def needs_of(board: Board, contract: FrameContract, plan: Plan) -> Needs:
    """Return what a compiled model takes."""
    network = sum(_constant_bytes(getattr(plan, f.name)) for f in fields(plan))
    frame = 2 * len(contract.band_edges) + CONTRACT_BYTES + 2 * GAINS
    return Needs(
        weights_and_tables=network + frame,
        state_and_activations=native.stream_memory_bytes(contract, plan),
        instructions=estimate(board.cpu_flags, contract, plan),
        hop_samples=contract.hop_samples,
    )


def _constant_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes + 8
    if is_dataclass(value):
        return sum(_constant_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return sum(map(_constant_bytes, value))
    return 0 if isinstance(value, str) else 4


def check_budget(board: Board, card: Card, needs: Needs) -> None:
    """Raise BudgetError, naming the largest shipped model that fits, unless this one does."""
    beyond = exceeded(board, needs)
    if not beyond:
        return
    fitting = _largest_that_fits(board)
    advice = f"the largest model that fits is {fitting}" if fitting else "no shipped model fits"
    raise BudgetError(
        f"{card.name} does not fit {board.name}: too much {' and '.join(beyond)}; {advice}",
        _table(board, card, needs),
    )


def exceeded(board: Board, needs: Needs) -> list[str]:
    """Return which budgets a model exceeds: "flash", "RAM", "computation"."""
    percent = needs.hop_percent(board)
    tests = {
        "flash": needs.flash_bytes > board.flash_bytes,
        "RAM": needs.ram_bytes > board.ram_bytes,
        "computation": percent is not None and percent > board.instructions_percent,
    }
    return [name for name, too_much in tests.items() if too_much]


def _largest_that_fits(board: Board) -> str | None:
    fitting: list[tuple[int, str]] = []
    for name in list_models():
        path, card = find_model(name)
        needs = needs_of(board, card.contract, compile_model(path, card))
        if not exceeded(board, needs):
            fitting.append((needs.weights_and_tables, name))
    return max(fitting)[1] if fitting else None


def _table(board: Board, card: Card, needs: Needs) -> str:
    beyond = exceeded(board, needs)
    rows = [
        ("flash", _kb(needs.flash_bytes), _kb(board.flash_bytes), "flash"),
        ("RAM", _kb(needs.ram_bytes), _kb(board.ram_bytes), "RAM"),
    ]
    if needs.instructions is not None:
        allowed = board.cycles_per_hop(needs.hop_samples) * board.instructions_percent / 100
        rows.append(
            ("instructions a hop", f"{needs.instructions:,}", f"{allowed:,.0f}", "computation")
        )
    lines = [f"{'':<20}{card.name + ' needs':>22}{board.name + ' has':>26}"]
    for title, need, budget, name in rows:
        verdict = "  too much" if name in beyond else ""
        lines.append(f"{title:<20}{need:>22}{budget:>26}{verdict}")
    lines.append(
        f"Instructions are estimated to {ERROR_PERCENT}%; the board's are "
        f"{board.instructions_percent:g}% of its cycles at {board.clock_mhz:g} MHz."
    )
    return "\n".join(lines)


def _kb(count: int) -> str:
    return f"{count / 1024:.0f} KB"
