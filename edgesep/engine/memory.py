"""Static memory: buffers that are not alive at the same time share their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "Lifetime", "place"]

ALIGNMENT = 16
"""Of every buffer, bytes: what vector loads like."""


@dataclass(frozen=True)
class Lifetime:
    """A buffer of so many bytes, alive from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int


def place(buffers: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Return the offset of each buffer and the size of the arena that holds them all.

    Greedy: the largest first, each at the lowest place that is free during its life (Pisarchyk and
    Lee 2020, arXiv 2001.03288, "greedy by size").
    """
    offsets: dict[int, int] = {}
    for i in sorted(range(len(buffers)), key=lambda i: (-buffers[i].size, i)):
        offset = 0
        for start, end in sorted(_taken(buffers, offsets, buffers[i])):
            if offset + buffers[i].size <= start:
                break
            offset = max(offset, end)
        offsets[i] = offset
    ends = [offset + _aligned(buffers[i].size) for i, offset in offsets.items()]
    return [offsets[i] for i in range(len(buffers))], max(ends, default=0)


def _taken(
    buffers: Sequence[Lifetime], offsets: dict[int, int], new: Lifetime
) -> list[tuple[int, int]]:
    """Return the spans, first byte and the one after the last, that others hold meanwhile."""
    return [
        (offset, offset + _aligned(buffers[i].size))
        for i, offset in offsets.items()
        if buffers[i].first <= new.last and new.first <= buffers[i].last
    ]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
