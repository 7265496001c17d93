"""Sounds for the tests of adapting a model: a motor, and voices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16000


def buzz(cycles: np.ndarray, harmonics: int) -> np.ndarray:
    """Return a sawtooth of so many harmonics at a phase in cycles (n,)."""
    grid = np.linspace(0.0, 1.0, 64 * harmonics)
    period = sum(np.sin(2 * np.pi * k * grid) / k for k in range(1, harmonics + 1))
    return np.interp(cycles % 1.0, grid, period)


def machine(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """Return the noise of a motor: a hum with a rattle, (n,)."""
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    hum = buzz(97.0 * time, 11)
    return 0.05 * hum + 0.03 * np.random.default_rng(seed).standard_normal(len(time))


def voice(seconds: float, pitch_hz: float) -> np.ndarray:
    """Return syllables of a buzz up to 8 kHz, (n,)."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    open_ = np.sin(2 * np.pi * 3.0 * time) > -0.3
    return 0.1 * buzz(pitch_hz * time, int(7900 / pitch_hz)) * open_


def gliding_voice(seconds: float) -> np.ndarray:
    """Return syllables whose pitch rises and falls by a third, (n,)."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    cycles = np.cumsum(140.0 * 2.0 ** (0.2 * np.sin(2 * np.pi * 0.7 * time))) / RATE_HZ
    return 0.15 * buzz(cycles, 19) * (np.sin(2 * np.pi * 2.5 * time) > -0.3)


def write_audio(root: Path) -> None:
    """Write noise/: a stereo recording at 48 kHz, and speech/: five speakers."""
    (root / "noise").mkdir()
    stereo = np.stack([machine(36.0, 48000), machine(36.0, 48000, 1)], axis=1)
    soundfile.write(root / "noise" / "motor.wav", stereo, 48000)
    for i in range(5):
        (root / "speech" / f"speaker{i}").mkdir(parents=True)
        for take in range(2):
            path = root / "speech" / f"speaker{i}" / f"{take}.wav"
            soundfile.write(path, voice(7.0, 100.0 + 23.0 * i + 3 * take), RATE_HZ)
