"""What the network sees of a frame: log power per band, and log power above the noise floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgesep.contract import MAX_CHANNELS, WINDOW_SAMPLES, FrameContract
from edgesep.core import tables
from edgesep.errors import SamplesError
from edgesep.fixed import Int64, bit_length
from edgesep.stft import BATCH_FRAMES, Spectrum, analyse_frames, is_silent

POWER_SHIFT = 6  # bits dropped before squaring: 256 bins of squares stay below 2^57
LEVEL_MIN_Q8, LEVEL_MAX_Q8 = 2048, 10495  # log2 of power: 8.0 .. 40.996
LEVEL_CENTRE_Q8 = 24 * 256  # level that the first feature codes as 0
FLOOR_OFFSET = 64  # the second feature codes "at the floor" as -64
STEP_BITS = 5  # eight steps an octave of power: .376 dB each


def band_power(x: Spectrum, contract: FrameContract) -> Int64:
    """Return the power of spectra (..., 256) in each band: (..., bands), exponent 2 (e + 6)."""
    power = (x.re >> POWER_SHIFT) ** 2 + (x.im >> POWER_SHIFT) ** 2
    power[..., 0] = (x.re[..., 0] >> POWER_SHIFT) ** 2  # bin 0 counts DC only, not Nyquist
    return np.add.reduceat(power, np.array(contract.band_edges[:-1]), axis=-1)


def mean_power(
    x: Spectrum, silent: NDArray[np.bool_], contract: FrameContract
) -> tuple[Int64, Int64]:
    """Average the band power of channels (..., channels, 256).

    silent: (..., channels), channels whose history is all zero. Returns power (..., bands) and
    its exponent (...).
    """
    power = np.where(silent[..., None], 0, band_power(x, contract))
    scale = np.where(silent, np.iinfo(np.int64).min // 4, 2 * (x.exponent + POWER_SHIFT))
    common = scale.max(axis=-1)
    shift = np.where(silent, 0, common[..., None] - scale)
    aligned = power >> np.minimum(shift, 63)[..., None]  # power is below 2^57
    common = np.where(silent.all(axis=-1), 0, common)
    return aligned.sum(axis=-2) // x.re.shape[-2], common


def log2_q8(power: Int64) -> Int64:
    """Return log2 of positive integers, Q8, from the pinned table (0 gives a meaningless value)."""
    exponent = np.maximum(bit_length(power) - 1, 0)
    mantissa = ((power.astype(np.uint64) << (63 - exponent).astype(np.uint64)) >> 47).astype(
        np.int64
    ) & 0xFFFF
    i, fraction = mantissa >> 10, mantissa & 1023
    table = tables.LOG2_Q16
    low = table[i]
    log = low + (((table[np.minimum(i + 1, 64)] - low) * fraction) >> 10)
    return (exponent << 8) + ((log + 128) >> 8)


def levels_q8(power: Int64, scale: Int64) -> Int64:
    """Return the log2 power (..., bands), Q8, 2048 .. 10495, of power * 2^scale."""
    level = np.clip(log2_q8(power) + (scale[..., None] << 8), LEVEL_MIN_Q8, LEVEL_MAX_Q8)
    return np.where(power == 0, LEVEL_MIN_Q8, level)


def initial_floor(contract: FrameContract) -> Int64:
    """Return the noise floor before the first frame: (bands,) Q16, the highest level."""
    return np.full(contract.bands, LEVEL_MAX_Q8 << 8, dtype=np.int64)


def track_floor(floor: Int64, level: Int64, contract: FrameContract) -> Int64:
    """Return the noise floor (bands,), Q16, after a frame of that level (bands,), Q8.

    Not for frames of digital silence: it would fall to nothing, and take seconds to rise again.
    """
    above = (level << 8) - floor
    rise = above >> contract.floor_rise_shift
    return floor + np.where(above > 0, rise, above >> contract.floor_fall_shift)


def quantise(level: Int64, floor: Int64) -> NDArray[np.int8]:
    """Return the features int8 (..., bands, 2) of levels, Q8, and floors, Q16."""
    half = 1 << (STEP_BITS - 1)
    power = (level - LEVEL_CENTRE_Q8 + half) >> STEP_BITS
    above = ((level - (floor >> 8) + half) >> STEP_BITS) - FLOOR_OFFSET
    return np.clip(np.stack((power, above), axis=-1), -128, 127).astype(np.int8)


def silence(contract: FrameContract) -> NDArray[np.int8]:
    """Return the features (bands, 2) of a frame whose samples are all zero."""
    return np.full((contract.bands, 2), -128, np.int8)


def signal_features(
    signal: NDArray[np.int16], contract: FrameContract, backend: str = "auto"
) -> NDArray[np.int8]:
    """Return the features of a whole signal, as a stream of hops from silence would give them.

    signal: int16 (samples,) or (channels, samples) at 16 kHz; a last incomplete hop is left out.
    Returns int8 (frames, bands, 2). backend: "auto", "c" or "numpy", with the same bits.
    Raises SamplesError for another shape or type.
    """
    from edgesep.frontend import Frontend  # the frontend is built on this module

    channels = np.atleast_2d(signal)
    if channels.ndim != 2 or channels.dtype != np.int16 or len(channels) > MAX_CHANNELS:
        raise SamplesError(
            f"signal is {signal.dtype} {signal.shape}: give int16 (samples,) or (channels, samples)"
        )
    frontend = Frontend(contract, len(channels), backend)
    if frontend.backend == "numpy":
        return _signal_features(channels, contract)
    hop = contract.hop_samples
    features = np.empty((channels.shape[1] // hop, contract.bands, 2), dtype=np.int8)
    for frame, start in zip(features, range(0, channels.shape[1], hop), strict=False):
        frame[...] = frontend.analyse(np.ascontiguousarray(channels[:, start : start + hop]))
    return features


def _signal_features(channels: NDArray[np.int16], contract: FrameContract) -> NDArray[np.int8]:
    """Compute the features in batches of frames; only the noise floor goes frame by frame."""
    hop = contract.hop_samples
    frames = channels.shape[1] // hop
    if frames == 0:
        return np.empty((0, contract.bands, 2), dtype=np.int8)
    padded = np.pad(channels, ((0, 0), (WINDOW_SAMPLES - hop, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES, axis=1)[:, ::hop]
    windows = windows[:, :frames].swapaxes(0, 1)  # (frames, channels, 512)
    level = np.empty((frames, contract.bands), dtype=np.int64)
    sounding = np.empty(frames, dtype=np.bool_)
    for start in range(0, frames, BATCH_FRAMES):
        part = windows[start : start + BATCH_FRAMES]
        silent = is_silent(part)
        sounding[start : start + BATCH_FRAMES] = ~silent.all(axis=1)
        power = mean_power(analyse_frames(part), silent, contract)
        level[start : start + BATCH_FRAMES] = levels_q8(*power)
    floors = np.empty_like(level)
    floor = initial_floor(contract)
    for frame in range(frames):
        if sounding[frame]:
            floor = track_floor(floor, level[frame], contract)
        floors[frame] = floor
    features = quantise(level, floors)
    features[~sounding] = silence(contract)
    return features
