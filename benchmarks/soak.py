"""Run the live loop for minutes and say whether memory, load and latency stay where they are.

python benchmarks/soak.py [MODEL] [SECONDS]: PulseAudio with null sinks, 48 kHz, 8 ms blocks.
Prints a table and writes soak.json (a sample a second), and soak.png where matplotlib is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgesep.models import DEFAULT_MODEL
from tests.live_jobs import resident_mb
from tests.soundserver import SoundServer, missing_sound_system

SECONDS = 1200.0
PATIENCE_S = 30.0
MOST_GROWTH = {"memory_mb": 2.0, "latency_sum_ms": 5.0}
SETTINGS = ("input.device=microphone", "output.device=loudspeaker", "input.rate_hz=48000",
            "output.rate_hz=48000")  # fmt: skip


def main() -> int:
    """Run and print; return the exit status."""
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    reason = missing_sound_system()
    if reason:
        print(f"no sound system to run on: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        samples, counters = run(Path(folder), model, seconds)
    Path("soak.json").write_text(json.dumps(samples))
    missed = print_table(samples, counters)
    plot(samples)
    print(
        "\n".join(f"missed: {line}" for line in missed)
        or "memory and latency stay, nothing was dropped"
    )
    return 1 if missed else 0


def run(folder: Path, model: str, seconds: float) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Return a sample of figures a second, and the counters at the end."""
    server = SoundServer(folder)
    server.start()
    noise = np.random.default_rng(0).normal(0, 3000, (round(seconds + 10) * 48000, 1))
    player = server.play(np.clip(noise, -32768, 32767).astype(np.int16))
    sets = [part for text in (f"model.name={model}", *SETTINGS) for part in ("--set", text)]
    metrics = folder / "metrics.jsonl"
    loop = subprocess.Popen(
        [sys.executable, "-m", "edgesep", "run", *sets, "--seconds", str(seconds), "--json",
         "--quiet", "--socket", "off", "--metrics", str(metrics)],
        env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    memory: list[tuple[float, float]] = []
    deadline = time.monotonic() + seconds + PATIENCE_S
    while loop.poll() is None:
        if time.monotonic() > deadline:
            loop.kill()
            server.kill()
            raise SystemExit(f"edgesep run has not ended {PATIENCE_S:g} s after its time")
        memory.append((time.time(), resident_mb(loop.pid)))
        time.sleep(1)
    assert loop.stdout is not None
    said = loop.stdout.read()
    if loop.returncode:
        raise SystemExit(f"edgesep run ended with status {loop.returncode}")
    counters = json.loads(said)
    player.terminate()
    server.kill()
    samples = [json.loads(line) for line in metrics.read_text().splitlines()]
    times, sizes = np.array(memory).T
    for sample in samples:
        sample["memory_mb"] = float(np.interp(sample["time_s"], times, sizes))
    return samples, counters


def print_table(samples: list[dict[str, float]], counters: dict[str, int]) -> list[str]:
    """Print the first, middle and last tenth of the run beside each other; return what moved."""
    tenth = max(1, len(samples) // 10)
    places = (tenth, len(samples) // 2, len(samples) - tenth)
    moved = []
    print(f"| mean of {tenth} s | first | middle | last |\n|---|---|---|---|")
    for name in ("memory_mb", "load_percent", "hop_p99_ms", "latency_sum_ms", "drift_ppm"):
        means = [float(np.mean([s[name] for s in samples[at : at + tenth]])) for at in places]
        print(f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
        if means[-1] - means[0] > MOST_GROWTH.get(name, np.inf):
            moved.append(f"{name} has grown from {means[0]:.2f} to {means[-1]:.2f}")
    names = ("hops", "passed_hops", "dropped_hops", "starvations", "underflows", "overflows",
             "late_requests")  # fmt: skip
    if counters["dropped_hops"]:
        moved.append(f"{counters['dropped_hops']} hops were dropped")
    print(", ".join(f"{name} {counters[name]}" for name in names))
    return moved


def plot(samples: list[dict[str, float]]) -> None:
    """Write soak.png."""
    try:
        import matplotlib
    except ImportError:
        print("no soak.png: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    start = samples[0]["time_s"]
    minutes = [(sample["time_s"] - start) / 60 for sample in samples]
    figure, axes = pyplot.subplots(3, 1, sharex=True, figsize=(8, 6))
    names = (("load_percent", "load, %"), ("latency_sum_ms", "latency, ms"),
             ("memory_mb", "memory, MB"))  # fmt: skip
    for axis, (name, label) in zip(axes, names, strict=True):
        axis.plot(minutes, [sample[name] for sample in samples])
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    figure.savefig("soak.png")


if __name__ == "__main__":
    sys.exit(main())
