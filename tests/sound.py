"""Signals, files and command runs that the tests of the audio path share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
RATES_HZ = (8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)


def chirp(rate_hz: int, seconds: float, channels: int = 1, level: float = 0.3) -> NDArray:
    """Return a sweep from 100 to 3000 Hz, float64 (n, channels); one direction per channel."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    slope = 2900 / seconds
    up = np.sin(2 * np.pi * (100 * t + slope * t**2 / 2))
    down = np.sin(2 * np.pi * (3000 * t - slope * t**2 / 2))
    return level * np.stack([(up, down)[c % 2] for c in range(channels)], axis=1)


def noise16(frames: int, channels: int = 1, seed: int = 0, level: float = 3000) -> NDArray:
    """Return Gaussian noise, int16 (frames, channels)."""
    samples = np.random.default_rng(seed).standard_normal((frames, channels)) * level
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def best_shift(reference: NDArray, other: NDArray, reach: int = 500) -> int:
    """Return by how many samples `other` (n,) is late against `reference` (n,)."""
    size = len(reference) + len(other)
    spectrum = np.fft.rfft(other, size) * np.conj(np.fft.rfft(reference, size))
    scores = np.roll(np.fft.irfft(spectrum, size), reach)[: 2 * reach + 1]
    return int(np.argmax(scores)) - reach


def snr_db(reference: NDArray, other: NDArray) -> float:
    """Return the ratio of `reference` to the difference, in dB."""
    error = np.asarray(other, float) - reference
    with np.errstate(divide="ignore"):  # no difference at all: infinite
        return float(10 * np.log10(np.sum(np.square(reference, dtype=float)) / np.sum(error**2)))


def command(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `python -m edgesep ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edgesep", *map(str, arguments)],
        input=stdin, capture_output=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip


def said(stderr: bytes | str) -> list[str]:
    """Return the lines of a standard error, but not the notice of a checkout without C core."""
    text = stderr.decode() if isinstance(stderr, bytes) else stderr
    return [line for line in text.splitlines() if "the C core is not built" not in line]


def environment() -> dict[str, str]:
    """Return an environment in which a process finds the package of this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
