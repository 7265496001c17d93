"""Measure `edgesep run` on PulseAudio's null sinks: isolation, losses, load, memory, latency.

    python benchmarks/live.py [--model NAME] [--seconds N] [--drift N] [--block MS] [--core N]

Prints one table of what is heard at 44.1 and 48 kHz, mono and stereo, one of the load with blocks
of 8, 16 and 32 ms beside what PortAudio and PulseAudio's client take for doing nothing, the latency
by chirps, and what becomes of two clocks that differ. Ends with status 1 when a target is missed,
and says which, or after twenty-five minutes. Wants a machine with nothing else to do; its cores are
kept awake (`tests/awake.py`), and the load is measured without that, too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgesep.models import DEFAULT_MODEL, find_model
from tests.live_jobs import Run, babble, measure_isolation
from tests.paced_sink import PacedSink
from tests.soundserver import SoundServer, missing_sound_system

LOAD_SECONDS = 20.0
FLOOR_SETTLE_S, FLOOR_S = 4.0, 10.0
DRIFT_SECONDS = 60.0
LIMIT_S = 1500
BLOCKS_MS = (8, 16, 32)
LOAD_BLOCK_MS = 32  # what docs/live.md advises where the load matters
KINDS = [(48000, "mix"), (48000, "link"), (44100, "mix"), (44100, "link")]
GAP_DB, LOAD_PERCENT, P99_SHARE, MEMORY_MB, LATENCY_MS = 0.5, 6.0, 0.25, 120.0, 45.0
LOSSES = ("dropped_hops", "passed_hops", "starvations", "underflows", "overflows", "late_requests")


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--seconds", type=float, default=180.0, help="of each sound (180)")
    parser.add_argument("--drift", type=float, default=DRIFT_SECONDS,
                        help=f"seconds of each pair of clocks ({DRIFT_SECONDS:g})")  # fmt: skip
    parser.add_argument("--block", type=int, default=16, help="of the sounds, in ms (16)")
    parser.add_argument("--core", type=int, help="run on this processor core alone")
    parser.add_argument("--floor", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        return print_floor(options.floor)
    reason = missing_sound_system()
    if reason:
        print(f"no sound system to run on: {reason}", file=sys.stderr)
        return 1
    end_after(LIMIT_S)
    missed = [
        *sound_table(options.model, options.seconds, options.block, options.core),
        *load_table(options.model, options.core),
        *latency_lines(options.model),
        *drift_lines(options.model, options.drift),
    ]
    print("\n" + ("\n".join(f"missed: {line}" for line in missed) or "all targets are met"))
    return 1 if missed else 0


def end_after(seconds: int) -> None:
    """End this process, and all that it has started, if it still runs then, or on SIGTERM."""

    def stop(signum: int, _: object) -> None:
        for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        late = signum == signal.SIGALRM
        print(f"stopped: it took longer than {seconds / 60:g} minutes" if late else "stopped",
              file=sys.stderr)  # fmt: skip
        os._exit(1)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.alarm(seconds)


@contextmanager
def sound_server(awake: bool = True) -> Iterator[tuple[SoundServer, Path]]:
    """Run a server of our own meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        server = SoundServer(Path(folder), awake)
        server.start()
        try:
            yield server, Path(folder)
        finally:
            server.kill()


def sound_table(model: str, seconds: float, block_ms: int, core: int | None) -> Iterator[str]:
    """Print what is heard; yield what misses a target."""
    print(f"{model}, {seconds:g} s each, blocks of {block_ms} ms; SI-SDR in dB; losses: "
          + ", ".join(name.removesuffix("_hops") for name in LOSSES))  # fmt: skip
    print("| rate, Hz | channels | noisy | file | live | losses | CPU, % | hop p50, p99, ms "
          "| memory, MB | latency, ms |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    hop_ms = find_model(model)[1].contract.hop_samples / 16
    for rate_hz, channel in KINDS:
        with sound_server() as (server, folder):
            row = measure_isolation(
                server, folder, model, seconds, rate_hz, channel, core, block_ms=block_ms,
                headroom_ms=1.25 * block_ms,
            )  # fmt: skip
        losses = "/".join(str(row[name]) for name in LOSSES)
        print(f"| {rate_hz} | {channel} | {row['in_db']:.2f} | {row['file_db']:.2f} | "
              f"{row['live_db']:.2f} | {losses} | {row['cpu_percent']:.1f} | "
              f"{row['hop_p50_ms']:.2f}, {row['hop_p99_ms']:.2f} | {row['memory_mb']:.0f} | "
              f"{row['latency_sum_ms']:.1f} |", flush=True)  # fmt: skip
        name = f"{rate_hz} Hz {channel}"
        if abs(row["live_db"] - row["file_db"]) > GAP_DB:
            yield f"{name}: {row['live_db']:.2f} dB live, {row['file_db']:.2f} dB from a file"
        if row["dropped_hops"]:
            yield f"{name}: {row['dropped_hops']} dropped hops"
        if row["hop_p99_ms"] > P99_SHARE * hop_ms:
            yield f"{name}: p99 of a hop is {row['hop_p99_ms']:.2f} ms of {hop_ms:g}"
        if row["memory_mb"] > MEMORY_MB:
            yield f"{name}: {row['memory_mb']:.0f} MB of memory"


def load_table(model: str, core: int | None) -> Iterator[str]:
    """Print the load by block size; yield what misses the target."""
    core = max(os.sched_getaffinity(0)) if core is None else core
    print(f"\nload of the whole process, {model}, fast engine, 48 kHz mono, % of core {core}, the "
          f"only one it may use; the target is for blocks of {LOAD_BLOCK_MS} ms; waking up a core "
          "of a virtual machine counts as load of what it wakes up for")  # fmt: skip
    print("| block, ms | cores | all | PortAudio and PulseAudio alone "
          "| the loop |\n|---|---|---|---|---|")  # fmt: skip
    for block_ms, awake in product(BLOCKS_MS, (True, False)):
        with sound_server(awake) as (server, folder):
            row = measure_isolation(
                server, folder, model, LOAD_SECONDS, 48000, "mix", core=core, block_ms=block_ms,
                headroom_ms=max(10, block_ms),
            )  # fmt: skip
        floor = floor_percent(block_ms, core, awake)
        whole = row["cpu_percent"]
        cores = "kept awake" if awake else "may sleep"
        print(f"| {block_ms} | {cores} | {whole:.1f} | {floor:.1f} | {whole - floor:.1f} |",
              flush=True)  # fmt: skip
        if block_ms == LOAD_BLOCK_MS and whole > LOAD_PERCENT:
            yield f"load with blocks of {block_ms} ms, cores {cores}: {whole:.1f} %"


def floor_percent(block_ms: int, core: int | None, awake: bool) -> float:
    """Return the load of callbacks that do nothing, in a process of their own."""
    with sound_server(awake) as (server, _):
        player = server.play(
            np.zeros((round((FLOOR_SETTLE_S + FLOOR_S + 10) * 48000), 2), np.int16)
        )
        command = [sys.executable, __file__, "--floor", str(block_ms)]
        process = subprocess.Popen(
            command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        out, _ = process.communicate(timeout=60)
        player.terminate()
    return float(json.loads(out))


def print_floor(block_ms: int) -> int:
    """Open both devices with callbacks that do nothing of note; print their load in percent."""
    from edgesep.audio.devices import PortAudio, find_device
    from edgesep.audio.native_io import NativeInlet, NativeOutlet
    from edgesep.audio.priority import promote, threads

    portaudio, before = PortAudio(), threads()
    devices = portaudio.devices()
    outlet, inlet = NativeOutlet(48000, 2, block_ms / 1000, 1.0), NativeInlet(48000, 2)
    for name, kind, end in (("loudspeaker", "output", outlet), ("microphone", "input", inlet)):
        device = find_device(devices, name, kind)
        portaudio.open(device, kind, 48000, 2, 48 * block_ms, end.for_portaudio)
    time.sleep(FLOOR_SETTLE_S)
    promote(threads() - before)
    spent_s, began = time.process_time(), time.monotonic()
    time.sleep(FLOOR_S)
    share = (time.process_time() - spent_s) / (time.monotonic() - began)
    print(json.dumps(100 * share), flush=True)
    os._exit(0)  # the streams go with the process


def latency_lines(model: str) -> Iterator[str]:
    """Print the latency through the loop beside the server's own; yield a missed target."""
    with sound_server() as (server, folder):
        alone_ms = chirp_ms(server, "microphone", "into_mic")
        sets = ("wet=0", "block_ms=8", "headroom_ms=10")
        run = Run(server, folder, Path(model), *(x for s in sets for x in ("--set", s)))
        run.wait_until(lambda state: state["playing"])
        time.sleep(5.0)
        through_ms = chirp_ms(server, "of_speaker", "into_mic")
        figures, _ = run.end()
    beyond_ms = through_ms - 2 * alone_ms
    print(f"\nlatency by chirps, 48 kHz, 8 ms blocks: {through_ms:.1f} ms through the loop and "
          f"PulseAudio, {alone_ms:.1f} ms through PulseAudio alone (the loop adds a way out and "
          f"back): {beyond_ms:.1f} ms beyond twice that, {through_ms - alone_ms:.1f} ms beyond "
          f"once; the loop says {figures['latency_sum_ms']:.1f} ms")  # fmt: skip
    if beyond_ms > LATENCY_MS:
        yield f"latency: {beyond_ms:.1f} ms beyond PulseAudio's own"


def drift_lines(model: str, seconds: float) -> Iterator[str]:
    """Print what becomes of two devices whose clocks differ; yield a starved output."""
    print(f"\na loudspeaker with another clock, {seconds:g} s, uncorrected "
          f"{seconds * 0.3:.0f} ms apart at the end")  # fmt: skip
    for ppm in (300, -300):
        with sound_server() as (server, folder), PacedSink(server, folder, ppm):
            run = Run(
                server, folder, Path(model), "--set", "wet=0", "--metrics", f"{folder}/metrics"
            )
            player = server.play(babble(seconds + 20))
            run.wait_until(lambda state: state["playing"], 20)
            time.sleep(seconds)
            row, _ = run.end()
            player.terminate()
            lines = [json.loads(line) for line in (folder / "metrics").read_text().splitlines()]
        buffers = [line["latency_buffers_ms"] for line in lines]
        fifth = max(1, len(buffers) // 5)
        first_ms, last_ms = np.mean(buffers[fifth : 2 * fifth]), np.mean(buffers[-fifth:])
        print(f"{ppm:+d} ppm: measured {row['drift_ppm']:+.0f}, buffers "
              f"{first_ms:.1f} then {last_ms:.1f} ms, "
              f"starvations {row['starvations']}, dropped {row['dropped_hops']}",
              flush=True)  # fmt: skip
        if row["starvations"] or row["dropped_hops"]:
            yield f"clocks {ppm:+d} ppm apart: {row['starvations']} starvations"


def chirp_ms(server: SoundServer, source: str, sink: str) -> float:
    """Return what `edgesep latency` measures from `sink` to `source`."""
    sets = (f"input.device={source}", f"output.device={sink}", "input.rate_hz=48000",
            "output.rate_hz=48000", "block_ms=8")  # fmt: skip
    done = server.ask(sys.executable, "-m", "edgesep", "latency", "--json",
                      *(part for text in sets for part in ("--set", text)))  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return float(np.median(json.loads(done.stdout)["latency_ms"]))


if __name__ == "__main__":
    sys.exit(main())
