"""One line on a terminal that says how far a batch is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from typing import TextIO

__all__ = ["ProgressLine"]

PERIOD_S = 0.1
BAR_CHARACTERS = 24


class ProgressLine:
    """A line that is redrawn in place; draws nothing unless `stream` is a terminal.

    weights: what each job counts for, such as its bytes.
    """

    def __init__(self, weights: Sequence[float], stream: TextIO) -> None:
        self._weights = weights
        self._stream = stream
        self._shares = [0.0] * len(weights)
        self._finished = 0
        self._started = self._drawn = time.monotonic()
        self._shown = stream.isatty()

    def update(self, index: int, fraction: float) -> None:
        """Note that `fraction` (0 .. 1) of job number `index` is done."""
        self._shares[index] = fraction
        now = time.monotonic()
        if self._shown and now - self._drawn >= PERIOD_S:
            self._drawn = now
            self._stream.write("\r" + self._text(now) + "\x1b[K")
            self._stream.flush()

    def finish(self, index: int) -> None:
        """Note the end of job number `index`."""
        self._shares[index] = 1.0
        self._finished += 1

    def note(self, text: str) -> None:
        """Print a line above the progress line."""
        self.clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _text(self, now: float) -> str:
        total = sum(self._weights) or 1.0
        share = sum(w * s for w, s in zip(self._weights, self._shares, strict=True)) / total
        bar = "#" * int(share * BAR_CHARACTERS)
        parts = [f"[{bar:-<{BAR_CHARACTERS}}] {100 * share:3.0f}%"]
        if len(self._weights) > 1:
            parts.append(f"{self._finished}/{len(self._weights)} files")
        if share > 0:
            left_s = round((now - self._started) * (1 - share) / share)
            parts.append(f"{left_s // 60}:{left_s % 60:02d} left")
        return "  ".join(parts)[: shutil.get_terminal_size().columns - 1]
