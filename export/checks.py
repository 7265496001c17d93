"""Read a sound file of any rate and channel count to 16 kHz int16; say what is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from .levels import rms, to_int16

RATE_HZ = 16000
SHORTEST_S = 0.2
SILENT_DBFS = -60.0
RAIL = 0.999  # of full scale
FLAT_RUN = 4  # samples in a row at a block's own peak: clipped before it was turned down
LSB = 1.0 / 32768.0
CLIPPED_SHARE = 0.001
EDGE_HZ = 6000.0  # speech that ends below was sampled at 12 kHz or less, or came over a telephone
EMPTY_DB = -55.0  # of the mean density from 300 to 3400 Hz
BLOCK_FRAMES = 1 << 20
SPECTRUM_SAMPLES = 512
SPECTRUM_FRAMES = 400

UNREADABLE = "unreadable"
LOW_RATE = "rate below 16 kHz"
UPSAMPLED = "nothing above 6 kHz (upsampled)"
SHORT = f"shorter than {SHORTEST_S} s"
NOT_FINITE = "not finite"
SILENT = "silent"
CLIPPED = "clipped"
DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Reading:
    """A file's samples, mono at 16 kHz, int16; fault: why not to use them, "" where nothing is."""

    samples: np.ndarray
    fault: str = ""
    detail: str = ""


def _faulty(fault: str, detail: str = "") -> Reading:
    return Reading(np.zeros(0, np.int16), fault, detail)


def read_checked(path: Path, kind: str) -> Reading:
    """Read a file and check it; kind "speech" has to fill the spectrum, "noise" need not.

    Channels are averaged. Of the faults that a file has, the first found is named.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate < RATE_HZ:
                return _faulty(LOW_RATE, f"{file.samplerate} Hz")
            mono, flat_share = _read(file)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        return _faulty(UNREADABLE, str(error))
    if len(mono) < SHORTEST_S * RATE_HZ:
        return _faulty(SHORT, f"{len(mono) / RATE_HZ:.2f} s")
    if np.isnan(flat_share):
        return _faulty(NOT_FINITE)
    level = rms(mono.astype(np.float32) - np.float32(mono.mean())) * LSB
    if level < 10.0 ** (SILENT_DBFS / 20.0):
        return _faulty(SILENT, f"{20.0 * np.log10(level):.0f} dBFS")
    if flat_share > CLIPPED_SHARE:
        return _faulty(CLIPPED, f"{flat_share:.2%} of the samples")
    if kind == "speech" and (edge := spectrum_edge_hz(mono)) < EDGE_HZ:
        return _faulty(UPSAMPLED, f"ends at {edge / 1000.0:.1f} kHz")
    return Reading(mono)


def _read(file: Any) -> tuple[np.ndarray, float]:
    """Return a file's mono int16 samples at 16 kHz and its share of clipped ones (NaN: not finite).

    Goes block by block, so that hours of sound need no more memory than they take as int16.
    """
    stream = None
    if file.samplerate != RATE_HZ:
        stream = soxr.ResampleStream(file.samplerate, RATE_HZ, 1, dtype="float32", quality="HQ")
    parts, clipped, count = [], 0, 0
    while True:
        block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        last = len(block) < BLOCK_FRAMES
        if not np.isfinite(block).all():
            return np.zeros(RATE_HZ, np.int16), float("nan")
        clipped += _clipped_samples(block)
        count += block.size
        mono = block.mean(axis=1)
        parts.append(to_int16(stream.resample_chunk(mono, last=last) if stream else mono))
        if last:
            return np.concatenate(parts), clipped / max(count, 1)


def _clipped_samples(block: np.ndarray) -> int:
    """Return how many samples (frames, channels) lie at the rails or on a plateau at the peak."""
    size = np.abs(block)
    rails = np.count_nonzero(size >= RAIL)
    if rails or not len(block):
        return int(rails)
    peak = size.max(axis=0)
    flat = (size >= peak - LSB) & (peak > 100.0 * LSB)
    run = flat[FLAT_RUN - 1 :].copy()
    for i in range(FLAT_RUN - 1):
        run &= flat[i : i - FLAT_RUN + 1]
    return int(np.count_nonzero(run)) * FLAT_RUN


def spectrum_edge_hz(samples: np.ndarray) -> float:
    """Return the frequency above which a sound (samples,) int16 at 16 kHz holds next to nothing.

    That is 55 dB below its mean density from 300 to 3400 Hz, over at most 400 frames spread evenly.
    """
    frames = max(len(samples) // SPECTRUM_SAMPLES, 1)
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, SPECTRUM_FRAMES)).astype(int))
    padded = np.resize(samples, max(len(samples), SPECTRUM_SAMPLES))
    pieces = padded[: frames * SPECTRUM_SAMPLES].reshape(frames, -1)[chosen]
    power = np.square(np.abs(np.fft.rfft(pieces * np.hanning(SPECTRUM_SAMPLES)))).mean(axis=0)
    power = np.convolve(power, np.ones(5) / 5.0, "same")
    hz = np.arange(len(power)) * (RATE_HZ / SPECTRUM_SAMPLES)
    floor = power[(hz >= 300.0) & (hz <= 3400.0)].mean() * 10.0 ** (EMPTY_DB / 10.0)
    above = np.flatnonzero(power > floor)
    return float(hz[above[-1]]) if len(above) else 0.0


@dataclass
class Report:
    """What the checks of a kind of sound found, summed over files."""

    kind: str
    files: int = 0
    used_samples: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)  # path, reason, detail
    left_out: Counter[str] = field(default_factory=Counter)

    def skip(self, path: Path, reading: Reading) -> None:
        """Count a file that is not used."""
        entry = {"path": str(path), "reason": reading.fault, "detail": reading.detail}
        self.skipped.append(entry)

    @property
    def reasons(self) -> Counter[str]:
        """Files skipped, by reason."""
        return Counter(entry["reason"] for entry in self.skipped)

    def as_json(self) -> dict[str, Any]:
        """Return what goes into the JSON report."""
        return {
            "kind": self.kind,
            "files": self.files,
            "used": self.files - len(self.skipped),
            "used_hours": round(self.used_samples / RATE_HZ / 3600.0, 4),
            "skipped_by_reason": dict(self.reasons),
            "left_out_by_layout": dict(self.left_out),
            "skipped": self.skipped,
        }
