"""Which boards a model fits, by the budgets of the boards that firmware is generated for."""

from __future__ import annotations

from dataclasses import dataclass

from edgesep import native
from edgesep.engine.exact import compile_model
from edgesep.firmware.boards import firmware_boards, read_board
from edgesep.firmware.budget import exceeded, needs_of
from edgesep.models import find_model

__all__ = ["Fit", "fits"]


@dataclass(frozen=True)
class Fit:
    """A model on a board: what it needs, before anything is built, and what there is."""

    board: str
    like: str
    """Boards that it stands for."""
    flash_bytes: int
    flash_budget: int
    ram_bytes: int
    ram_budget: int
    hop_percent: float | None
    """Estimated instructions by the clock cycles in a hop; None where it is not known."""
    hop_budget_percent: float
    too_much: tuple[str, ...]
    """Budgets that are exceeded: "flash", "RAM", "computation"; empty where it fits."""


def fits(model: str) -> list[Fit] | None:
    """Return how a model, by name or path, fits each board; None where the core is not built.

    Raises ModelError for a model that is not sound.
    """
    if not native.available():
        return None  # memory is counted by the core itself
    path, card = find_model(model)
    plan = compile_model(path, card)
    found = []
    for name in firmware_boards():
        board = read_board(name)
        needs = needs_of(board, card.contract, plan)
        found.append(
            Fit(
                board=board.name,
                like=board.like,
                flash_bytes=needs.flash_bytes,
                flash_budget=board.flash_bytes,
                ram_bytes=needs.ram_bytes,
                ram_budget=board.ram_bytes,
                hop_percent=needs.hop_percent(board),
                hop_budget_percent=board.instructions_percent,
                too_much=tuple(exceeded(board, needs)),
            )
        )
    return found
