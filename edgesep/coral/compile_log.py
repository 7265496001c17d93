"""Read what Google's edgetpu_compiler prints: its version, its complaint, its operation table.

The forms are those that users of versions 2.0 to 16.0 have posted; the table is what -s prints and
what NAME_edgetpu.log holds:

    Operator                       Count      Status

    CONV_2D                        63         Mapped to Edge TPU
    RESHAPE                        1          More than one subgraph is not supported
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CompileLog", "Row", "read_log"]

MAPPED = "Mapped to Edge TPU"
_HEAD = re.compile(r"^\s*Operator\s+Count\s+Status\s*$")
_ROW = re.compile(r"^\s*(\S+)\s+(\d+)\s+(\S.*?)\s*$")
_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_COMPLAINTS = (
    re.compile(r"^\s*(Internal compiler error.*?)\s*$", re.M),
    re.compile(r"^\s*(Invalid model:.*(?:\n\s*\S.*)?)", re.M),
    re.compile(r"^\s*(Compilation (?:failed|timed out).*?)\s*$", re.M | re.I),
    re.compile(r"^\s*(ERROR:.*?)\s*$", re.M),
    re.compile(r"^\s*(.*(?:No such file|not found|Cannot connect|denied).*?)\s*$", re.M),
)


@dataclass(frozen=True)
class Row:
    """One line of the operation table."""

    kind: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """True when these operations run on the Edge TPU."""
        return self.status == MAPPED


@dataclass(frozen=True)
class CompileLog:
    """What a run of the compiler said."""

    version: str
    """Such as "16.0.384591198"; empty when it said none."""
    rows: tuple[Row, ...]
    """The operation table; empty when there was none."""
    complaint: str
    """The line that says what went wrong; empty when none was recognised."""

    @property
    def mapped(self) -> int:
        """Number of operations on the Edge TPU."""
        return sum(row.count for row in self.rows if row.mapped)

    @property
    def unmapped(self) -> list[Row]:
        """What runs on the CPU."""
        return [row for row in self.rows if not row.mapped]


def read_log(text: str) -> CompileLog:
    """Read standard output and error of the compiler, or its log file."""
    version = _VERSION.search(text)
    found = (pattern.search(text) for pattern in _COMPLAINTS)
    complaint = next((match.group(1) for match in found if match), "")
    return CompileLog(
        version.group(1) if version else "", tuple(_table(text)), " ".join(complaint.split())
    )


def _table(text: str) -> list[Row]:
    """Return the rows of the last table; blank lines may stand in it, other lines end it."""
    rows: list[Row] = []
    inside = False
    for line in text.splitlines():
        if _HEAD.match(line):
            rows, inside = [], True
        elif inside and line.strip():
            row = _ROW.match(line)
            inside = row is not None
            if row:
                rows.append(Row(row.group(1), int(row.group(2)), row.group(3)))
    return rows
