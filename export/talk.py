"""Find talk in recordings of noise: what is learnt as noise is taken out of speech later.

A stretch counts as talk where two witnesses agree. Its pitch is a voice's: some frames voiced and
some not, a pitch that moves, and moves smoothly. A hum does not move, a rattle has no pitch. And
the released model lets it through; what a machine does, it turns down.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .corpus import RATE_HZ
from .recordings import Recording

FRAME, HOP = 640, 320  # samples: 40 ms, every 20 ms
LOW_HZ, HIGH_HZ = 75.0, 400.0  # of a voice's pitch
BAND_HZ = (80.0, 1500.0)
VOICED = 0.55  # normalised autocorrelation
WINDOW_S, STEP_S = 2.0, 0.5
VOICED_SHARE = (0.15, 0.92)  # of a window's frames
SMOOTH_OCTAVES = 0.08  # from frame to frame, at most, for most of the voiced frames
SMOOTH_SHARE = 0.6
SPREAD_OCTAVES = (0.03, 0.5)  # of the pitch in a window
PAD_S = 0.5  # on both sides: a word begins before it is voiced
PAD = int(PAD_S * RATE_HZ)
PASSED_DB = -8.0  # through the model, within a window
MOST_SHARE = 0.5  # more talk than that is no accident

Isolate = Callable[[np.ndarray], np.ndarray]
Stretch = tuple[int, int]


def without_talk(
    recordings: list[Recording], isolate: Isolate
) -> tuple[list[Recording], list[str]]:
    """Return the recordings without stretches of talk, and a line for each with any.

    isolate: int16 samples (n,) -> the speech in them, as a released model hears it. Where more than
    half of everything is talk, that is the noise (a crowd), and all of it stays.
    """
    found = [talk(recording.samples, isolate) for recording in recordings]
    total = sum(len(recording.samples) for recording in recordings)
    share = sum(stop - start for stretches in found for start, stop in stretches) / total
    if share > MOST_SHARE:
        return recordings, [f"{share:.0%} sounds like talk: taken for the noise itself, all used"]
    kept, lines = [], []
    for recording, stretches in zip(recordings, found, strict=True):
        keep = np.ones(len(recording.samples), bool)
        for start, stop in stretches:
            keep[start:stop] = False
        if keep.any():
            kept.append(Recording(recording.name, recording.samples[keep]))
        if stretches:
            times = ", ".join(f"{_clock(start)}-{_clock(stop)}" for start, stop in stretches)
            lines.append(f"{recording.name}: sounds like talk, left out: {times}")
    return kept, lines


def talk(samples: np.ndarray, isolate: Isolate) -> list[Stretch]:
    """Return stretches [start, stop) of talk in int16 samples (n,) at 16 kHz, in order."""
    pitch, strength = pitch_track(samples)
    window, step = round(WINDOW_S * RATE_HZ / HOP), round(STEP_S * RATE_HZ / HOP)
    starts = [
        start
        for start in range(0, max(len(pitch) - window, 0) + 1, step)
        if _moves_like_a_voice(pitch[start : start + window], strength[start : start + window])
    ]
    if not starts:
        return []
    passed = isolate(samples)
    stretches: list[Stretch] = []
    for start in starts:
        begin, end = start * HOP, min((start + window) * HOP + FRAME, len(samples))
        if _level_db(passed[begin:end]) - _level_db(samples[begin:end]) < PASSED_DB:
            continue
        begin, end = max(begin - PAD, 0), min(end + PAD, len(samples))
        if stretches and begin <= stretches[-1][1]:
            begin = stretches.pop()[0]
        stretches.append((begin, end))
    return stretches


def pitch_track(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pitch in Hz and normalised autocorrelation at it, for frames of 40 ms every 20 ms."""
    if len(samples) < FRAME:
        return np.zeros(0), np.zeros(0)
    size = 2 * FRAME
    hz = np.fft.rfftfreq(size, 1.0 / RATE_HZ)
    band = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    window = np.hanning(FRAME)
    bias = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)
    bias /= bias[0]
    shortest, longest = int(RATE_HZ / HIGH_HZ), int(RATE_HZ / LOW_HZ)
    pitch, strength = [], []
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    for part in np.array_split(frames, max(len(frames) // 1000, 1)):
        power = np.abs(np.fft.rfft(part * window, size, axis=1)) ** 2 * band
        correlation = np.fft.irfft(power, axis=1)
        correlation /= correlation[:, :1] + 1e-3
        range_ = correlation[:, shortest:longest] / bias[shortest:longest]
        best = range_.argmax(axis=1)
        pitch.append(RATE_HZ / (best + shortest))
        strength.append(range_[np.arange(len(best)), best])
    return np.concatenate(pitch), np.concatenate(strength)


def _moves_like_a_voice(pitch: np.ndarray, strength: np.ndarray) -> bool:
    voiced = strength > VOICED
    if not VOICED_SHARE[0] <= voiced.mean() <= VOICED_SHARE[1]:
        return False
    octaves = np.log2(pitch)
    pairs = voiced[1:] & voiced[:-1]
    if np.count_nonzero(pairs) < 4:
        return False
    smooth = np.abs(np.diff(octaves)[pairs]) < SMOOTH_OCTAVES
    spread = float(np.std(octaves[voiced]))
    return bool(smooth.mean() >= SMOOTH_SHARE and SPREAD_OCTAVES[0] <= spread <= SPREAD_OCTAVES[1])


def _level_db(samples: np.ndarray) -> float:
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-3))


def _clock(sample: int) -> str:
    seconds = sample // RATE_HZ
    return f"{seconds // 60}:{seconds % 60:02d}"
