"""Instructions of a hop before anything is built: shapes times what was counted under QEMU.

`costs.json` holds, for each processor, what a step of each kind takes per step, per position, per
product .. `benchmarks/firmware_costs.py` fits it to counts of single steps on emulated boards;
tests/test_firmware_table.py holds estimates against counts of whole hops.
"""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from edgesep.contract import FrameContract
from edgesep.engine.plan import CONV, COPY, DEPTHWISE, LOOKUP, RECALL, SUM, Filter, Plan

__all__ = ["ERROR_PERCENT", "estimate", "frame_terms", "processor", "step_terms"]

ERROR_PERCENT = 10
"""Estimates of whole hops are off by no more than this, on the models that are tested."""

Terms = tuple[str, tuple[float, ...]]


def processor(cpu_flags: str) -> str:
    """Return the processor that gcc's flags name, such as "cortex-m4"; "" if none."""
    found = re.search(r"-mcpu=(\S+)", cpu_flags)
    return found[1] if found else ""


def estimate(cpu_flags: str, contract: FrameContract, plan: Plan) -> int | None:
    """Return the instructions of a hop, front end included, on a processor; None: not known.

    Off by no more than ERROR_PERCENT for networks like the shipped ones.
    """
    costs = _costs()["processors"].get(processor(cpu_flags))
    if costs is None:
        return None
    terms = [frame_terms(contract), *step_terms(plan)]
    return round(sum(_dot(costs[kind], numbers) for kind, numbers in terms))


def frame_terms(contract: FrameContract) -> Terms:
    """Return what the front end's cost is made of: transforms, bands, samples."""
    return "frame", (1, contract.bands, contract.hop_samples + contract.fade_samples)


def step_terms(plan: Plan) -> list[Terms]:
    """Return for each step its kind and the numbers that its cost is made of."""
    return [_terms(plan, kind, index) for kind, index in plan.steps]


def _terms(plan: Plan, kind: int, index: int) -> Terms:
    if kind == CONV:
        return _convolution(plan.filters[index])
    if kind == DEPTHWISE:
        f = plan.filters[index]
        positions = f.out_height * f.out_width
        taps = f.kernel_height * f.kernel_width
        outputs = positions * f.out_channels
        by_four = f.in_channels == f.out_channels and f.out_channels % 4 == 0
        return "depthwise" if by_four else "depthwise_any", (1, positions, outputs, outputs * taps)
    if kind == SUM:
        return "sum", (1, plan.sums[index].count)
    if kind == COPY:
        copy = plan.copies[index]
        return "copy", (1, copy.rows, copy.rows * copy.row_bytes)
    if kind == RECALL:
        recall = plan.recalls[index]
        return "recall", (1, recall.taps, recall.taps * recall.column_bytes)
    if kind == LOOKUP:
        return "lookup", (1, plan.lookups[index].count)
    raise NotImplementedError(f"no cost for steps of kind {kind}")


def _convolution(f: Filter) -> Terms:
    positions = f.out_height * f.out_width
    values = f.kernel_height * f.kernel_width * f.in_channels
    outputs = positions * f.out_channels
    is_point = f.kernel_height == f.kernel_width == f.stride_height == f.stride_width == 1
    return (
        "pointwise" if is_point else "convolution",
        (1, positions, positions * values, outputs, outputs * f.row_bytes),
    )


def _dot(costs: list[float], numbers: tuple[float, ...]) -> float:
    return sum(cost * number for cost, number in zip(costs, numbers, strict=True))


@functools.cache
def _costs() -> dict[str, Any]:
    text = (resources.files("edgesep.firmware") / "costs.json").read_text(encoding="utf-8")
    costs: dict[str, Any] = json.loads(text)
    return costs
