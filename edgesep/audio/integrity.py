"""Find files that end too early: libsndfile silently shortens most of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["describe_missing_end"]

_OGG_PAGE_MAX_BYTES = 65307
_OGG_LAST_PAGE = 4  # bit of the page's header type
# Sizes that programs which cannot seek back leave in a header: arecord 0x80000000,
# sox 0x7ffff000 and up, ffmpeg and others 0xffffffff and a little below; CAF says -1.
_PLACEHOLDERS = (
    range(0x7FFFF000, 0x80000001),
    range(0xFFFFF000, 0x100000000),
    range((1 << 64) - 1, 1 << 64),
)


@dataclass(frozen=True)
class _Chunks:
    """How a container lines up its chunks: a name, a size, the content."""

    first: int
    """Where the first chunk stands, bytes."""
    name_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    sound: bytes
    """How the name of the chunk with the sound begins."""
    align: int
    """Chunks start at multiples of this, bytes."""
    counts_itself: bool = False
    """The size includes name and size."""


_CONTAINERS = {
    b"RIFF": _Chunks(12, 4, 4, "little", b"data", 2),
    b"RIFX": _Chunks(12, 4, 4, "big", b"data", 2),
    b"RF64": _Chunks(12, 4, 4, "little", b"data", 2),
    b"FORM": _Chunks(12, 4, 4, "big", b"SSND", 2),
    b"caff": _Chunks(8, 4, 8, "big", b"data", 1),
    b"riff": _Chunks(40, 16, 8, "little", b"data", 8, counts_itself=True),
}


def describe_missing_end(path: Path) -> str | None:
    """Return what is missing when the file is shorter than it says, else None.

    Reads the headers of WAV, RF64, W64, AIFF, CAF, AU and Ogg itself; other containers (FLAC,
    MP3) give too few frames on reading, which `AudioReader` checks. Raises OSError.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        file_bytes = os.fstat(file.fileno()).st_size
        if magic in _CONTAINERS:
            return _check_chunks(file, file_bytes, _CONTAINERS[magic])
        if magic == b"OggS":
            return _check_ogg(file, file_bytes)
        if magic == b".snd":
            start, size = int.from_bytes(file.read(4), "big"), int.from_bytes(file.read(4), "big")
            return _compare(size, file_bytes - start)
    return None


def _check_chunks(file: BinaryIO, file_bytes: int, layout: _Chunks) -> str | None:
    """Walk the chunks up to the one that holds the sound."""
    header_bytes = layout.name_bytes + layout.size_bytes
    long_bytes = 0  # size of the sound from RF64's ds64 chunk
    position = layout.first
    while position + header_bytes <= file_bytes:
        file.seek(position)
        name = file.read(layout.name_bytes)
        size = int.from_bytes(file.read(layout.size_bytes), layout.order)
        content_bytes = size - header_bytes if layout.counts_itself else size
        if name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], layout.order)
        if name.startswith(layout.sound):
            if size == 0xFFFFFFFF and long_bytes:
                content_bytes = long_bytes
            return _compare(content_bytes, file_bytes - position - header_bytes)
        end = position + header_bytes + max(0, content_bytes)
        position = end + -end % layout.align
    return "it ends before its sound begins"


def _compare(promised_bytes: int, present_bytes: int) -> str | None:
    if present_bytes >= promised_bytes or any(promised_bytes in r for r in _PLACEHOLDERS):
        return None
    return f"its header promises {promised_bytes} bytes of sound, {max(0, present_bytes)} are there"


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
