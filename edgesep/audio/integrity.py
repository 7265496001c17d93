"""Find files that end too early: libsndfile silently shortens most of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["describe_missing_end"]

_OGG_PAGE_MAX_BYTES = 65307
_OGG_LAST_PAGE = 4  # bit of the page's header type
# Sizes that programs which cannot seek back leave in a header: arecord 0x80000000,
# sox 0x7ffff000 and up, ffmpeg and others 0xffffffff and a little below. 0 is also common.
_PLACEHOLDERS = (range(1), range(0x7FFFF000, 0x80000001), range(0xFFFFF000, 0x100000000))


def describe_missing_end(path: Path) -> str | None:
    """Return what is missing when the file is shorter than it says, else None.

    Reads WAV, RF64, AIFF and Ogg headers itself; other containers (FLAC, MP3) give too few
    frames on reading, which `AudioReader` checks. Raises OSError.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        size = os.fstat(file.fileno()).st_size
        if magic in (b"RIFF", b"RIFX", b"RF64"):
            order = "big" if magic == b"RIFX" else "little"
            return _check_chunks(file, size, order, b"data")
        if magic == b"FORM":
            return _check_chunks(file, size, "big", b"SSND")
        if magic == b"OggS":
            return _check_ogg(file, size)
    return None


def _check_chunks(file: BinaryIO, file_bytes: int, order: str, wanted: bytes) -> str | None:
    """Walk the chunks of an IFF-like file up to the one that holds the sound."""
    long_bytes = None  # size of the data chunk from RF64's ds64 chunk
    position = 12
    while position + 8 <= file_bytes:
        file.seek(position)
        name, size = file.read(4), _integer(file.read(4), order)
        if name == b"ds64":
            long_bytes = _integer(file.read(16)[8:], order)
        if name == wanted:
            if size == 0xFFFFFFFF and long_bytes:
                size = long_bytes
            present = file_bytes - position - 8
            if present >= size or any(size in sizes for sizes in _PLACEHOLDERS):
                return None
            return f"its header promises {size} bytes of sound, {present} are there"
        position += 8 + size + size % 2
    return "it ends before its sound begins"


def _integer(raw: bytes, order: str) -> int:
    return int.from_bytes(raw, "big" if order == "big" else "little")


def _check_ogg(file: BinaryIO, file_bytes: int) -> str | None:
    """Look at the last page: it must be whole and carry the end-of-stream mark."""
    start = max(0, file_bytes - 2 * _OGG_PAGE_MAX_BYTES)
    file.seek(start)
    tail = file.read()
    position = tail.rfind(b"OggS")
    header = tail[position : position + 27]
    if position < 0 or len(header) < 27:
        return "its last Ogg page is cut"
    segments = tail[position + 27 : position + 27 + header[26]]
    body = len(tail) - position - 27 - header[26]
    if len(segments) < header[26] or body < sum(segments):
        return "its last Ogg page is cut"
    if not header[5] & _OGG_LAST_PAGE:
        return "its last Ogg page carries no end-of-stream mark"
    return None
