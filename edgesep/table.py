"""Tables on the terminal, by rich; as wide as they need to be where the output is no terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

from edgesep.errors import one_line

__all__ = ["print_table"]

_WIDE = 400  # columns of text: more than any table here has
_FIGURE = re.compile(r"[-+]?[\d.,]*( ?[%a-zA-Z]{0,3})?|\?")  # with or without a unit


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to standard output; columns of figures are set to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    cells = [[one_line(str(cell)) for cell in row] for row in rows]  # a card may hold any text
    for i, name in enumerate(columns):
        figures = i > 0 and all(_FIGURE.fullmatch(row[i]) for row in cells)
        table.add_column(one_line(name), justify="right" if figures else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines()))
