"""Measure the fixed-point transforms: accuracy against float64, speed against float and CMSIS-DSP.

    python benchmarks/stft.py [--blocks 400]

Needs scipy, cmsisdsp and rich (pip install 'edgesep[bench]') and the compiled core. Accuracy is
the SNR over windowed speech-like frames; speed is the median of interleaved blocks in one run,
so that a busy machine slows all rows alike. Exit status 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cmsisdsp
import numpy as np
import scipy.fft
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgesep import stft
from edgesep.contract import FrameContract
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15
from tests import signals

Array = np.ndarray
RoundTrip = tuple[Array, Array]  # spectra (n, 257) complex, windowed samples (n, 512)
TARGETS = {"forward dB": 140.0, "round trip dB": 125.0, "scipy": 0.5, "cmsis": 1.0}


# --- accuracy ----------------------------------------------------------------------------------


def ours(frames: Array) -> RoundTrip:
    """Transform and back with the core."""
    re, im, exponent = stft.forward(frames, "c")
    packed = (re + 1j * im) * 2.0 ** exponent[:, None]
    samples, out_exponent = stft.inverse(re, im, exponent, "c")
    return packed, samples * 2.0 ** out_exponent[:, None]


def float32(frames: Array) -> RoundTrip:
    """Transform and back with scipy in single precision."""
    x = frames.astype(np.float32) * signals.analysis_window().astype(np.float32)
    full = scipy.fft.rfft(x)
    return pack(full), scipy.fft.irfft(full)


def cmsis_q31(frames: Array) -> RoundTrip:
    """Transform and back with arm_rfft_q31 as it is usually used: int16 in the upper half."""
    forward, inverse = cmsis_plans()
    window = np.rint(signals.analysis_window() * (2**31 - 1)).astype(np.int32)
    spectra, samples = [], []
    for frame in frames.astype(np.int32) << 16:
        spectrum = cmsisdsp.arm_rfft_q31(forward, cmsisdsp.arm_mult_q31(frame, window))
        spectra.append(spectrum[:514].astype(float).view(complex))
        samples.append(cmsisdsp.arm_rfft_q31(inverse, spectrum))
    # Its scale: 2^-16 for the int16, 2^9 for what the forward transform divides by.
    return pack(np.array(spectra)) * 2.0**-7, np.array(samples) * 2.0**-7


def cmsis_plans() -> tuple[object, object]:
    """Return the forward and the inverse instance for 512 samples."""
    plans = cmsisdsp.arm_rfft_instance_q31(), cmsisdsp.arm_rfft_instance_q31()
    for inverse, plan in enumerate(plans):
        if cmsisdsp.arm_rfft_init_q31(plan, 512, inverse, 1) != 0:
            raise RuntimeError("arm_rfft_init_q31 failed")
    return plans


def pack(full: Array) -> Array:
    """Put the Nyquist bin into the imaginary part of bin 0."""
    packed = full[:, :256].copy()
    packed[:, 0] = full[:, 0].real + 1j * full[:, 256].real
    return packed


def accuracy() -> tuple[Table, bool]:
    """Return the accuracy table and whether ours meets its targets."""
    table = Table("level dBFS", "edgesep", "CMSIS-DSP q31", "float32 scipy")
    table.title = "SNR dB, forward / round trip, N = 512, speech-like frames"
    met = True
    for level in (0, -20, -40, -60):
        frames = signals.history_frames(signals.speech_like(64000, level), 128)[4:]
        truth = signals.spectrum(frames), frames * signals.analysis_window()
        snr = [
            [signals.snr_db(t, v) for t, v in zip(truth, transform(frames), strict=True)]
            for transform in (ours, cmsis_q31, float32)
        ]
        met &= snr[0][0] >= TARGETS["forward dB"] and snr[0][1] >= TARGETS["round trip dB"]
        table.add_row(str(level), *(f"{f:.1f} / {r:.1f}" for f, r in snr))
    return table, bool(met)


# --- speed -------------------------------------------------------------------------------------


class FloatFrontend:
    """The same work in float32 with scipy, buffers made once."""

    def __init__(self, contract: FrameContract) -> None:
        self.contract = contract
        self.window = signals.analysis_window().astype(np.float32)
        hop, fade = contract.hop_samples, contract.fade_samples
        self.synthesis_window = signals.synthesis_window(hop, fade).astype(np.float32)
        self.edges = np.array(contract.band_edges[:-1])
        self.band_of_bin = np.repeat(np.arange(contract.bands), np.diff(contract.band_edges))
        self.band_of_bin = np.append(self.band_of_bin, contract.bands - 1)
        self.history = np.zeros(512, np.float32)
        self.windowed = np.zeros(512, np.float32)
        self.floor = np.full(contract.bands, 41, np.float32)
        self.features = np.zeros((contract.bands, 2), np.int8)
        self.tail = np.zeros(fade, np.float32)
        self.rates = (
            np.float32(2.0**-contract.floor_rise_shift),
            np.float32(2.0**-contract.floor_fall_shift),
        )

    def analyse(self, hop: Array) -> Array:
        """Return int8 features (bands, 2) of an int16 hop (1, H)."""
        step = hop.shape[1]
        self.history[:-step] = self.history[step:]
        self.history[-step:] = hop[0]
        np.multiply(self.history, self.window, out=self.windowed)
        self.spectrum = x = scipy.fft.rfft(self.windowed)
        bins = x[:256]
        power = np.add.reduceat(bins.real**2 + bins.imag**2, self.edges)
        np.maximum(power, 256, out=power)
        level = np.log2(power, out=power)
        difference = level - self.floor
        rise, fall = self.rates
        self.floor += difference * np.where(difference > 0, rise, fall)
        above = (level - self.floor) * 8 - 64
        level = (level - 24) * 8
        np.clip(np.rint(level, out=level), -128, 127, out=level)
        np.clip(np.rint(above, out=above), -128, 127, out=above)
        self.features[:, 0] = level
        self.features[:, 1] = above
        return self.features

    def synthesise(self, mask: Array, gains: Array) -> Array:
        """Return the masked int16 hop (1, H); gains: float32 (256,)."""
        hop, fade = self.contract.hop_samples, self.contract.fade_samples
        bin_gains = gains[mask.view(np.uint8) ^ 0x80][self.band_of_bin]
        piece = scipy.fft.irfft(self.spectrum * bin_gains)[-(hop + fade) :]
        piece *= self.synthesis_window
        piece[:fade] += self.tail
        self.tail = piece[hop:]
        out = piece[:hop]
        np.clip(np.rint(out, out=out), -32768, 32767, out=out)
        return out.astype(np.int16).reshape(1, hop)


def jobs() -> dict[str, Callable[[], object]]:
    """Return what is timed: name -> one hop's work."""
    contract = signals.contract()
    hop = signals.speech_like(16000)[8000 : 8000 + contract.hop_samples].reshape(1, -1).copy()
    mask = np.full(contract.bands, 100, np.int8)
    gains = gain_table_q15(40.0)
    float_gains = (gains / 32768).astype(np.float32)
    core, twin = Frontend(contract, 1, "c"), Frontend(contract, 1, "numpy")
    peer = FloatFrontend(contract)
    forward, inverse = cmsis_plans()
    words = np.random.default_rng(0).integers(-(2**31), 2**31, 512).astype(np.int32)
    spectrum = cmsisdsp.arm_rfft_q31(forward, words)
    return {
        "edgesep analyse": lambda: core.analyse(hop),
        "edgesep synthesise": lambda: core.synthesise(mask, gains),
        "float32 scipy hop": lambda: (peer.analyse(hop), peer.synthesise(mask, float_gains)),
        "edgesep hop": lambda: (core.analyse(hop), core.synthesise(mask, gains)),
        "CMSIS-DSP q31, two transforms": lambda: (
            cmsisdsp.arm_rfft_q31(forward, words),
            cmsisdsp.arm_rfft_q31(inverse, spectrum),
        ),
        "NumPy twin hop": lambda: (twin.analyse(hop), twin.synthesise(mask, gains)),
    }


def measure(blocks: int) -> dict[str, Array]:
    """Return microseconds per call in each of short interleaved blocks."""
    work = jobs()
    repeats = {name: 1 if "NumPy" in name else 25 for name in work}
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(blocks):
        for name, call in work.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e6)
    return {name: np.array(values) for name, values in times.items()}


def speed(blocks: int) -> tuple[Table, bool]:
    """Return the speed table and whether ours meets its targets."""
    times = measure(blocks)
    ratio = {name: float(np.median(times["edgesep hop"] / value)) for name, value in times.items()}
    table = Table("one hop of 128 samples, from Python", "us", "edgesep hop / this")
    table.title = f"Speed, median of {blocks} interleaved blocks"
    for name, value in times.items():
        other = "edgesep" not in name
        table.add_row(name, f"{np.median(value):.1f}", f"{ratio[name]:.3f}" if other else "")
    met = {
        "scipy": ratio["float32 scipy hop"] <= TARGETS["scipy"],
        "cmsis": ratio["CMSIS-DSP q31, two transforms"] <= TARGETS["cmsis"],
    }
    for name, ok in met.items():
        table.add_row(
            f"target against {name}", "", f"<= {TARGETS[name]} {'met' if ok else 'MISSED'}"
        )
    return table, all(met.values())


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=400, help="interleaved blocks [400]")
    arguments = parser.parse_args()
    console = Console()
    good = []
    for table, met in (accuracy(), speed(arguments.blocks)):
        console.print(table)
        good.append(met)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
