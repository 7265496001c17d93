"""Isolate the speech of a whole recording that is held in memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.resample import RATE_MAX_HZ, RATE_MIN_HZ
from edgesep.audio.samples import FULL_SCALE, Samples, to_int16
from edgesep.audio.stream import SeparatedStream
from edgesep.contract import MAX_CHANNELS
from edgesep.errors import SamplesError
from edgesep.isolator import Isolator
from edgesep.models import DEFAULT_MODEL
from edgesep.settings import Settings

__all__ = ["isolate"]

Sample = TypeVar("Sample", np.int16, np.float32, np.float64)


def isolate(
    samples: NDArray[Sample],
    rate_hz: int,
    model: str | Path = DEFAULT_MODEL,
    settings: Settings | None = None,
) -> NDArray[Sample]:
    """Return the isolated speech of a recording: same shape and type, aligned with the input.

    samples: int16, float32 or float64, (n,) or (n, channels), of any length from 1 sample;
        floats are 1.0 at full scale. All channels share one mask.
    rate_hz: whole number, 8000 .. 192000; other rates than 16000 are resampled there and back,
        so nothing above 8 kHz comes out.
    model: name of a shipped model, or path to a .tflite file with its card beside it.

    The path inside is int16. Float recordings that exceed 1.0 are scaled by a power of two on
    the way in and back on the way out, so that they do not clip.

    Raises SamplesError, SettingsError, ModelError or EngineError.
    """
    _check_rate(rate_hz)
    block = _check_samples(samples)
    channels = block.shape[1]
    stream = SeparatedStream(Isolator(model, settings, channels), int(rate_hz), channels)
    scale = 1.0 if block.dtype == np.int16 else _headroom(block)
    scaled = block if block.dtype == np.int16 else (block / scale).astype(np.float32)
    isolated = np.concatenate([stream.push(scaled), stream.finish()])
    return _as_dtype(isolated, samples.dtype, scale).reshape(samples.shape)


def _check_rate(rate_hz: int) -> None:
    whole = isinstance(rate_hz, (int, np.integer)) and not isinstance(rate_hz, bool)
    if not whole or not RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ:
        raise SamplesError(
            f"rate_hz is {rate_hz!r}: give a whole number from {RATE_MIN_HZ} to {RATE_MAX_HZ}"
        )


def _check_samples(samples: NDArray[Any]) -> NDArray[Any]:
    """Return `samples` as (n, channels)."""
    if not isinstance(samples, np.ndarray):
        raise SamplesError(f"samples is a {type(samples).__name__}: give a NumPy array")
    if samples.dtype not in (np.int16, np.float32, np.float64):
        raise SamplesError(f"samples are {samples.dtype}: give int16, or floats with 1.0 as full")
    if samples.ndim not in (1, 2):
        raise SamplesError(f"samples have shape {samples.shape}: give (n,) or (n, channels)")
    if samples.size == 0:
        raise SamplesError(f"samples have shape {samples.shape}: there is nothing to isolate")
    block = samples.reshape(len(samples), -1)
    if block.shape[1] > MAX_CHANNELS:
        raise SamplesError(
            f"samples have shape {samples.shape}: {block.shape[1]} channels are more than "
            f"{MAX_CHANNELS}; give (n, channels), not (channels, n)"
        )
    if block.dtype != np.int16 and not np.isfinite(block).all():
        first = int(np.argmin(np.isfinite(block).all(axis=1)))
        raise SamplesError(f"samples hold NaN or infinity, first at {first}: repair them first")
    return block


def _headroom(block: NDArray[Any]) -> float:
    """Return the power of two, 1 or more, that brings the peak to 1.0 or below."""
    peak = float(np.abs(block).max())
    return 1.0 if peak <= 1.0 else math.ldexp(1.0, min(math.frexp(peak)[1], 1023))


def _as_dtype(isolated: Samples, dtype: np.dtype[Any], scale: float) -> NDArray[Any]:
    """Return what the stream gave, int16 or float32, as the caller's type and level."""
    if dtype == np.int16:
        return isolated if isolated.dtype == np.int16 else to_int16(isolated.astype(np.float32))
    unit = FULL_SCALE if isolated.dtype == np.int16 else 1
    return isolated.astype(dtype) * (scale / unit)
