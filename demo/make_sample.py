"""Make the sample of `make demo`: demo/clean.flac and demo/noisy.flac.

    python demo/make_sample.py

Needs flite and espeak-ng (apt install flite espeak-ng). Two synthetic voices speak while a fan
changes its speed, people talk next door and somebody types: all of it is made here, none of it
recorded. Equal versions of the two programs give equal files.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Signal = NDArray[np.floating[Any]]  # (samples,) at RATE_HZ, full scale is 1

FOLDER = Path(__file__).parent
RATE_HZ = 16000
SECONDS = 8.5
SPEECH_DBFS = -24.0
SNR_DB = 5.0
SHARES_DB = {"fan": 0.0, "babble": -8.0, "typing": -9.0}

# flite voice, start in seconds, words
SPEECH = (
    ("slt", 0.5, "Good morning, the kettle is on and the bread is in the oven."),
    ("rms", 3.6, "Could you turn the fan down, please?"),
    ("slt", 5.6, "I can hear you now, every single word of it."),
)
# espeak-ng voice, words of someone next door
BABBLE = (
    ("en-gb+f2", "We went down to the river on Sunday and sat there until the sun had gone."),
    ("de+m3", "Der Bus kommt heute spaeter, weil die Strasse noch immer gesperrt ist."),
    ("fr+f4", "Il faut encore acheter du pain et du fromage pour ce soir."),
    ("es+m1", "Manana por la tarde vamos a visitar a mis abuelos en el campo."),
    ("nl+m5", "Gisteren heeft het de hele dag geregend en vandaag schijnt de zon."),
    ("it+f3", "Abbiamo dimenticato le chiavi sul tavolo della cucina un'altra volta."),
)


def main() -> None:
    """Write both files."""
    rng = np.random.default_rng(20)
    clean = _level(_speech(), SPEECH_DBFS)
    parts = {"fan": _fan(rng), "babble": _babble(rng), "typing": _typing(rng)}
    noise = sum((_level(part, SHARES_DB[name]) for name, part in parts.items()), np.zeros(1))
    noise = _level(noise, SPEECH_DBFS - SNR_DB)
    for name, samples in (("clean", clean), ("noisy", clean + noise)):
        soundfile.write(FOLDER / f"{name}.flac", samples, RATE_HZ, "PCM_16")


def _speech() -> Signal:
    """Return the speech, each sentence where it starts."""
    track = np.zeros(round(SECONDS * RATE_HZ))
    for voice, start_s, words in SPEECH:
        spoken = _spoken(["flite", "-voice", voice, "-t", words, "-o"])
        _add(track, _level(spoken, SPEECH_DBFS), start_s)
    return track


def _babble(rng: np.random.Generator) -> Signal:
    """Return six voices at once, behind a wall that keeps the high frequencies."""
    track = np.zeros(round(SECONDS * RATE_HZ))
    for voice, words in BABBLE:
        spoken = _level(_spoken(["espeak-ng", "-v", voice, "-w"], words), 0.0)
        start_s = rng.uniform(0.0, 1.5)
        while start_s < SECONDS:
            _add(track, spoken, start_s)
            start_s += len(spoken) / RATE_HZ + rng.uniform(0.1, 0.8)
    return _shaped(track, lambda hz: 1 / (1 + (hz / 1500) ** 2))


def _fan(rng: np.random.Generator) -> Signal:
    """Return rushing air and the blades' hum, faster and louder in the middle."""
    n = round(SECONDS * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    speed = 1 + 0.25 * np.sin(2 * np.pi * (t - 1.5) / SECONDS)
    air = _level(_shaped(rng.standard_normal(n), lambda hz: 1 / np.sqrt(1 + (hz / 400) ** 2)), 0.0)
    turns = np.cumsum(95 * speed) / RATE_HZ
    hum = sum((np.sin(2 * np.pi * k * turns) / k for k in range(1, 9)), np.zeros(1))
    flutter = 1 + 0.15 * np.sin(2 * np.pi * np.cumsum(6 * speed) / RATE_HZ)
    return np.asarray((air * flutter + 0.5 * hum) * speed**2)


def _typing(rng: np.random.Generator) -> Signal:
    """Return key strokes: a burst of noise with the resonance of a desk, five to nine a second."""
    track = np.zeros(round(SECONDS * RATE_HZ))
    t = np.arange(round(0.06 * RATE_HZ)) / RATE_HZ
    start_s = 1.0
    while start_s < SECONDS - 0.1:
        click = rng.standard_normal(len(t)) * np.exp(-t / 0.004)
        desk = 1.5 * np.sin(2 * np.pi * rng.uniform(220, 320) * t) * np.exp(-t / 0.012)
        _add(track, (click + desk) * rng.uniform(0.5, 1.0), start_s)
        pause = rng.uniform(0.5, 1.0) if rng.random() < 0.1 else 0.0
        start_s += rng.uniform(0.11, 0.2) + pause
    return track


def _spoken(command: list[str], words: str | None = None) -> Signal:
    """Run a synthesizer, which takes the file to write as its last option; return the sound."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run([*command, str(path), *([words] if words else [])], check=True)
        samples, rate_hz = soundfile.read(path)
    return np.asarray(soxr.resample(samples, rate_hz, RATE_HZ, quality="VHQ"))


def _shaped(samples: Signal, gain: Callable[[Signal], Signal]) -> Signal:
    """Return `samples` with each frequency multiplied by gain(hz)."""
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return np.fft.irfft(np.fft.rfft(samples) * gain(hz), len(samples))


def _level(samples: Signal, dbfs: float) -> Signal:
    """Return `samples` with this RMS level."""
    return np.asarray(samples * 10 ** (dbfs / 20) / np.sqrt(np.mean(samples**2)))


def _add(track: Signal, samples: Signal, start_s: float) -> None:
    """Add `samples` to the track; what goes beyond its end is cut off."""
    start = round(start_s * RATE_HZ)
    piece = samples[: len(track) - start]
    track[start : start + len(piece)] += piece


if __name__ == "__main__":
    main()
