"""Where speech is easily lost, its onsets and fricatives, and how much of it a system keeps there.

Onsets: the first 50 ms after a pause, which is 100 ms or more of 10 ms blocks whose power lies
30 dB or more below the clip's loudest block. Fricative-like frames: 20 ms, no further than 40 dB
below the loudest, with more than half of their energy above 4 kHz. Both are found in the clean
reference alone.

Kept energy: the output is projected on the clean reference, stretch by stretch, and the energy of
the projections is held against that of the reference, in dB. 0 dB: all speech is there. Noise that
is left does not count as speech, as it would if the output's energy were taken whole; a phase or a
delay that differs does count as loss.
"""

from __future__ import annotations

import numpy as np

from .corpus import RATE_HZ
from .levels import ACTIVE_DB

BLOCK_SAMPLES = RATE_HZ // 100
PAUSE_BLOCKS = 10
ONSET_SAMPLES = RATE_HZ // 20
FRAME_SAMPLES = RATE_HZ // 50
FRICATIVE_ACTIVE_DB = 40.0
FRICATIVE_HZ = 4000.0
SMALLEST_POWER = 4.0  # of int16 samples: below 2 LSB RMS nothing can be judged
FLOOR_DB = -60.0

Spans = list[tuple[int, int]]


def onsets(clean: np.ndarray) -> Spans:
    """Return (first sample, behind the last) of each onset of int16 speech (samples,)."""
    power = _powers(clean, BLOCK_SAMPLES)
    active = power > max(power.max(initial=0.0) * 10.0 ** (-ACTIVE_DB / 10.0), SMALLEST_POWER)
    spans, quiet = [], PAUSE_BLOCKS  # before the clip there was silence
    for i, is_active in enumerate(active):
        if is_active and quiet >= PAUSE_BLOCKS:
            start = i * BLOCK_SAMPLES
            spans.append((start, min(start + ONSET_SAMPLES, len(clean))))
        quiet = 0 if is_active else quiet + 1
    return spans


def fricatives(clean: np.ndarray) -> Spans:
    """Return (first sample, behind the last) of each fricative-like frame of int16 speech."""
    power = _powers(clean, FRAME_SAMPLES)
    lowest = max(power.max(initial=0.0) * 10.0 ** (-FRICATIVE_ACTIVE_DB / 10.0), SMALLEST_POWER)
    frames = clean[: len(power) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).astype(np.float64)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES), axis=1)) ** 2
    high = np.fft.rfftfreq(FRAME_SAMPLES, 1.0 / RATE_HZ) > FRICATIVE_HZ
    share = spectra[:, high].sum(axis=1) / np.maximum(spectra.sum(axis=1), 1e-9)
    found = np.flatnonzero((power > lowest) & (share > 0.5))
    return [(int(i) * FRAME_SAMPLES, int(i + 1) * FRAME_SAMPLES) for i in found]


def kept_db(output: np.ndarray, clean: np.ndarray, spans: Spans) -> float:
    """Return the energy of `clean` that `output` keeps within `spans`, in dB, at least -60.

    Both (samples,), aligned. There must be a span, with sound in it.
    """
    kept = wanted = 0.0
    for start, stop in spans:
        ours, speech = (x[start:stop].astype(np.float64) for x in (output, clean))
        energy = float(speech @ speech)
        wanted += energy
        kept += max(float(ours @ speech), 0.0) ** 2 / max(energy, 1e-9)
    return max(float(10.0 * np.log10(max(kept, 1e-9) / wanted)), FLOOR_DB)


def _powers(x: np.ndarray, block: int) -> np.ndarray:
    blocks = x[: len(x) // block * block].reshape(-1, block).astype(np.float64)
    return np.asarray(np.mean(np.square(blocks), axis=1))
