"""Write a plan as C source: constant tables for programs without Python or a file system."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.engine.plan import Plan, Scale

__all__ = ["comment_text", "constant", "network_source"]

_KINDS = (
    "EDGESEP_CONV",
    "EDGESEP_DEPTHWISE",
    "EDGESEP_SUM",
    "EDGESEP_COPY",
    "EDGESEP_RECALL",
    "EDGESEP_LOOKUP",
)
_GROUPS = {  # tuple of Plan -> struct, count of edgesep_network
    "filters": ("edgesep_filter", "filter_count"),
    "sums": ("edgesep_sum", "sum_count"),
    "copies": ("edgesep_copy", "copy_count"),
    "recalls": ("edgesep_recall", "recall_count"),
    "lookups": ("edgesep_lookup", "lookup_count"),
}
_WIDTH = 100


def network_source(plan: Plan, symbol: str, comment: str) -> str:
    """Return a C file that defines `const edgesep_network SYMBOL`; equal plans give equal text.

    comment: what the first line says, such as where the plan comes from.
    """
    parts = [f"/* {comment_text(comment)} */", '#include "edgesep_network.h"']
    for group in _GROUPS:
        for i, step in enumerate(getattr(plan, group)):
            for name, array in _arrays(step):
                table = constant(f"{group}_{i}_{name}", array)
                parts.append(f"/* {comment_text(step.name)} */\n{table}")
    for group in _GROUPS:
        if getattr(plan, group):
            parts.append(_group(group, getattr(plan, group)))
    parts += [_steps(plan), _network(plan, symbol)]
    return "\n\n".join(parts) + "\n"


def comment_text(text: str) -> str:
    """Return text that cannot end a C comment."""
    return re.sub(r"[^\w .,:()/-]", "?", text).replace("*/", "?/")


def _arrays(step: Any) -> Iterable[tuple[str, NDArray[Any]]]:
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value


def constant(name: str, array: NDArray[Any], *, static: bool = True) -> str:
    """Return the definition of a constant array."""
    numbers = textwrap.fill(
        ", ".join(map(str, array.reshape(-1).tolist())),
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
    )
    head = f"const {array.dtype.name}_t {name}[{array.size}] = {{"
    return f"{'static ' if static else ''}{head}\n{numbers}\n}};"


def _group(group: str, steps: Iterable[Any]) -> str:
    rows = "\n".join(_row(group, i, step) for i, step in enumerate(steps))
    return f"static const {_GROUPS[group][0]} {group}[] = {{\n{rows}\n}};"


def _row(group: str, index: int, step: Any) -> str:
    values = {field.name: getattr(step, field.name) for field in fields(step)}
    pairs = []
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            pairs.append(f".{name} = {group}_{index}_{name}")
        elif isinstance(value, Scale):
            pairs.append(f".{name} = {{{value.multiplier}, {value.shift}}}")
        elif not isinstance(value, str):
            pairs.append(f".{name} = {value}")
    body = textwrap.fill(
        ", ".join(pairs), _WIDTH - 2, initial_indent="     ", subsequent_indent="     ",
        break_long_words=False,
    )  # fmt: skip
    return f"    {{ /* {comment_text(step.name)} */\n{body}}},"


def _steps(plan: Plan) -> str:
    groups = ("filters", "filters", "sums", "copies", "recalls", "lookups")
    rows = [
        f"    {{{_KINDS[kind]}, {i}}}, /* {comment_text(getattr(plan, groups[kind])[i].name)} */"
        for kind, i in plan.steps
    ]
    return "static const edgesep_step steps[] = {\n" + "\n".join(rows) + "\n};"


def _network(plan: Plan, symbol: str) -> str:
    names = [f.name for f in fields(plan) if isinstance(getattr(plan, f.name), int)]
    lines = [f"    .{name} = {getattr(plan, name)}," for name in names]
    lines += [f"    .step_count = {len(plan.steps)},", "    .steps = steps,"]
    for group, (_, count) in _GROUPS.items():
        if getattr(plan, group):
            lines += [f"    .{count} = {len(getattr(plan, group))},", f"    .{group} = {group},"]
    declaration = f"extern const edgesep_network {symbol};\n"  # C wants one before a definition
    return f"{declaration}const edgesep_network {symbol} = {{\n" + "\n".join(lines) + "\n};"
