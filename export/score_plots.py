"""Pictures of scores: figures by SNR, and spectrograms to judge onsets and fricatives by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .corpus import RATE_HZ
from .plots import figure, save_png
from .score import Clip
from .score_report import System
from .speech_parts import fricatives, onsets

WINDOW_SAMPLES, HOP_SAMPLES = 512, 128
LOUDEST_DB, QUIETEST_DB = 40.0, -40.0  # of a bin, re 1 LSB RMS of a sine
GAIN_DB = (-40.0, 6.0)
FIGURES = (
    ("si_sdri_db", "SI-SDR improvement, dB", ""),
    ("pesq_out", "PESQ-WB", "pesq_noisy"),
    ("estoi_out", "ESTOI", "estoi_noisy"),
)


def draw_scores(systems: Sequence[System], path: Path) -> None:
    """Write a PNG: means of the thirds by SNR with 95% intervals, a line per system."""
    made, (panels,) = figure(1, len(FIGURES), 13.0, 4.2)
    thirds = [name for name in systems[0].groups if name.startswith("mixes ")]
    places = np.arange(len(thirds))
    for axes, (key, label, before) in zip(panels, FIGURES, strict=True):
        for i, system in enumerate(systems):
            groups = [system.groups[name] for name in thirds]
            means, widths = ([g[k] for g in groups] for k in (key, f"{key}_ci95"))
            axes.errorbar(
                places + 0.06 * i, means, widths, marker="o", capsize=3, label=system.label
            )
        if before:
            noisy = [systems[0].groups[name][before] for name in thirds]
            axes.plot(places, noisy, "k:", marker=".", label="input")
        axes.set_xticks(places, [name.removeprefix("mixes ") for name in thirds])
        axes.set(xlabel="SNR of the input", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    save_png(made, path)


def draw_spectrograms(clip: Clip, outputs: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a PNG of one clip: noisy, each output, clean, and below the first output's gain.

    outputs: label -> int16 (samples,). The gain is output over input, bin by bin, in dB: the mask
    as it acts. Above the clean speech stand onsets (lines) and fricative-like frames (bars).
    """
    sounds = {"noisy": clip.noisy, **outputs, "clean": clip.clean}
    made, grid = figure(len(sounds) + 1, 1, 12.0, 2.3 * (len(sounds) + 1))
    panels = grid[:, 0]
    spectra = {label: _magnitudes(sound) for label, sound in sounds.items()}
    for axes, (label, magnitudes) in zip(panels, spectra.items(), strict=False):
        level_db = 20.0 * np.log10(np.maximum(magnitudes, 1e-3))
        image = _show(axes, level_db, QUIETEST_DB, LOUDEST_DB, "magma")
        axes.set_ylabel(f"{label}\nkHz")
        made.colorbar(image, ax=axes, label="dB", pad=0.01)
    _mark(panels[len(sounds) - 1], clip.clean)
    first = next(iter(outputs))
    ratio = np.maximum(spectra[first], 1e-3) / np.maximum(spectra["noisy"], 1e-3)
    image = _show(panels[-1], 20.0 * np.log10(ratio), *GAIN_DB, "viridis")
    panels[-1].set(ylabel=f"gain of\n{first}, kHz", xlabel="s")
    made.colorbar(image, ax=panels[-1], label="dB", pad=0.01)
    made.suptitle(f"{clip.name}, {clip.snr_db:.1f} dB SNR")
    save_png(made, path)


def chosen_clips(clips: Sequence[Clip], count: int) -> list[int]:
    """Return the numbers of `count` clips to draw: mixes from the lowest SNR to the highest."""
    mixes = [i for i, clip in enumerate(clips) if clip.kind == "mix"]
    places = np.linspace(0, len(mixes) - 1, min(count, len(mixes)))
    return [mixes[round(place)] for place in places]


def _magnitudes(sound: np.ndarray) -> np.ndarray:
    """Return (bins, frames); a sine of 1 LSB RMS has the magnitude 1."""
    window = np.hanning(WINDOW_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(sound.astype(np.float64), WINDOW_SAMPLES // 2), WINDOW_SAMPLES
    )[::HOP_SAMPLES]
    scale = np.sqrt(2.0) / window.sum()
    return np.asarray(np.abs(np.fft.rfft(frames * window, axis=1)).T * scale)


def _show(axes: Any, values: np.ndarray, low: float, high: float, colours: str) -> Any:
    seconds = values.shape[1] * HOP_SAMPLES / RATE_HZ
    return axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, 0.0, RATE_HZ / 2000.0),
        vmin=low,
        vmax=high,
        cmap=colours,
        interpolation="nearest",
    )


def _mark(axes: Any, clean: np.ndarray) -> None:
    for start, _ in onsets(clean):
        axes.axvline(start / RATE_HZ, color="cyan", linewidth=0.8)
    for start, stop in fricatives(clean):
        axes.plot((start / RATE_HZ, stop / RATE_HZ), (7.8, 7.8), color="lime", linewidth=3.0)
