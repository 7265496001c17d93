"""Clips of audio end to end, in memory or mapped; folders with train/ and dev/ read into them.

Clips are 16 kHz int16, mono. Files that hold nothing to learn from (silent, clipped, unreadable)
are skipped, counted and reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from edgesep.errors import AudioFileError

from .files import write_whole
from .levels import rms, to_int16
from .pack import Samples, names_of, open_pieces, pieces_of

RATE_HZ = 16000
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"}
SHORTEST_S = 0.2
SILENT_DBFS = -60.0
CLIPPED_SHARE = 0.001


@dataclass(frozen=True)
class Corpus:
    """Clips end to end: clip i is samples[starts[i] : starts[i + 1]].

    weights sum to one; a voice with n clips weighs sqrt(n), so that no single speaker rules.
    """

    samples: Samples  # (total,) int16
    starts: np.ndarray  # (clips + 1,) int64
    weights: np.ndarray  # (clips,) float64
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def clip(self, index: int) -> np.ndarray:
        """Return clip `index` as float32 in -1..1."""
        return self.raw(index).astype(np.float32) / 32768.0

    def raw(self, index: int) -> np.ndarray:
        """Return clip `index` as int16, without a copy where it lies in one piece."""
        return self.samples[self.starts[index] : self.starts[index + 1]]

    @property
    def hours(self) -> float:
        """Length of all clips together."""
        return len(self.samples) / RATE_HZ / 3600.0

    @classmethod
    def of(cls, clips: Sequence[np.ndarray], names: Sequence[str]) -> Corpus:
        """Return a corpus of clips, each (samples,) int16, weighed by the voices in their names."""
        starts = np.concatenate([[0], np.cumsum([len(clip) for clip in clips])]).astype(np.int64)
        return cls(np.concatenate(clips), starts, voice_weights(list(names)), tuple(names))

    def save(self, path: Path) -> None:
        """Write the corpus as one .npz, quick to load again."""
        write_whole(path, self._save)

    def _save(self, path: Path) -> None:
        np.savez(
            path,
            samples=self.samples[0 : len(self.samples)],
            starts=self.starts,
            weights=self.weights,
            names=np.array(self.names),
        )

    @classmethod
    def load(cls, path: Path) -> Corpus:
        """Read what `save` wrote, or map a packed corpus into memory (`pack.py`)."""
        with np.load(path, allow_pickle=False) as data:
            if "piece_bytes" in data.files:
                return cls._map(path.parent, data)
            names = tuple(str(name) for name in data["names"])
            return cls(data["samples"], data["starts"], data["weights"], names)

    @classmethod
    def _map(cls, folder: Path, index: Any) -> Corpus:
        starts = np.concatenate([[0], np.cumsum(index["lengths"])]).astype(np.int64)
        samples = open_pieces(folder, pieces_of(index))
        return cls(samples, starts, index["weights"], names_of(index["names_utf8"]))


def read_folder(folder: Path, split: str, *, quiet: bool = False) -> Corpus:
    """Read all audio below `folder`/`split`, or below `folder` where it has no such subfolder.

    Raises AudioFileError where nothing usable is found.
    """
    root = folder / split if (folder / split).is_dir() else folder
    return read_files(root, find_files(root), quiet=quiet)


def find_files(root: Path) -> list[Path]:
    """Return all audio files below `root`, sorted, but for hidden ones."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in found if not path.name.startswith("."))


def read_files(root: Path, paths: Sequence[Path], *, quiet: bool = False) -> Corpus:
    """Read files that lie below `root`; bad ones are skipped, counted and reported.

    Raises AudioFileError where nothing usable is found.
    """
    clips, names, skipped = [], [], Counter[str]()
    for path in tqdm(paths, desc=f"reading {root}", unit="file", disable=quiet or None):
        samples, fault = _read_clip(path)
        if fault:
            skipped[fault] += 1
            continue
        clips.append(samples)
        names.append(str(path.relative_to(root)))
    for fault, count in skipped.items():
        print(f"{root}: {count} of {len(paths)} files skipped: {fault}")
    if not clips:
        raise AudioFileError(
            f"{root}: no usable audio among {len(paths)} files; "
            f"give a folder of {', '.join(sorted(SUFFIXES))}"
        )
    return Corpus.of(clips, names)


def _read_clip(path: Path) -> tuple[np.ndarray, str]:
    """Return the clip and what is wrong with it ("" where nothing is)."""
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return np.zeros(0, np.int16), "unreadable"
    mono = samples.mean(axis=1)
    if rate_hz != RATE_HZ:
        mono = soxr.resample(mono, rate_hz, RATE_HZ, quality="HQ")
    if len(mono) < SHORTEST_S * RATE_HZ:
        return np.zeros(0, np.int16), f"shorter than {SHORTEST_S} s"
    if not np.isfinite(mono).all():
        return np.zeros(0, np.int16), "not finite"
    if rms(mono) < 10.0 ** (SILENT_DBFS / 20.0):
        return np.zeros(0, np.int16), "silent"
    if np.mean(np.abs(mono) >= 0.999) > CLIPPED_SHARE:
        return np.zeros(0, np.int16), "clipped"
    return to_int16(mono), ""


def voice_of(name: str) -> str:
    """Return the voice that a file's name tells of: the name less its last number."""
    return re.sub(r"[_-]?\d+$", "", str(Path(name).with_suffix("")))


def voice_weights(names: list[str]) -> np.ndarray:
    """Return a weight per clip; clips named alike but for the last number share a voice."""
    return owner_weights([voice_of(name) for name in names])


def owner_weights(owners: Sequence[str]) -> np.ndarray:
    """Return a weight per clip, one over the root of how many its owner has; they sum to one."""
    count = Counter(owners)
    weights = np.array([count[owner] ** -0.5 for owner in owners])
    return weights / weights.sum()
