"""Find files that end too early: libsndfile silently shortens most of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["describe_missing_end", "has_several_ogg_streams"]

_OGG_PAGE_MAX_BYTES = 65307
_OGG_FIRST_PAGE, _OGG_LAST_PAGE = 2, 4  # bits of a page's flags
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


def has_several_ogg_streams(path: Path) -> bool:
    """Tell whether an Ogg stream begins after another one in the same file. Raises OSError."""
    with path.open("rb") as file:
        begins = [bool(flags & _OGG_FIRST_PAGE) for _, flags in _ogg_pages(file)]
    return any(late and not early for early, late in pairwise(begins))


def _check_ogg(file: BinaryIO, file_bytes: int) -> str | None:
    """Look at the last page: it must be whole and carry the end-of-stream mark."""
    *_, (last_end, last_flags) = _ogg_pages(file)
    if last_end > file_bytes:
        return "its last Ogg page is cut"
    if not last_flags & _OGG_LAST_PAGE:
        return "its last Ogg page carries no end-of-stream mark"
    return None


def _ogg_pages(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where each page ends, bytes from the file's start, and its flags (RFC 3533)."""
    position = 0
    while True:
        file.seek(position)
        header = file.read(27)
        if header[:4] != b"OggS":
            return
        sizes = file.read(header[26]) if len(header) == 27 else b""
        whole = len(header) == 27 and len(sizes) == header[26]
        position += 27 + len(sizes) + sum(sizes) if whole else _OGG_PAGE_MAX_BYTES
        yield position, header[5] if len(header) > 5 else 0
