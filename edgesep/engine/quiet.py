"""Keep the runtime's notes to itself out of the user's terminal."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_info_lines"]

_lock = threading.Lock()  # file descriptor 2 belongs to the process, so one at a time


@contextmanager
def without_info_lines() -> Iterator[None]:
    """Drop the lines that start with "INFO:" from what is written to standard error meanwhile.

    A hack: LiteRT announces its delegate through C, and neither Python nor the environment can
    turn that off. An option in its Interpreter would remove this. Warnings and errors, and what
    other threads write meanwhile, come out afterwards.
    """
    with _lock, tempfile.TemporaryFile() as kept:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            original = os.dup(2)
        except OSError:  # a process without standard error
            yield
            return
        try:
            os.dup2(kept.fileno(), 2)
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            kept.seek(0)
            for line in kept:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)
