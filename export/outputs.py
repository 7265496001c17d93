"""Another system's output folder: checked before anything is measured, aligned where asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from edgesep.errors import AudioFileError

from .corpus import RATE_HZ
from .levels import to_int16

SUFFIXES = (".wav", ".flac")
MOST_DELAY_SAMPLES = RATE_HZ // 4


class Tested(Protocol):
    """What is asked of a test clip."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def noisy(self) -> np.ndarray: ...  # noqa: D102


def read_outputs(clips: Sequence[Tested], folder: Path) -> list[np.ndarray]:
    """Return an int16 array per clip, (samples,) at 16 kHz, as long as the clip.

    Files are called NAME.wav or NAME.flac, int or float. Raises AudioFileError, one line with what
    is wrong, how often and where first, for files that are missing, unreadable, of another rate,
    channel count or length, not finite, or silent where there was speech.
    """
    sounds, faults = [], []
    for clip in clips:
        sound, fault = _read(folder, clip)
        sounds.append(sound)
        if fault:
            faults.append(fault)
    if faults:
        raise AudioFileError(
            f"{folder}: {len(faults)} of {len(clips)} outputs cannot be scored: {faults[0]}"
        )
    return sounds


def _read(folder: Path, clip: Tested) -> tuple[np.ndarray, str]:
    """Return a clip's output, and what is wrong with it ("" where nothing is)."""
    nothing = np.zeros(0, np.int16)
    found = [path for suffix in SUFFIXES if (path := folder / f"{clip.name}{suffix}").is_file()]
    if not found:
        return nothing, f"{clip.name}.wav is missing"
    name = found[0].name
    try:  # as floats: int16 of a float file is not scaled
        sound, rate_hz = soundfile.read(found[0], dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        return nothing, f"{name} cannot be read ({error.error_string})"
    if rate_hz != RATE_HZ:
        return nothing, f"{name} has {rate_hz} Hz, expected {RATE_HZ} Hz: resample it"
    if sound.shape[1] != 1:
        return nothing, f"{name} has {sound.shape[1]} channels, expected one"
    if len(sound) != len(clip.noisy):
        return nothing, (
            f"{name} has {len(sound)} samples, expected {len(clip.noisy)} as the noisy file: "
            "pad or cut its end"
        )
    if not np.isfinite(sound).all():
        return nothing, f"{name} holds values that are not finite"
    ours = to_int16(sound[:, 0])
    if clip.kind != "noise" and not ours.any():
        return nothing, f"{name} is silent, though there is speech in it"
    return ours, ""


def delay_of(clips: Sequence[Tested], sounds: Sequence[np.ndarray]) -> int:
    """Return by how many samples outputs lie behind the noisy input: the median over the clips.

    The peak of the cross-correlation, within 250 ms to both sides.
    """
    delays = [
        _delay(clip.noisy, sound)
        for clip, sound in zip(clips, sounds, strict=True)
        if clip.kind != "noise"
    ]
    return int(np.median(delays)) if delays else 0


def _delay(noisy: np.ndarray, output: np.ndarray) -> int:
    size = 1 << (2 * len(noisy) - 1).bit_length()
    spectra = [np.fft.rfft(x.astype(np.float64), size) for x in (output, noisy)]
    likeness = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    reach = min(MOST_DELAY_SAMPLES, len(noisy) - 1)
    around = np.concatenate([likeness[-reach:], likeness[: reach + 1]])
    return int(np.argmax(around)) - reach


def advance(sound: np.ndarray, samples: int) -> np.ndarray:
    """Return the sound `samples` earlier (later where negative), zeros in what opens up."""
    moved = np.roll(sound, -samples)
    if samples > 0:
        moved[-samples:] = 0
    elif samples < 0:
        moved[:-samples] = 0
    return moved
