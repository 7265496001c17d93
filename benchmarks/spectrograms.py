"""Draw what the shipped models leave of speech: docs/spectrograms.png.

    python benchmarks/spectrograms.py [--models base-16ms nano-16ms]

The sample is that of `make demo`, of which the clean speech is known, so that onsets (lines) and
fricatives (bars) can be marked in it. Prints what is kept of both, in dB, and what is left of the
rest. Wants `pip install -e .[export]`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep import Settings, isolate
from edgesep.table import print_table
from export.corpus import RATE_HZ
from export.levels import rms
from export.measure import si_sdr_db
from export.score import Clip
from export.score_plots import draw_spectrograms
from export.speech_parts import fricatives, kept_db, onsets

PICTURE = ROOT / "docs" / "spectrograms.png"
MODELS = ("base-16ms", "small-8ms", "nano-16ms")
COLOURS, SHRINK = 64, 0.6  # 300 kB instead of 3 MB


def main() -> int:
    """Draw and print; return the exit status."""
    parser = argparse.ArgumentParser(description="Draw what the models leave of the demo's speech.")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    models = parser.parse_args().models
    clean, noisy = (
        soundfile.read(ROOT / "demo" / f"{name}.flac", dtype="int16")[0]
        for name in ("clean", "noisy")
    )
    exact = Settings(engine="exact")
    outputs = {name: isolate(noisy, RATE_HZ, name, exact) for name in models}
    clip = Clip("demo/noisy.flac", "mix", si_sdr_db(noisy, clean), noisy, clean)
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.png"
        draw_spectrograms(clip, outputs, full)
        image = Image.open(full).convert("RGB")
        small = image.resize([int(side * SHRINK) for side in image.size], Image.Resampling.LANCZOS)
        small.quantize(COLOURS).save(PICTURE, optimize=True)
    rows = [
        (name, *(f"{value:.1f} dB" for value in _figures(sound, noisy, clean)))
        for name, sound in {"noisy": noisy, **outputs}.items()
    ]
    print_table(("", "SI-SDR", "onsets kept", "fricatives kept", "pauses"), rows)
    print(f"wrote {PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


def _figures(sound: np.ndarray, noisy: np.ndarray, clean: np.ndarray) -> tuple[float, ...]:
    pause = np.abs(clean.astype(int)) < 2
    return (
        si_sdr_db(sound, clean),
        kept_db(sound, clean, onsets(clean)),
        kept_db(sound, clean, fricatives(clean)),
        20.0 * np.log10(rms(sound[pause]) / rms(noisy[pause])),
    )


if __name__ == "__main__":
    sys.exit(main())
