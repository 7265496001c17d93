"""Measure the engines: microseconds per frame from Python, the same frames through each.

    python benchmarks/engines.py [--model small-16ms] [--blocks 200]

fast is LiteRT with XNNPACK, exact the C core's kernels, and LiteRT's reference kernels give the
bytes that exact must give. The median of short interleaved blocks in one run, so that a busy
machine slows all rows alike. Exit status 1 when bytes differ or exact takes more than 3 times as
long as fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgesep.engine import Engine
from edgesep.engine.exact import ExactEngine
from edgesep.engine.litert import LiteRTEngine
from edgesep.models import DEFAULT_MODEL, find_model

FRAMES_PER_BLOCK = 20
TARGET = 3.0


def measure(engines: dict[str, Engine], frames: np.ndarray, blocks: int) -> dict[str, np.ndarray]:
    """Return microseconds per frame in each of short interleaved blocks."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for block in range(blocks):
        part = np.roll(frames, -block * FRAMES_PER_BLOCK, axis=0)[:FRAMES_PER_BLOCK]
        for name, engine in engines.items():
            start = time.perf_counter()
            for frame in part:
                engine.step(frame)
            times[name].append((time.perf_counter() - start) / FRAMES_PER_BLOCK * 1e6)
    return {name: np.array(values) for name, values in times.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"name or path [{DEFAULT_MODEL}]")
    parser.add_argument("--blocks", type=int, default=200, help="interleaved blocks [200]")
    arguments = parser.parse_args()
    path, card = find_model(arguments.model)
    exact, reference = ExactEngine(path, card), LiteRTEngine("exact", path, card)
    shape = (1000, card.contract.bands, 2)
    frames = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    same = all(np.array_equal(exact.step(frame), reference.step(frame)) for frame in frames)
    engines: dict[str, Engine] = {
        "fast": LiteRTEngine("fast", path, card),
        "exact": exact,
        "LiteRT reference": reference,
    }
    times = measure(engines, frames, arguments.blocks)
    print(f"{card.name}, {card.sha256[:12]}, {card.macs_per_frame or '?'} MACs per frame")
    for name, values in times.items():
        ratio = np.median(values / times["fast"])
        print(f"{name:18} {np.median(values):7.1f} us per frame   {ratio:5.2f} x fast")
    print(f"exact and LiteRT's reference kernels: {'same bytes' if same else 'BYTES DIFFER'}")
    return 0 if same and np.median(times["exact"] / times["fast"]) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
