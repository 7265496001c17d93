"""Measure how long sound takes from an output back to an input: play chirps and find them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.audio.devices import PortAudio
from edgesep.audio.live_session import Ends, open_devices
from edgesep.errors import DeviceError
from edgesep.live_settings import LiveSettings

__all__ = ["find_chirp", "measure_latency_ms", "sweep"]

CHIRP_S, CHIRP_LEVEL = 0.1, 0.25  # -12 dBFS: it may be played into headphones that are worn
LOW_HZ, HIGH_HZ = 300.0, 6000.0
SETTLE_S, PERIOD_S = 3.0, 1.0  # a null sink takes two seconds to wake up
CLARITY = 8.0  # peak of the correlation over its mean magnitude, from which on a chirp is heard


def sweep(rate_hz: int) -> NDArray[np.float64]:
    """Return the chirp, (n,), faded in and out, 1.0 at full scale."""
    moments = np.arange(round(CHIRP_S * rate_hz)) / rate_hz
    phase = 2 * np.pi * (LOW_HZ + (HIGH_HZ - LOW_HZ) * moments / (2 * CHIRP_S)) * moments
    return CHIRP_LEVEL * np.sin(phase) * np.sin(np.pi * moments / CHIRP_S) ** 2


def find_chirp(heard: NDArray[np.float64], rate_hz: int) -> int | None:
    """Return where in `heard` (n,) the chirp begins, None if it is not in it."""
    chirp = sweep(rate_hz)
    size = 1 << (len(heard) + len(chirp)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(chirp, size))
    scores = np.abs(np.fft.irfft(product, size)[: max(1, len(heard) - len(chirp))])
    at = int(np.argmax(scores))
    return at if scores[at] > CLARITY * scores.mean() and scores[at] > 0 else None


def measure_latency_ms(settings: LiveSettings, count: int = 5) -> list[float]:
    """Play `count` chirps, a second apart, and return how long each took, in ms.

    From handing a sample to PortAudio to getting it back: output buffer, cable or air, input
    buffer. The devices are those of `settings`.
    Raises DeviceError when a device is missing or no chirp comes back.
    """
    portaudio = PortAudio()
    try:
        ends = open_devices(portaudio.devices(), settings)
        return _Measurement(ends).run(portaudio, settings, count)
    finally:
        portaudio.close()


class _Measurement:
    """Two streams that note when each block went out and came in."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._chirp = np.rint(sweep(ends.out_rate_hz) * 32767).astype(np.int16)
        self._sent_frames = 0
        self._start_frames: list[int] = []  # of the chirps, in frames of the output
        self._sent_at_s: list[tuple[int, float]] = []
        self._heard: list[tuple[float, NDArray[np.int16]]] = []

    def run(self, portaudio: PortAudio, settings: LiveSettings, count: int) -> list[float]:
        ends, rate_hz = self._ends, self._ends.out_rate_hz
        self._start_frames = [round((SETTLE_S + i * PERIOD_S) * rate_hz) for i in range(count)]
        streams = []
        try:
            for device, kind, hz, channels, callback in (
                (ends.sink, "output", rate_hz, ends.out_channels, self._send),
                (ends.source, "input", ends.in_rate_hz, ends.in_channels, self._hear),
            ):
                frames = round(settings.block_ms * hz / 1000)
                streams.append(portaudio.open(device, kind, hz, channels, frames, callback))
            total = round((SETTLE_S + count * PERIOD_S) * rate_hz)
            patience = time.perf_counter() + SETTLE_S + count * PERIOD_S + 5.0
            while self._sent_frames < total and time.perf_counter() < patience:
                time.sleep(0.05)
        finally:
            for stream in streams:
                stream.close()
        return self._evaluate(count)

    def _send(self, _: Any, frames: int, __: Any, ___: int) -> tuple[bytes | None, int]:
        now, first = time.perf_counter(), self._sent_frames
        block = np.zeros((frames, self._ends.out_channels), np.int16)
        for start in self._start_frames:
            low, high = max(first, start), min(first + frames, start + len(self._chirp))
            if low < high:
                block[low - first : high - first] = self._chirp[low - start : high - start, None]
        self._sent_at_s.append((first, now))
        self._sent_frames += frames
        return block.tobytes(), 0

    def _hear(self, raw: Any, frames: int, _: Any, __: int) -> tuple[bytes | None, int]:
        block = np.frombuffer(raw, np.int16).reshape(frames, -1)
        self._heard.append((time.perf_counter(), block.copy()))
        return None, 0

    def _evaluate(self, count: int) -> list[float]:
        found = []
        for start in self._start_frames[:count]:
            latency_s = self._latency_s(start)
            if latency_s is not None:
                found.append(1000 * latency_s)
        if not found:
            raise DeviceError(
                f"no chirp of {self._ends.sink.name!r} came back to {self._ends.source.name!r}: "
                "connect them, turn both up, and set wet=0 where an edgesep is in between"
            )
        return found

    def _latency_s(self, start: int) -> float | None:
        """Return the latency of the chirp that began at output frame `start`."""
        before = [(first, at) for first, at in self._sent_at_s if first <= start]
        if not before:
            return None
        first, at_s = before[-1]
        sent_s = at_s + (start - first) / self._ends.out_rate_hz
        rate_hz = self._ends.in_rate_hz
        blocks = [pair for pair in self._heard if sent_s <= pair[0] < sent_s + PERIOD_S]
        if not blocks:
            return None
        heard = np.concatenate([block for _, block in blocks]).mean(axis=1)
        place = find_chirp(heard, rate_hz)
        if place is None:
            return None
        for arrived_s, block in blocks:
            if place < len(block):
                return arrived_s - (len(block) - place) / rate_hz - sent_s
            place -= len(block)
        return None
