"""Isolate the speech in the sample that comes with edgesep, and show what that did.

    python demo/run.py [--model NAME] [--out FOLDER]

Writes speech.wav, background.wav and spectrogram.png, and prints how much noise went, the latency
and the time it took. `make demo` installs what it needs and runs it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgesep import EdgesepError, Isolator, cli
from edgesep.models import DEFAULT_MODEL

Samples = NDArray[np.int16]  # (samples,) at 16 kHz

FOLDER = Path(__file__).parent
LOUDEST_DB, QUIETEST_DB = -20, -90  # of the pictures, relative to full scale


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description="Isolate the speech in edgesep's sample.")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or path [%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="[%(default)s]")
    options = parser.parse_args()
    noisy = FOLDER / "noisy.flac"
    flags = ["--model", options.model, "--stems", "--force", "--quiet"]
    status = cli.main(["file", str(noisy), "-o", str(options.out), *flags])
    if status:
        return status
    try:
        report(options.model, options.out)
    except EdgesepError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    return 0


def report(model: str, out: Path) -> None:
    """Draw the spectrograms and print the figures."""
    clean, noisy, speech, background = (
        soundfile.read(path, dtype="int16")[0]
        for path in (
            FOLDER / "clean.flac", FOLDER / "noisy.flac", out / "speech.wav", out / "background.wav"
        )
    )  # fmt: skip
    draw({"input": noisy, "speech": speech, "background": background}, out / "spectrogram.png")
    isolator = Isolator(model)
    factor = real_time_factor(isolator, noisy)
    before_db, after_db = si_sdr_db(noisy, clean), si_sdr_db(speech, clean)
    rate_hz, hop_ms = isolator.rate_hz, 1000 * isolator.hop_samples / isolator.rate_hz
    print(f"model             {isolator.card.name} ({isolator.description})")
    print(f"SI-SDR in, out    {before_db:.1f} dB, {after_db:.1f} dB")
    print(f"latency           {1000 * isolator.latency_samples / rate_hz:g} ms")
    print(f"real-time factor  {factor:.4f} ({factor * hop_ms:.3f} ms for a hop of {hop_ms:g} ms)")
    for name in ("speech.wav", "background.wav", "spectrogram.png"):
        print(f"written           {out / name}")


def real_time_factor(isolator: Isolator, samples: Samples) -> float:
    """Return the time for the whole recording, hop by hop, as a share of its length."""
    count = len(samples) // isolator.hop_samples
    hops = samples[: count * isolator.hop_samples].reshape(count, -1)
    started = time.perf_counter()
    for hop in hops:
        isolator.process(hop)
    return (time.perf_counter() - started) * isolator.rate_hz / hops.size


def si_sdr_db(estimate: Samples, target: Samples) -> float:
    """Return the scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""
    wanted = target - np.mean(target, dtype=np.float64)
    got = estimate - np.mean(estimate, dtype=np.float64)
    wanted *= (got @ wanted) / (wanted @ wanted)
    error = got - wanted
    return float(10 * np.log10((wanted @ wanted) / (error @ error)))


def draw(tracks: dict[str, Samples], path: Path) -> None:
    """Draw the spectrogram of each track below the other."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EdgesepError(f"no matplotlib ({error}): pip install 'edgesep[demo]'") from error
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    rows = figure.subplots(len(tracks), sharex=True, sharey=True)
    for axes, (name, samples) in zip(rows, tracks.items(), strict=True):
        extent = (0, len(samples) / 16000, 0, 8000)
        axes.imshow(
            spectrogram_db(samples), origin="lower", aspect="auto", extent=extent,
            vmin=QUIETEST_DB, vmax=LOUDEST_DB,
        )  # fmt: skip
        axes.set(title=name, ylabel="Hz")
    rows[-1].set_xlabel("s")
    figure.savefig(path, dpi=100)


def spectrogram_db(samples: Samples) -> NDArray[np.float64]:
    """Return the level of (257 frequencies, frames), a sine of full scale at 0 dB."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768, 512)[::64]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(512))) / 128
    return 20 * np.log10(np.maximum(magnitude, 1e-6)).T


if __name__ == "__main__":
    sys.exit(main())
