"""Read tables of a flatbuffer that may be damaged: every access is checked against the file.

Not with the `flatbuffers` package: that one trusts its offsets (a negative one reads from the
end), and comes with LiteRT, which 32-bit Arm does not have.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.errors import ModelError

__all__ = ["Table", "root"]

_MAX_TEXT_BYTES = 1024  # names go into error messages


def root(content: bytes) -> Table:
    """Return the root table of a flatbuffer. Raises ModelError, as all methods of Table do."""
    buffer = _Buffer(content)
    return Table(buffer, buffer.follow(0))


class _Buffer:
    """The bytes of the file; refuses to read outside."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def number(self, form: str, place: int) -> Any:
        """Return the little-endian number at `place`; form: a format letter of `struct`."""
        if not 0 <= place <= len(self._content) - struct.calcsize(f"<{form}"):
            raise ModelError("damaged: it points outside the file")
        return struct.unpack_from(f"<{form}", self._content, place)[0]

    def follow(self, place: int) -> int:
        """Return the place that the offset at `place` points to."""
        return place + int(self.number("I", place))

    def span(self, place: int, item_bytes: int) -> tuple[int, int]:
        """Return the first byte of the vector at `place` and its number of items."""
        count = int(self.number("I", place))
        start = place + 4
        if count * item_bytes > len(self._content) - start:
            raise ModelError("damaged: it points outside the file")
        return start, count

    def array(self, place: int, dtype: str) -> NDArray[Any]:
        """Return the vector of numbers at `place`; a read-only view."""
        start, count = self.span(place, np.dtype(dtype).itemsize)
        return np.frombuffer(self._content, dtype, count, start)


class Table:
    """One table; fields are known by their number in the schema."""

    def __init__(self, buffer: _Buffer, place: int) -> None:
        self._buffer = buffer
        self._place = place
        self._fields = place - int(buffer.number("i", place))
        self._fields_bytes = int(buffer.number("H", self._fields))

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Return a whole number; form: a format letter of `struct`."""
        place = self._find(field)
        return default if place is None else int(self._buffer.number(form, place))

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """Return a vector of numbers, empty when absent; a read-only view."""
        place = self._find(field)
        if place is None:
            return np.empty(0, dtype)
        return self._buffer.array(self._buffer.follow(place), dtype)

    def text(self, field: int) -> str:
        """Return a string, empty when absent; what is no UTF-8 or not printable becomes "?"."""
        content = self.array(field, "u1").tobytes()
        if len(content) > _MAX_TEXT_BYTES:
            raise ModelError(f"damaged: a name of {len(content)} bytes")
        decoded = content.decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in decoded)

    def table(self, field: int) -> Table | None:
        """Return another table, None when absent."""
        place = self._find(field)
        return None if place is None else Table(self._buffer, self._buffer.follow(place))

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables, empty when absent."""
        place = self._find(field)
        if place is None:
            return []
        start, count = self._buffer.span(self._buffer.follow(place), 4)
        places = range(start, start + 4 * count, 4)
        return [Table(self._buffer, self._buffer.follow(p)) for p in places]

    def _find(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._fields_bytes:
            return None
        offset = int(self._buffer.number("H", self._fields + entry))
        return self._place + offset if offset else None
