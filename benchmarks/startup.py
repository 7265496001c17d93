"""Measure how long edgesep takes to begin: `--help`, and a clip of five seconds.

    python benchmarks/startup.py [--runs 15]

Each command runs in a process of its own, several times; wall and processor time, the least and
the median. `python -c pass` is there to hold the others against. Compiled bytecode is kept in a
temporary folder, as an installed package has it. Exit status 1 when a target is missed (median of
the wall time): `edgesep --help` in 150 ms, `edgesep file` on five seconds of sound in 1 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep.machine import read_machine
from edgesep.table import print_table

TARGETS_MS = {"edgesep --help": 150.0, "edgesep file, 5 s, fast": 1000.0,
              "edgesep file, 5 s, exact": 1000.0}  # fmt: skip


def measure(command: list[str], runs: int, environment: dict[str, str]) -> np.ndarray:
    """Return wall and processor milliseconds of each run, (runs, 2), after one that warms up."""
    rows = []
    for _ in range(runs + 1):
        before, started = _children_s(), time.perf_counter()
        subprocess.run(command, env=environment, capture_output=True, check=True)
        rows.append((time.perf_counter() - started, _children_s() - before))
    return np.array(rows[1:]) * 1000


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="runs of each command [15]")
    options = parser.parse_args()
    met = True
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = np.random.default_rng(0).normal(0, 0.1, 5 * 16000)
        soundfile.write(folder / "in.wav", clip, 16000, subtype="PCM_16")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        edgesep = [sys.executable, "-m", "edgesep"]
        file = [*edgesep, "file", str(folder / "in.wav"), "-o", str(folder / "out.wav"), "--force"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
            "edgesep --help": [*edgesep, "--help"],
            "edgesep file, 5 s, fast": [*file, "--engine", "fast"],
            "edgesep file, 5 s, exact": [*file, "--engine", "exact"],
        }
        for label, command in commands.items():
            times_ms = measure(command, options.runs, environment)
            wall_ms, cpu_ms = np.median(times_ms, axis=0)
            target_ms = TARGETS_MS.get(label)
            verdict = ""
            if target_ms is not None:
                met &= wall_ms <= target_ms
                verdict = f"{target_ms:.0f} ms: {'met' if wall_ms <= target_ms else 'MISSED'}"
            least = times_ms.min(axis=0)
            rows.append((label, f"{wall_ms:.0f}", f"{least[0]:.0f}", f"{cpu_ms:.0f}",
                         f"{least[1]:.0f}", verdict))  # fmt: skip
    machine = read_machine()
    print(f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, NumPy {machine.numpy}")
    columns = ("command", "wall ms", "least", "processor ms", "least", "target")
    print_table(columns, rows)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
