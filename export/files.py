"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, of the same suffixes, and put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part{os.getpid()}.{path.name}")  # two processes may write the same
    write(part)
    os.replace(part, path)
