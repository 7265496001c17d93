"""PNG plots of export/: what they share. matplotlib is imported when something is drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from edgesep.errors import EdgesepError

from .files import write_whole

DPI = 110


def figure(rows: int, columns: int, width_in: float, height_in: float) -> tuple[Any, Any]:
    """Return a figure and its axes, (rows, columns), that no window shows.

    Raises EdgesepError, with the extra to install, where matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EdgesepError(f"plots need matplotlib ({error}): pip install -e .[export]") from error
    made = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns, squeeze=False)


def save_png(made: Any, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all; its folder is made."""
    if path.suffix.lower() != ".png":
        raise EdgesepError(f"{path}: plots are PNG files, name it {path.stem}.png")
    write_whole(path, partial(made.savefig, dpi=DPI, format="png"))
