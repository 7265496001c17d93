"""Measure edgesep's whole Python path beside DTLN and RNNoise: one process, one thread, one run.

    python benchmarks/peers.py --dtln DIR --rnnoise librnnoise.so [--blocks 200] [--json FILE]

DIR holds DTLN's model_1.tflite, model_2.tflite, model_quant_1.tflite and model_quant_2.tflite (MIT,
github.com/breizhn/DTLN, pretrained_model/), librnnoise.so is RNNoise as a shared library (BSD,
github.com/xiph/rnnoise); neither is part of this repository. Leave out what you do not have.

DTLN runs as its authors' loop does: windows of 512 samples, 128 at a time, two networks with their
states handed back in, transforms by NumPy, in the same TFLite runtime as edgesep. RNNoise is called
through ctypes, 480 samples of 48 kHz at a time. edgesep is `Isolator.process`. Blocks of all of
them are interleaved; each hop is timed by itself, and what is compared is the 10th percentile,
which hops that were interrupted by another program do not reach.

A model without weights yet is measured by its recipe with random ones: `--recipe base-16ms`. Exit
status 1 when a target is missed, or could not be measured: base-16ms at most 0.8 of quantized
DTLN's real-time factor, small-16ms at most 0.5.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgesep.bench import sample_hops
from edgesep.contract import RATE_HZ
from edgesep.engine.runtime import make_interpreter
from edgesep.isolator import Isolator
from edgesep.machine import read_machine
from edgesep.models import list_models
from edgesep.settings import Settings
from edgesep.table import print_table

BASE = "DTLN, quantized"
TARGETS = {"base-16ms": 0.8, "small-16ms": 0.5}
BLOCK_S = 0.24
"""Sound per block: short, so that some blocks of each are not interrupted."""
WARM_UP_HOPS = 3
"""Hops of a block that are not timed: they fetch the weights back into the caches."""
BEST = 10
"""Percentile of the hops' times that is compared."""


@dataclass(frozen=True)
class Row:
    """What one system takes."""

    name: str
    hop_ms: float
    hop_us: float
    """10th percentile."""
    median_us: float
    real_time_factor: float
    """Of the 10th percentile."""
    ratio: float | None
    """Real-time factor over that of quantized DTLN; None without it."""


@dataclass(frozen=True)
class Job:
    """A system: a function that takes hop number i, and how long a hop is."""

    name: str
    hop_ms: float
    process: Callable[[int], object]


# --- the systems ---------------------------------------------------------------------------------


def edgesep_job(model: str, engine: str, label: str = "") -> Job:
    """Return edgesep's Python path."""
    isolator = Isolator(model, Settings(engine=engine))
    hops = sample_hops(isolator.hop_samples)
    name = f"edgesep {label or isolator.card.name}, {engine}"
    hop_ms = isolator.hop_samples * 1000 / RATE_HZ
    return Job(name, hop_ms, lambda i: isolator.process(hops[i % len(hops)]))


class Dtln:
    """DTLN's two networks in a loop over hops of 128 samples (Westhausen and Meyer 2020)."""

    WINDOW, HOP = 512, 128

    def __init__(self, first: Path, second: Path) -> None:
        self._first, self._second = (
            _Stage(make_interpreter(path.read_bytes(), reference=False)) for path in (first, second)
        )
        self._input = np.zeros(self.WINDOW, np.float32)
        self._output = np.zeros(self.WINDOW, np.float32)

    def process(self, hop: np.ndarray) -> np.ndarray:
        """Return the enhanced hop, float32 (128,), of one, float32 (128,)."""
        self._input[: -self.HOP] = self._input[self.HOP :]
        self._input[-self.HOP :] = hop
        spectrum = np.fft.rfft(self._input)
        magnitude, phase = np.abs(spectrum), np.angle(spectrum)
        mask = self._first.run(magnitude.reshape(1, 1, -1).astype(np.float32))
        estimate = magnitude * mask.reshape(-1) * np.exp(1j * phase)
        frame = np.fft.irfft(estimate).reshape(1, 1, -1).astype(np.float32)
        block = self._second.run(frame).reshape(-1)
        self._output[: -self.HOP] = self._output[self.HOP :]
        self._output[-self.HOP :] = 0
        self._output += block
        return self._output[: self.HOP].copy()


class _Stage:
    """A network whose state goes in and comes out: the ends with four dimensions."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        (self._x,) = (end["index"] for end in inputs if len(end["shape"]) == 3)
        (self._y,) = (end["index"] for end in outputs if len(end["shape"]) == 3)
        (self._state_in,) = (end for end in inputs if len(end["shape"]) == 4)
        (self._state_out,) = (end["index"] for end in outputs if len(end["shape"]) == 4)
        self._state = np.zeros(self._state_in["shape"], np.float32)

    def run(self, x: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._state_in["index"], self._state)
        self._interpreter.set_tensor(self._x, x)
        self._interpreter.invoke()
        self._state = self._interpreter.get_tensor(self._state_out)
        y: np.ndarray = self._interpreter.get_tensor(self._y)
        return y


def dtln_job(name: str, first: Path, second: Path) -> Job:
    """Return DTLN's loop with these weights."""
    dtln = Dtln(first, second)
    hops = sample_hops(Dtln.HOP).astype(np.float32) / 32768
    return Job(name, Dtln.HOP * 1000 / RATE_HZ, lambda i: dtln.process(hops[i % len(hops)]))


def rnnoise_job(library: Path) -> Job:
    """Return RNNoise with the weights that are compiled into the library."""
    lib = ctypes.CDLL(str(library.resolve()))
    lib.rnnoise_create.restype = ctypes.c_void_p
    lib.rnnoise_create.argtypes = [ctypes.c_void_p]
    lib.rnnoise_process_frame.restype = ctypes.c_float
    lib.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
    state = ctypes.c_void_p(lib.rnnoise_create(None))
    size = 480
    frames = np.repeat(sample_hops(size // 3), 3, axis=1).astype(np.float32)  # 48 kHz
    pointers = [frame.ctypes.data for frame in frames]
    out = np.zeros(size, np.float32)
    target = out.ctypes.data

    def process(i: int) -> object:
        # out and frames belong to this closure: RNNoise writes where `target` points.
        assert out.size == size and len(frames) == len(pointers)
        return lib.rnnoise_process_frame(state, target, pointers[i % len(pointers)])

    return Job("RNNoise", 10.0, process)


def write_random_weights(recipe_name: str, folder: Path) -> Path:
    """Write a model of a recipe's shape with random weights; return its path."""
    from edgesep.card import write_card
    from export.convert import make_card
    from export.quantize import calibrate, quantize
    from export.recipe import load_recipe
    from export.tflite import write_tflite

    recipe = load_recipe(recipe_name)
    graph, rng = recipe.graph(), np.random.default_rng(0)
    weights = {}
    for layer in graph.layers.values():
        if layer.has_weights:
            fan_in = graph.shape(layer.inputs[0])[1] if layer.kind == "conv" else 1
            taps = (layer.kernel_frames, layer.kernel_bands)
            fan = (fan_in,) if layer.kind == "conv" else ()
            shape = (*taps, *fan, layer.channels)
            gain = np.sqrt(1.5 / (taps[0] * taps[1] * fan_in))
            weights[f"{layer.name}/kernel"] = rng.normal(0, gain, shape).astype(np.float32)
            weights[f"{layer.name}/bias"] = np.zeros(layer.channels, np.float32)
    clip = rng.integers(-128, 128, (50, graph.bands, graph.channels)).astype(np.int8)
    qgraph = quantize(graph, weights, calibrate(graph, weights, [clip]), recipe.name)
    content = write_tflite(qgraph)
    path = folder / f"{recipe.name}.tflite"
    path.write_bytes(content)
    card = make_card(recipe, graph, qgraph, content, {"data": "none: random weights"})
    write_card(card, path.with_suffix(".json"))
    return path


# --- measuring -----------------------------------------------------------------------------------


def measure(jobs: list[Job], blocks: int) -> list[Row]:
    """Time interleaved blocks of all jobs."""
    times: dict[str, list[float]] = {job.name: [] for job in jobs}
    at = dict.fromkeys(times, 0)
    for _ in range(blocks):
        for job in jobs:
            count = max(round(BLOCK_S * 1000 / job.hop_ms), 1)
            first = at[job.name] + WARM_UP_HOPS
            at[job.name] = first + count
            for i in range(first - WARM_UP_HOPS, first):
                job.process(i)
            for i in range(first, first + count):
                started = time.perf_counter_ns()
                job.process(i)
                times[job.name].append((time.perf_counter_ns() - started) / 1e3)
    best = {name: float(np.percentile(values, BEST)) for name, values in times.items()}
    factors = {job.name: best[job.name] / (job.hop_ms * 1000) for job in jobs}
    return [
        Row(
            job.name,
            job.hop_ms,
            best[job.name],
            float(np.median(times[job.name])),
            factors[job.name],
            factors[job.name] / factors[BASE] if BASE in factors else None,
        )
        for job in jobs
    ]


def check_targets(rows: list[Row]) -> bool:
    """Print each target with its figure; return whether all are met."""
    met = True
    for model, most in TARGETS.items():
        for row in rows:
            if row.name.startswith(f"edgesep {model}") and row.name.endswith("fast"):
                good = row.ratio is not None and row.ratio <= most
                met &= good
                if row.ratio is None:
                    print(f"{row.name}: not compared: give --dtln")
                    continue
                print(
                    f"{row.name}: {row.ratio:.2f} of {BASE}'s real-time factor, "
                    f"at most {most}: {'met' if good else 'MISSED'}"
                )
    return met


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtln", type=Path, metavar="DIR", help="folder with DTLN's .tflite files")
    parser.add_argument("--rnnoise", type=Path, metavar="LIB", help="librnnoise.so")
    parser.add_argument("--recipe", action="append", default=[], metavar="NAME",
                        help="also a recipe of export/recipes, with random weights")  # fmt: skip
    parser.add_argument("--blocks", type=int, default=200, help="interleaved blocks [200]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [edgesep_job(name, engine) for name in list_models() for engine in ("fast", "exact")]
        for recipe in options.recipe:
            path = write_random_weights(recipe, Path(folder))
            label = f"{path.stem} (random weights)"
            jobs += [edgesep_job(str(path), engine, label) for engine in ("fast", "exact")]
        if options.dtln:
            names = {BASE: "model_quant_{}.tflite", "DTLN, float": "model_{}.tflite"}
            for name, pattern in names.items():
                first, second = (options.dtln / pattern.format(i) for i in (1, 2))
                jobs.append(dtln_job(name, first, second))
        if options.rnnoise:
            jobs.append(rnnoise_job(options.rnnoise))
        rows = measure(jobs, options.blocks)
    machine = read_machine()
    print(
        f"{machine.cpu}, {machine.cores} cores, {machine.os}, Python {machine.python}, "
        f"{machine.runtime}; one thread, {options.blocks} interleaved blocks of "
        f"{BLOCK_S * 1000:.0f} ms of sound, {BEST}th percentile of the hops"
    )
    columns = ("system", "hop ms", "us a hop", "median us", "real-time factor", f"/ {BASE}")
    cells = [
        (row.name, f"{row.hop_ms:g}", f"{row.hop_us:.1f}", f"{row.median_us:.1f}",
         f"{row.real_time_factor:.4f}", "?" if row.ratio is None else f"{row.ratio:.2f}")
        for row in rows
    ]  # fmt: skip
    print_table(columns, cells)
    met = check_targets(rows)
    if options.json:
        document = {"machine": asdict(machine), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
