"""Folders of audio as one array of samples in memory, checked while they are read.

Clips are 16 kHz int16, mono. Files that hold nothing to learn from (silent, clipped, unreadable)
are skipped, counted and reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from edgesep.errors import AudioFileError

from .files import write_whole
from .levels import rms, to_int16

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

    samples: np.ndarray  # (total,) int16
    starts: np.ndarray  # (clips + 1,) int64
    weights: np.ndarray  # (clips,) float64
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def clip(self, index: int) -> np.ndarray:
        """Return clip `index` as float32 in -1..1."""
        piece = self.samples[self.starts[index] : self.starts[index + 1]]
        return piece.astype(np.float32) / 32768.0

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
            samples=self.samples,
            starts=self.starts,
            weights=self.weights,
            names=np.array(self.names),
        )

    @classmethod
    def load(cls, path: Path) -> Corpus:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            names = tuple(str(name) for name in data["names"])
            return cls(data["samples"], data["starts"], data["weights"], names)


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
    voices = [voice_of(name) for name in names]
    count = Counter(voices)
    weights = np.array([count[voice] ** -0.5 for voice in voices])
    return weights / weights.sum()
