"""Measure memory and speed of `edgesep file` on a long recording.

    python benchmarks/long_file.py --hours 3 --model MODEL
    python benchmarks/long_file.py --minutes 3 --model MODEL --rate 16000 --channels 1

Makes the recording in a temporary folder (3 hours of 48 kHz stereo: 2.1 GB, and as much again
for the output), runs the command in a process of its own, and prints that process's peak memory,
the speed, and whether it stayed below the limit. Exits with 1 if it did not.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

LIMIT_MB = 250.0
# Linux counts what a process was before exec() as its memory, too: start it from a small one.
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> int:
    """Run the benchmark and return the exit status."""
    options = parse_options()
    seconds = options.hours * 3600 if options.minutes is None else options.minutes * 60
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="edgesep-long-") as name:
        source, target = Path(name, "in.wav"), Path(name, "stems" if options.stems else "out.wav")
        write_recording(source, seconds, options.rate, options.channels, options.subtype)
        peak_mb, elapsed_s = run_command(source, target, options)
        info_in = soundfile.info(source)
        info_out = soundfile.info(target / "speech.wav" if options.stems else target)
        size_mb = source.stat().st_size / 1e6
    same = abs(info_in.duration - info_out.duration) <= 1 / info_out.samplerate
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    sound = f"{seconds / 60:g} min, {options.rate} Hz, {options.channels} channels"
    rows = [
        ("machine", machine),
        ("model, engine", f"{options.model}, {options.engine}{', stems' * options.stems}"),
        ("input", f"{sound}, {options.subtype}, {size_mb:.0f} MB"),
        ("output as long", "yes" if same else "NO"),
        ("time", f"{elapsed_s:.1f} s"),
        ("speed", f"{seconds / elapsed_s:.1f} times real time"),
        ("peak memory", f"{peak_mb:.1f} MB (limit {LIMIT_MB:g} MB)"),
    ]
    for name, value in rows:
        print(f"{name:<15} {value}")
    return 0 if peak_mb < LIMIT_MB and same else 1


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--minutes", type=float, help="instead of --hours")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--subtype", default="PCM_16")
    parser.add_argument("--model", default="small-16ms")
    parser.add_argument("--engine", default="fast")
    parser.add_argument("--stems", action="store_true")
    parser.add_argument("--folder", help="where the files are made (default: that of the system)")
    return parser.parse_args()


def write_recording(path: Path, seconds: float, rate_hz: int, channels: int, subtype: str) -> None:
    """Write a recording: one minute of syllable-like bursts in noise, over and over."""
    rng = np.random.default_rng(0)
    t = np.arange(60 * rate_hz) / rate_hz
    bursts = np.clip(np.sin(2 * np.pi * 3 * t) * np.sin(2 * np.pi * 0.3 * t), 0, 1)
    voice = np.zeros_like(t)
    for k in range(1, 20):
        voice += np.sin(2 * np.pi * 140 * k * t) / k
    minute = 0.03 * rng.standard_normal((len(t), channels))
    minute += (0.1 * bursts * voice)[:, None]
    samples = np.clip(minute, -1, 1).astype(np.float32)
    frames = round(seconds * rate_hz)
    with soundfile.SoundFile(path, "w", rate_hz, channels, subtype) as file:
        while frames > 0:
            file.write(samples[:frames])
            frames -= len(samples)


def run_command(source: Path, target: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Run the command; return the peak resident memory of its process in MB and its seconds."""
    arguments = [sys.executable, "-m", "edgesep", "file", str(source), "-o", str(target)]
    arguments += ["--model", options.model, "--engine", options.engine]
    arguments += ["--stems"] * options.stems
    root = Path(__file__).parents[1]
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    elapsed_s = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB on Linux
    return int(run.stdout) * unit / 1e6, elapsed_s


if __name__ == "__main__":
    sys.exit(main())
