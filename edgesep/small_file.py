"""Read a whole file that has to be a regular one and of a bounded size."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NotSmall", "read_small"]


class NotSmall(Exception):
    """The file is larger than allowed, or no regular file; the text says which, after its name."""


def read_small(path: Path, limit_bytes: int) -> bytes:
    """Return the bytes of the file at `path`.

    Raises NotSmall for what is larger than `limit_bytes`, or a pipe or device, which might never
    end; OSError when it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise NotSmall("not a regular file")
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise NotSmall(f"larger than {limit_bytes >> 20} MB")
    return content
