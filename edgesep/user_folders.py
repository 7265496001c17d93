"""Where a user's own files are kept."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["data_folder"]


def data_folder(kind: str, variable: str) -> Path:
    """Return the user's folder for one kind of file, such as "models"; it need not exist.

    The environment variable named by `variable`, else edgesep/KIND in XDG_DATA_HOME, which is
    ~/.local/share by default (XDG Base Directory Specification).
    """
    override = os.environ.get(variable)
    if override:
        return Path(override).expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():  # also when it is not set: the standard says to ignore others
        data = Path("~/.local/share").expanduser()
    return data / "edgesep" / kind
