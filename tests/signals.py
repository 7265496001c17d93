"""Test signals and the float64 truth of the frame contract."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgesep.contract import FADE_CHOICES, HOP_CHOICES, FrameContract

Float = NDArray[np.float64]
Samples = NDArray[np.int16]

HOPS_AND_FADES = [(hop, fade) for hop in HOP_CHOICES for fade in FADE_CHOICES if fade <= hop]
BAND_EDGES = (*range(65), *range(67, 256, 3), 256)  # 128 bands, single bins at the bottom


def contract(hop: int = 128, fade: int = 128, edges: tuple[int, ...] = BAND_EDGES) -> FrameContract:
    """Return a contract like the shipped models'."""
    return FrameContract(hop, fade, edges, floor_rise_shift=8, floor_fall_shift=3)


def to_int16(x: Float) -> Samples:
    """Round and clip."""
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


def speech_like(samples: int, level_dbfs: float = 0.0, seed: int = 0) -> Samples:
    """Return gliding harmonics under formants and syllables, peak at the level, plus breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    pitch = 120 + 30 * np.sin(2 * np.pi * (0.7 * t + rng.random()))
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    x = 0.003 * rng.standard_normal(samples)
    for h in range(1, 33):
        hz = 120 * h
        formants = sum(
            g / (1 + ((hz - f) / 150) ** 2) for f, g in ((500, 1.0), (1500, 0.5), (2500, 0.25))
        )
        x += formants * np.sin(h * phase + 2 * np.pi * rng.random())
    x *= 0.55 - 0.45 * np.cos(2 * np.pi * 4 * t)
    return to_int16(x / np.abs(x).max() * 32767 * 10 ** (level_dbfs / 20))


def _spikes(samples: int) -> Samples:
    x = np.zeros(samples, np.int16)
    x[::301], x[150::301] = 32767, -32768
    return x


def signals(samples: int) -> dict[str, Samples]:
    """Return the signals that every path must survive: name -> int16 (samples,)."""
    rng = np.random.default_rng(7)
    n = np.arange(samples)
    return {
        "speech": speech_like(samples),
        "quiet speech": speech_like(samples, -60),
        "noise": rng.integers(-32768, 32768, samples).astype(np.int16),
        "faint noise": rng.integers(-1, 2, samples).astype(np.int16),
        "silence": np.zeros(samples, np.int16),
        "dc": np.full(samples, 12345, np.int16),
        "full-scale dc": np.full(samples, -32768, np.int16),
        "minus one": np.full(samples, -1, np.int16),
        "impulses": _spikes(samples),
        "square": np.where(n // 37 % 2, 32767, -32768).astype(np.int16),
        "alternating": np.where(n % 2, 32767, -32768).astype(np.int16),
        "full-scale sine": to_int16(32767 * np.sin(2 * np.pi * 1000.3 * n / 16000)),
        "burst": np.where(n // 700 % 2, rng.integers(-32768, 32768, samples), 0).astype(np.int16),
    }


def adversarial_frames(count: int, seed: int = 1) -> Samples:
    """Return int16 frames (count, 512): every level of noise, and shapes that strain headroom."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(-32768, 32768, (count, 512)).astype(np.int16)
    kind = np.arange(count) % 8
    n = np.arange(512)
    frames >>= rng.integers(0, 16, (count, 1)).astype(np.int16)
    for i in np.flatnonzero(kind == 1):  # single samples
        frames[i] = 0
        frames[i, rng.integers(0, 512, rng.integers(1, 4))] = rng.integers(-32768, 32768)
    for i in np.flatnonzero(kind == 2):  # a tone on or off a bin
        hz = rng.uniform(0, 256) if i % 2 else rng.integers(0, 257)
        amplitude = 2.0 ** rng.uniform(0, 15.1)
        frames[i] = to_int16(amplitude * np.cos(2 * np.pi * hz * n / 512 + rng.uniform(0, 6.3)))
    for i in np.flatnonzero(kind == 3):  # extremes, in runs
        frames[i] = np.where(n // rng.integers(1, 300) % 2, 32767, -32768)
    for i in np.flatnonzero(kind == 4):  # constants
        frames[i] = rng.choice(np.array([-32768, -32767, -1, 0, 1, 32767, rng.integers(-999, 999)]))
    for i in np.flatnonzero(kind == 5):  # signs alone
        frames[i] = rng.choice(np.array([-32768, 32767]), 512)
    for i in np.flatnonzero(kind == 6):  # silence, then sound, or the other way round
        frames[i, : rng.integers(0, 513)] = 0
        frames[i] = frames[i][:: rng.choice([-1, 1])]
    return frames


# --- float64 truth -----------------------------------------------------------------------------


def analysis_window() -> Float:
    """Return the real-valued analysis window (512,)."""
    n = np.arange(512)
    return np.where(n < 448, np.sin(np.pi * (n + 0.5) / 896), np.cos(np.pi * (n - 448 + 0.5) / 128))


def synthesis_window(hop: int, fade: int) -> Float:
    """Return the real-valued synthesis window (hop + fade,)."""
    rise = np.sin(np.pi * (np.arange(fade) + 0.5) / (2 * fade)) ** 2
    product = np.concatenate((rise, np.ones(hop - fade), 1 - rise))
    return product / analysis_window()[-(hop + fade) :]


def spectrum(frames: Samples) -> NDArray[np.complex128]:
    """Return the packed spectra (..., 256): the Nyquist bin rides in bin 0's imaginary part."""
    full = np.fft.rfft(frames * analysis_window())
    packed = full[..., :256].copy()
    packed[..., 0] = full[..., 0].real + 1j * full[..., 256].real
    return packed


def history_frames(signal: Samples, hop: int) -> Samples:
    """Return the 512-sample history at each hop of a stream from silence: (hops, 512)."""
    padded = np.pad(signal, (512 - hop, 0))
    return np.lib.stride_tricks.sliding_window_view(padded, 512)[::hop]


def masked(signal: Samples, gains: Float, hop: int, fade: int) -> Float:
    """Return what float64 makes of a stream under gains per hop and bin (hops, 257), unclipped."""
    frames = np.fft.irfft(np.fft.rfft(history_frames(signal, hop) * analysis_window()) * gains)
    pieces = frames[:, -(hop + fade) :] * synthesis_window(hop, fade)
    out = np.zeros(len(pieces) * hop + fade)
    for i, piece in enumerate(pieces):
        out[i * hop : i * hop + len(piece)] += piece
    return out[: len(signal)]


def snr_db(truth: NDArray, value: NDArray) -> float:
    """Return the power of the truth over the power of the error, in dB, pooled over all values."""
    error = np.sum(np.abs(truth - value) ** 2)
    return float(10 * np.log10(np.sum(np.abs(truth) ** 2) / max(error, 1e-300)))
