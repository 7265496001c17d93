"""Write a generated folder: the whole of it, or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from edgesep.errors import EdgesepError

__all__ = ["check_folder", "write_folder"]


def check_folder(folder: Path) -> None:
    """Raise EdgesepError unless `folder` is new or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise EdgesepError(f"{folder}: exists and is not an empty folder: name another")
    except OSError as error:
        raise EdgesepError(f"{folder}: cannot write the project ({error.strerror})") from error


def write_folder(
    files: Mapping[str, bytes], folder: Path, finish: Callable[[Path], None] | None = None
) -> None:
    """Write files, by their paths in `folder`, beside it first: then it gets its name at once.

    finish: called with the folder before that. Raises EdgesepError when it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".edgesep-", dir=folder.absolute().parent) as part:
            whole = Path(part) / "project"
            for name, content in files.items():
                path = whole / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if finish is not None:
                finish(whole)
            os.chmod(whole, 0o755)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
    except OSError as error:
        raise EdgesepError(f"{folder}: cannot write the project ({error.strerror})") from error
