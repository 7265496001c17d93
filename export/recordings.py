"""A user's own recordings of a room or machine: read, checked, and split in time.

The last quarter of each recording is held out, after a gap. Slices drawn at random would lie beside
what training hears, and a steady machine would be scored on its own training sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesep.audio.reader import AUDIO_SUFFIXES, AudioReader
from edgesep.audio.resample import Resampler
from edgesep.audio.samples import to_float32
from edgesep.errors import AudioFileError

from .corpus import RATE_HZ, SILENT_DBFS, Corpus
from .levels import rms, to_int16

SHORTEST_TOTAL_S = 30.0
HELD_OUT_SHARE = 0.25
GAP_S = 2.0
SPLIT_FROM_S = 20.0  # shorter recordings are not cut: every fourth is held out whole
FLUSH_S = 0.2  # of silence, so that the resampler gives its last samples
FULL_SCALE = 32767
CLIPPED_SHARE = 0.001


@dataclass(frozen=True)
class Recording:
    """A sound file, mono at 16 kHz."""

    name: str
    samples: np.ndarray  # (n,) int16

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / RATE_HZ


@dataclass(frozen=True)
class Split:
    """What training hears of the recordings, and what it never hears."""

    train: Corpus
    held_out: Corpus


def read_recordings(place: Path) -> list[Recording]:
    """Read a file, or all audio files below a folder; silent ones are reported and left out.

    Channels are averaged. Raises AudioFileError for a file that cannot be read, and where nothing
    but silence or less than 30 s is found.
    """
    recordings = []
    for path in _audio_files(place):
        recording = Recording(path.name, _read(path))
        if rms(recording.samples) < 32768.0 * 10.0 ** (SILENT_DBFS / 20.0):
            print(f"{path}: left out: silent (below {SILENT_DBFS:g} dBFS)")
            continue
        clipped = float(np.mean(np.abs(recording.samples.astype(np.int32)) >= FULL_SCALE))
        if clipped > CLIPPED_SHARE:
            print(f"{path}: {clipped:.1%} of it is clipped: used, but record at a lower level")
        recordings.append(recording)
    if not recordings:
        raise AudioFileError(
            f"{place}: all recordings are silent (below {SILENT_DBFS:g} dBFS): "
            "record the noise itself, at the level your microphone hears"
        )
    check_length(recordings, place)
    return recordings


def check_length(recordings: Sequence[Recording], place: Path) -> None:
    """Raise AudioFileError where recordings are less than 30 s together."""
    total_s = sum(recording.seconds for recording in recordings)
    if total_s < SHORTEST_TOTAL_S:
        raise AudioFileError(
            f"{place}: {total_s:.1f} s of noise in all, at least {SHORTEST_TOTAL_S:g} s are "
            "needed: record five minutes"
        )


def split_in_time(recordings: Sequence[Recording]) -> Split:
    """Hold out the last quarter of each recording, and whole recordings where they are short."""
    train: list[Recording] = []
    held_out: list[Recording] = []
    short = [item for item in recordings if item.seconds < SPLIT_FROM_S]
    for item in recordings:
        if item.seconds >= SPLIT_FROM_S:
            cut = int(len(item.samples) * (1.0 - HELD_OUT_SHARE))
            train.append(Recording(item.name, item.samples[: cut - int(GAP_S * RATE_HZ)]))
            held_out.append(Recording(item.name, item.samples[cut:]))
    if not held_out and len(short) < 4:
        held_out.append(short.pop())
    for number, item in enumerate(short, 1):
        (train if number % 4 else held_out).append(item)
    return Split(_corpus(train, "training"), _corpus(held_out, "measuring"))


def describe(split: Split) -> str:
    """Return one line about both parts of recordings."""
    seconds = [len(part.samples) / RATE_HZ for part in (split.train, split.held_out)]
    return (
        f"{seconds[0]:.0f} s of noise to train on, {seconds[1]:.0f} s held out (the last quarter "
        f"of each recording of {SPLIT_FROM_S:g} s and more, every fourth of shorter ones)"
    )


def _corpus(parts: Sequence[Recording], purpose: str) -> Corpus:
    floor = 32768.0 * 10.0 ** (SILENT_DBFS / 20.0)
    sounding = [part for part in parts if rms(part.samples) >= floor]
    for part in parts:
        if part not in sounding:
            print(f"{part.name}: the part for {purpose} is silent and left out")
    if not sounding:
        raise AudioFileError(
            f"the recordings are silent in all parts for {purpose} (the last quarter of each is "
            "for measuring, the rest for training): record noise that goes on to the end"
        )
    return Corpus.of([part.samples for part in sounding], [part.name for part in sounding])


def _audio_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise AudioFileError(f"{place}: no such folder: give one that holds noise recordings")
    paths = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise AudioFileError(
            f"{place}: no audio in this folder: put recordings of the noise there "
            "(WAV, FLAC, OGG, MP3)"
        )
    return paths


def _read(path: Path) -> np.ndarray:
    """Return a file as int16 (n,); goes block by block, since a recording may be hours long."""
    with AudioReader(path) as reader:
        resampler = Resampler(reader.rate_hz, RATE_HZ, 1)
        parts, frames = [], 0
        for block in reader.blocks():
            mono = to_float32(block).mean(axis=1, keepdims=True)
            frames += len(mono)
            parts.append(to_int16(resampler.push(mono)[:, 0]))
        flush = np.zeros((int(FLUSH_S * reader.rate_hz), 1), np.float32)
        parts.append(to_int16(resampler.push(flush)[:, 0]))
        return np.concatenate(parts)[: round(frames * RATE_HZ / reader.rate_hz)]
