"""Corpora too large for memory: samples in pieces that are mapped, or carried one by one.

A packed corpus is KIND-SPLIT.npz, an index of clips and pieces, and its pieces beside it: int16
little-endian as it is (.pcm), mapped into memory, or FLAC, which is unpacked once into `unpacked/`.
Clips run on from one piece into the next.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from edgesep.errors import AudioFileError

from .files import write_whole

RATE_HZ = 16000
PIECE_MIB = 60.0
SMALLEST_PIECE_MIB = 1.0 / 16.0
CODECS = ("flac", "pcm")
UNPACKED = "unpacked"
BLOCK_SAMPLES = 1 << 14  # between looks at how large a FLAC piece is by now
FLAC_SLACK = 1.02  # what does not compress grows by this at most; and the header
FLAC_HEADER_BYTES = 16384
INT16 = np.dtype("<i2")


class Samples(Protocol):
    """Int16 samples that can be sliced: an array, or `Pieces`."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> np.ndarray: ...


class Pieces:
    """Arrays (samples,) int16 end to end, sliced like one; a slice within a piece is no copy."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = list(arrays)
        self._ends = np.cumsum([len(array) for array in self._arrays], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise ValueError(f"pieces are sliced in steps of 1, not {step}")
        parts, number = [], int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            first = int(self._ends[number]) - len(self._arrays[number])
            part = self._arrays[number][start - first : stop - first]
            parts.append(part)
            start += len(part)
            number += 1
        if not parts:
            return np.zeros(0, np.int16)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class Piece:
    """A file of a packed corpus: its name, size and samples; crc32 of the samples as int16."""

    name: str
    size_bytes: int
    samples: int
    crc32: int


class PieceWriter:
    """Writes samples into pieces folder/STEM-000.CODEC of at most `piece_mib` MiB each."""

    def __init__(self, folder: Path, stem: str, codec: str, piece_mib: float) -> None:
        if codec not in CODECS or piece_mib < SMALLEST_PIECE_MIB:
            raise ValueError(
                f"codec {codec}, {piece_mib} MiB: use one of {CODECS} and {SMALLEST_PIECE_MIB} up"
            )
        self._folder, self._stem, self._codec = folder, stem, codec
        self._limit_bytes = int(piece_mib * (1 << 20))
        self._pieces: list[Piece] = []
        self._file: Any = None
        self._samples = self._crc32 = 0

    def write(self, samples: np.ndarray) -> None:
        """Add samples (n,) int16."""
        start = 0
        while start < len(samples):
            room = self._room_samples()
            if room == 0:
                self._finish_piece()
                continue
            part = np.ascontiguousarray(samples[start : start + min(room, BLOCK_SAMPLES)], INT16)
            self._append(part)
            start += len(part)

    def close(self) -> list[Piece]:
        """Finish the last piece and return all of them."""
        if self._file is not None:
            self._finish_piece()
        return self._pieces

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._stem}-{len(self._pieces):03d}.{self._codec}"

    def _room_samples(self) -> int:
        """Return how many samples surely fit, 0 where the piece counts as full."""
        if self._codec == "pcm":
            return self._limit_bytes // INT16.itemsize - self._samples
        taken = self._path.stat().st_size if self._file is not None else 0
        free = (self._limit_bytes - taken - FLAC_HEADER_BYTES) / FLAC_SLACK / INT16.itemsize
        return BLOCK_SAMPLES if free >= 2 * BLOCK_SAMPLES or not self._samples else 0

    def _append(self, part: np.ndarray) -> None:
        if self._file is None and self._codec == "flac":
            self._file = soundfile.SoundFile(self._path, "w", RATE_HZ, 1, subtype="PCM_16")
        elif self._file is None:
            self._file = self._path.open("wb")
        self._file.write(part)
        self._samples += len(part)
        self._crc32 = zlib.crc32(part.data, self._crc32)

    def _finish_piece(self) -> None:
        self._file.close()
        path = self._path
        size = path.stat().st_size
        if size > self._limit_bytes:
            raise AssertionError(f"{path} has {size} bytes, {self._limit_bytes} are allowed")
        self._pieces.append(Piece(path.name, size, self._samples, self._crc32))
        self._file, self._samples, self._crc32 = None, 0, 0


def index_arrays(
    lengths: Sequence[int] | np.ndarray,
    weights: np.ndarray,
    names: Sequence[str],
    pieces: Sequence[Piece],
) -> dict[str, np.ndarray]:
    """Return the arrays of an index; names are UTF-8, one a line, so that nothing is pickled."""
    return {
        "lengths": np.asarray(lengths, np.int64),
        "weights": weights,
        "names_utf8": _utf8(names),
        "piece_names_utf8": _utf8([piece.name for piece in pieces]),
        "piece_bytes": np.array([piece.size_bytes for piece in pieces], np.int64),
        "piece_samples": np.array([piece.samples for piece in pieces], np.int64),
        "piece_crc32": np.array([piece.crc32 for piece in pieces], np.uint32),
    }


def save_index(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an index."""
    write_whole(path, lambda part: np.savez_compressed(part, **arrays))  # type: ignore[arg-type]


def _utf8(lines: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(line.replace("\n", " ") for line in lines).encode(), np.uint8)


def names_of(utf8: np.ndarray) -> tuple[str, ...]:
    """Return the names of an index."""
    return tuple(bytes(utf8).decode().split("\n")) if len(utf8) else ()


def pieces_of(data: Any) -> list[Piece]:
    """Return the pieces of an index (what `numpy.load` gave)."""
    columns = (data["piece_bytes"], data["piece_samples"], data["piece_crc32"])
    rows = zip(names_of(data["piece_names_utf8"]), *columns, strict=True)
    return [Piece(name, int(size), int(count), int(crc)) for name, size, count, crc in rows]


def open_pieces(folder: Path, pieces: Sequence[Piece]) -> Pieces:
    """Map the pieces into memory, after unpacking those that are FLAC.

    Raises AudioFileError that names the pieces which are missing or not whole.
    """
    check_pieces(folder, pieces)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # libsndfile lets the others run
        paths = list(threads.map(lambda piece: _unpacked(folder, piece), pieces))
    return Pieces([np.memmap(path, INT16, "r").view(np.ndarray) for path in paths])


def check_pieces(folder: Path, pieces: Sequence[Piece]) -> None:
    """Raise AudioFileError where a piece is missing or of another size than its index says."""
    faults = []
    for piece in pieces:
        path = folder / piece.name
        if not path.exists():
            faults.append(f"{piece.name} is missing")
        elif (size := path.stat().st_size) != piece.size_bytes:
            faults.append(f"{piece.name} has {size} of {piece.size_bytes} bytes")
    if faults:
        shown = ", ".join(faults[:8]) + (f" and {len(faults) - 8} more" if faults[8:] else "")
        raise AudioFileError(
            f"{folder}: {len(faults)} of {len(pieces)} pieces cannot be used: {shown}; copy them"
        )


def _unpacked(folder: Path, piece: Piece) -> Path:
    """Return the piece as raw samples, made from FLAC the first time."""
    path = folder / piece.name
    if path.suffix == ".pcm":
        return path
    raw = folder / UNPACKED / f"{path.stem}.pcm"
    if raw.exists() and raw.stat().st_size == piece.samples * INT16.itemsize:
        return raw
    samples, _ = soundfile.read(path, dtype="int16")
    if len(samples) != piece.samples or zlib.crc32(samples.data) != piece.crc32:
        raise AudioFileError(f"{path}: its samples are not those that were packed; copy it again")
    write_whole(raw, lambda part: samples.astype(INT16, copy=False).tofile(part))
    return raw
