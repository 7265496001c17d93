"""Two terms of the training loss that measure as listeners do: loudness and envelopes.

`loudness_disturbance` follows the idea of PESQ (ITU-T P.862): powers in Bark bands, a slow channel
and level equalised, Zwicker's loudness, and a difference that counts what is added more than what
is missing. `envelope_decorrelation` follows ESTOI (Jensen and Taal, IEEE/ACM TASLP 2016):
third-octave envelopes over 384 ms, normalised along time, then along bands. Both are made to have
useful slopes, not to return the standards' figures; `tests/test_perceptual.py` holds them to an
order that agrees with those.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

RATE_HZ = 16000
FRAME_BINS = 257  # of 512 samples, 256 apart: what P.862 prescribes at 16 kHz

BARK_BANDS = 49
SPEECH_DB_SPL = 65.0  # mean of a sentence, pauses included
SONES = 0.19  # one at 40 dB SPL and 1 kHz
DEAD_ZONE = 0.25  # of the smaller loudness: differences that masking hides
ASYMMETRY, ASYMMETRY_MIN, ASYMMETRY_MAX = 1.2, 3.0, 12.0
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # what both disturbances take off the score
MOST_DISTURBANCE = 45.0

SEGMENT_FRAMES, SEGMENT_STEP = 24, 4  # 384 ms, every 64 ms
THIRD_OCTAVES, LOWEST_HZ = 15, 150.0
SILENT_DB = 40.0  # below the loudest segment


def bark(hertz: np.ndarray) -> np.ndarray:
    """Return the critical-band rate of frequencies in Hz (Traunmueller, JASA 88, 1990)."""
    return 26.81 * hertz / (1960.0 + hertz) - 0.53


def hearing_threshold_db(hertz: np.ndarray) -> np.ndarray:
    """Return the threshold in quiet in dB SPL (Terhardt, Hearing Research 1, 1979)."""
    khz = np.maximum(hertz, 50.0) / 1000.0
    return 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4


def shares(edges_hz: np.ndarray) -> np.ndarray:
    """Return which share of each bin lies in each band, (257, bands), for bands + 1 edges."""
    width = RATE_HZ / 2 / (FRAME_BINS - 1)
    centres = np.arange(FRAME_BINS) * width
    low, high = centres[:, None] - width / 2, centres[:, None] + width / 2
    inside = np.minimum(high, edges_hz[1:]) - np.maximum(low, edges_hz[:-1])
    return (np.maximum(inside, 0.0) / width).astype("float32")


_BARK = np.linspace(bark(np.zeros(1))[0], bark(np.full(1, RATE_HZ / 2))[0], BARK_BANDS + 1)
_BARK_EDGES = 1960.0 * (_BARK + 0.53) / (26.28 - _BARK)
_BARK_CENTRES = 0.5 * (_BARK_EDGES[1:] + _BARK_EDGES[:-1])
_BARK_WIDTH = float(_BARK[1] - _BARK[0])
_BARK_SHARES = shares(_BARK_EDGES)
_QUIET = (10.0 ** (hearing_threshold_db(_BARK_CENTRES) / 10.0)).astype("float32")
_THIRDS = shares(LOWEST_HZ * 2.0 ** ((np.arange(THIRD_OCTAVES + 1) - 0.5) / 3.0))


def loudness_disturbance(target: Any, estimate: Any) -> Any:
    """Return each clip's disturbance, (batch,): 0 for equal sounds, about 4.5 for unrelated ones.

    target, estimate: power spectra (batch, frames, 257) of 32 ms Hann frames every 16 ms, of one
    scale; the target's mean power is taken for speech at 65 dB SPL.
    """
    total = ops.mean(ops.sum(target, axis=-1), axis=-1)[:, None, None] + 1e-6
    scale = 10.0 ** (SPEECH_DB_SPL / 10.0) / total
    heard = ops.matmul(target * scale, _BARK_SHARES)
    ours = ops.matmul(estimate * scale, _BARK_SHARES)

    speaking = ops.cast(ops.sum(heard, axis=-1, keepdims=True) > 1e4, "float32")
    means = [ops.sum(x * speaking, axis=1, keepdims=True) for x in (heard, ours)]
    frames = ops.sum(speaking, axis=1, keepdims=True) + 1e-3
    heard = heard * ops.clip((means[1] / frames + 1e3) / (means[0] / frames + 1e3), 0.01, 100.0)

    audible = [ops.sum(ops.relu(x - _QUIET), axis=-1, keepdims=True) + 5e3 for x in (heard, ours)]
    gain = ops.clip(audible[0] / audible[1], 3e-4, 5.0)
    before = ops.concatenate([gain[:, :1], gain[:, :-1]], axis=1)
    ours = ours * (0.8 * gain + 0.2 * before)

    loud = [_loudness(x) for x in (heard, ours)]
    difference = loud[1] - loud[0]
    hidden = DEAD_ZONE * ops.minimum(loud[0], loud[1])
    disturbance = ops.relu(ops.abs(difference) - hidden)
    factor = ((ours + 50.0) / (heard + 50.0)) ** ASYMMETRY
    factor = ops.where(factor < ASYMMETRY_MIN, 0.0, ops.minimum(factor, ASYMMETRY_MAX))

    width = BARK_BANDS * _BARK_WIDTH
    weight = ((ops.sum(heard, axis=-1) + 1e5) / 1e7) ** 0.04
    symmetric = ops.sqrt(ops.mean(ops.square(disturbance), axis=-1) + 1e-6) * width
    asymmetric = ops.mean(disturbance * factor, axis=-1) * width
    return SYMMETRIC * _over_time(symmetric / weight) + ASYMMETRIC * _over_time(asymmetric / weight)


def envelope_decorrelation(target: Any, estimate: Any) -> Any:
    """Return one minus each clip's mean correlation of normalised envelopes, (batch,), 0 to 2.

    target, estimate: as for `loudness_disturbance`, at least 24 frames. Segments 40 dB below the
    target's loudest do not count.
    """
    clean, ours = (ops.sqrt(_segments(ops.matmul(x, _THIRDS)) + 1e-6) for x in (target, estimate))
    energy = ops.sum(ops.square(clean), axis=(2, 3))
    floor = ops.max(energy, axis=1, keepdims=True) * 10.0 ** (-SILENT_DB / 10.0)
    counted = ops.cast(energy > floor, "float32")
    match = ops.mean(ops.sum(_normalised(clean) * _normalised(ours), axis=-1), axis=-1)
    return 1.0 - ops.sum(match * counted, axis=1) / (ops.sum(counted, axis=1) + 1e-3)


def _loudness(power: Any) -> Any:
    centre = (_BARK[1:] + _BARK[:-1]) / 2.0
    exponent = 0.23 * np.clip(6.0 / (centre + 2.0), 1.0, 2.0) ** 0.15
    base = (SONES * (_QUIET / 0.5) ** exponent).astype("float32")
    return base * ops.relu((0.5 + 0.5 * power / _QUIET) ** exponent.astype("float32") - 1.0)


def _over_time(frames: Any) -> Any:
    """Return (batch,) of (batch, frames): the loud moments of a disturbance count more."""
    limited = ops.minimum(frames, MOST_DISTURBANCE)
    return ops.sqrt(ops.mean(ops.square(limited), axis=-1) + 1e-6)


def _segments(bands: Any) -> Any:
    """Return (batch, segments, 24, bands) of (batch, frames, bands)."""
    count = (bands.shape[1] - SEGMENT_FRAMES) // SEGMENT_STEP + 1
    stop = (count - 1) * SEGMENT_STEP + 1
    return ops.stack([bands[:, i : i + stop : SEGMENT_STEP] for i in range(SEGMENT_FRAMES)], axis=2)


def _normalised(segments: Any) -> Any:
    """Return segments with mean zero and norm one along time, then along bands."""
    for axis in (2, 3):
        segments = segments - ops.mean(segments, axis=axis, keepdims=True)
        norm = ops.sqrt(ops.sum(ops.square(segments), axis=axis, keepdims=True) + 1e-6)
        segments = segments / norm
    return segments
