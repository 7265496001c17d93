"""`edgesep run` in a process of its own between two null sinks, and what its sound is scored by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

import edgesep
from edgesep.audio.control import ask
from edgesep.errors import EdgesepError
from tests.aligned_sound import aligned
from tests.soundserver import SoundServer

START_SECONDS = 30.0  # a null sink takes two to wake up, and the machine may be busy
RATE_HZ = 48000
DEMO = Path(__file__).parents[1] / "demo"


class Run:
    """A running `edgesep run` between the two null sinks."""

    def __init__(
        self, server: SoundServer, folder: Path, model: Path, *options: str,
        without: tuple[str, ...] = (), **more: str,
    ) -> None:  # fmt: skip
        """Start it with options after the usual settings; without: some of these."""
        self.socket = folder / "control"
        self.log = folder / "run.log"
        settings = {
            "model.name": str(model), "input.device": "microphone",
            "output.device": "loudspeaker", "block_ms": "16", "headroom_ms": "20",
            "input.rate_hz": "48000", "output.rate_hz": "48000",
        }  # fmt: skip
        given = [f"{name}={value}" for name, value in settings.items() if name not in without]
        sets = [part for text in given for part in ("--set", text)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgesep", "run", *sets, "--json", "--socket",
             str(self.socket), *options],
            env={**server.environment, **more}, stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
        )  # fmt: skip

    def ask(self, command: str, **more: object) -> dict[str, Any]:
        return ask(self.socket, {"command": command, **more})

    def wait_until(self, condition: Any, seconds: float = START_SECONDS) -> float:
        """Wait until `condition` of the status holds; return how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if condition(self.ask("status")):
                    return time.monotonic() - began
            except EdgesepError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {self.log.read_text()}")

    def wait_for_sound(self, seconds: float = START_SECONDS) -> float:
        return self.wait_until(lambda state: state["playing"] and state["out_dbfs"] > -60, seconds)

    def end(self, number: int = signal.SIGTERM) -> tuple[dict[str, Any], float]:
        """Send a signal; return the final figures and how long the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        took = time.monotonic() - began
        assert self.process.returncode == 0, self.log.read_text()
        return json.loads(out), took


def babble(seconds: float, level: float = 3000) -> NDArray[np.int16]:
    """Return noise below 6 kHz in syllables, int16 (n,) at 48 kHz: its place is easy to find."""
    rng = np.random.default_rng(7)
    count = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[round(6000 * seconds) :] = 0
    spectrum[: round(150 * seconds)] = 0
    noise = np.fft.irfft(spectrum, count)
    syllables = np.interp(np.arange(count), np.arange(0, count, 4800),
                          rng.uniform(0.1, 1, len(range(0, count, 4800))))  # fmt: skip
    return np.rint(noise / noise.std() * syllables * level).astype(np.int16)


def read_raw(path: Path, channels: int = 1) -> NDArray[np.float64]:
    raw = np.fromfile(path, "<i2")
    return raw[: len(raw) // channels * channels].reshape(-1, channels).astype(float)


def match_db(wanted: NDArray, heard: NDArray) -> float:
    """Return how well `heard` holds `wanted`: what fits over what does not, in dB.

    The median over some tenths of a second, each with its own delay, gain and stretch (within
    0.5 %, as the loop follows clocks and gets rid of excess sound).
    """
    size = 1 << (len(heard) + RATE_HZ).bit_length()
    spectrum = np.fft.rfft(heard, size)
    starts = np.linspace(0.2, 0.8, 5) * len(wanted)
    pieces = [wanted[round(at) : round(at) + RATE_HZ // 10] for at in starts]
    return float(np.median([piece_db(piece, heard, spectrum, size) for piece in pieces]))


def piece_db(piece: NDArray, heard: NDArray, spectrum: NDArray, size: int) -> float:
    scores = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)
    edge = 100
    at = int(np.argmax(scores[edge : len(heard) - len(piece) - edge])) + edge
    near = np.fft.rfft(heard[at - edge : at + len(piece) + edge])
    fine = np.fft.irfft(near, 16 * (len(piece) + 2 * edge)) * 16
    moments = np.arange(edge, len(piece) - edge) + edge
    middle = len(piece) / 2 + edge

    def fit_db(stretch: float, shift: float) -> float:
        places = (middle + (moments - middle) * stretch + shift) * 16
        moved = np.interp(places, np.arange(len(fine)), fine)
        part = piece[edge:-edge]
        gain = moved @ part / (part @ part)
        return float(-10 * np.log10(np.sum((moved / gain - part) ** 2) / np.sum(part**2)))

    best, step = (-np.inf, 1.0, 0.0), (1e-3, 1.0)
    for _ in range(5):  # coarse to fine
        _, stretch, shift = best
        best = max(
            (fit_db(stretch + i * step[0], shift + j * step[1]), stretch + i * step[0],
             shift + j * step[1]) for i in range(-5, 6) for j in range(-12, 13)
        )  # fmt: skip
        step = (step[0] / 4, step[1] / 4)
    return best[0]


# --- isolation, scored ---------------------------------------------------------------------------


def demo_pair(seconds: float) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return noisy and clean speech at 48 kHz, (n,): the demo's, as often as it takes."""
    pair = [soundfile.read(DEMO / f"{name}.flac", dtype="int16") for name in ("noisy", "clean")]
    fine = [soxr.resample(samples / 1.0, rate_hz, RATE_HZ) for samples, rate_hz in pair]
    times = max(1, round(seconds * RATE_HZ / len(fine[0])))
    noisy, clean = (np.tile(samples, times) for samples in fine)
    return np.rint(noisy).clip(-32768, 32767).astype(np.int16), clean


def si_sdr_db(wanted: NDArray, heard: NDArray) -> float:
    """Return the scale-invariant ratio of signal to distortion (Le Roux et al., 2019)."""
    target = wanted * (heard @ wanted) / (wanted @ wanted)
    return float(10 * np.log10(np.sum(target**2) / np.sum((heard - target) ** 2)))


def measure_isolation(
    server: SoundServer, folder: Path, model: str, seconds: float, rate_hz: int, channel: str,
    core: int | None = None, **settings: object,
) -> dict[str, Any]:  # fmt: skip
    """Play noisy speech to `edgesep run`, record and score it beside `edgesep file`'s result.

    core: the processor core that it may use; None: any.

    Returns SI-SDR in dB (in_db, file_db, live_db; gap_db: by how much it is less than the file's,
    median of whole seconds, which a hole or two do not move), cpu_percent and memory_mb of the
    process while it played, delay_jump_ms (above one or two: a hole), and the run's final figures.
    """
    noisy, clean = demo_pair(seconds)
    sound = np.stack((noisy, (noisy * 0.7).astype(np.int16)), axis=1)
    given = {"input.rate_hz": rate_hz, "output.rate_hz": rate_hz, "input.channel": channel,
             "block_ms": 8, "headroom_ms": 10, **settings}  # fmt: skip
    run = Run(server, folder, Path(model), *(
        part for name, value in given.items() for part in ("--set", f"{name}={value}")
    ))  # fmt: skip
    if core is not None:
        os.sched_setaffinity(run.process.pid, {core})
    recording = server.record(folder / "isolated.raw", 2)
    microphone = server.open_microphone()
    try:
        run.wait_until(lambda state: state["playing"])
        time.sleep(1.0)
        microphone.say(sound)
        time.sleep(1.0)
        before, began = cpu_s(run.process.pid), time.monotonic()
        time.sleep(max(1.0, len(noisy) / RATE_HZ - 2.0))
        share = (cpu_s(run.process.pid) - before) / (time.monotonic() - began)
        memory_mb = resident_mb(run.process.pid)
        microphone.wait(20)
        time.sleep(0.8)
        figures, _ = run.end()
    finally:
        microphone.close()
        recording.terminate()
        recording.wait()
        if run.process.poll() is None:
            run.process.kill()
    heard = read_raw(folder / "isolated.raw", 2)[:, 0]
    offline = edgesep.isolate(noisy, RATE_HZ, model=model).astype(float)
    moved, delays = aligned(offline, heard)
    keep = slice(RATE_HZ // 4, -RATE_HZ // 4)
    return {
        **figures,
        "gap_db": float(
            np.median(
                [
                    si_sdr_db(clean[at], offline[at]) - si_sdr_db(clean[at], moved[at])
                    for at in (
                        slice(k, k + RATE_HZ) for k in range(0, len(clean) - RATE_HZ, RATE_HZ)
                    )
                    if np.any(clean[at])
                ]
            )
        ),
        "in_db": si_sdr_db(clean[keep], noisy[keep].astype(float)),
        "file_db": si_sdr_db(clean[keep], offline[keep]),
        "live_db": si_sdr_db(clean[keep], moved[keep]),
        "alike_db": si_sdr_db(offline[keep], moved[keep]),
        "delay_jump_ms": float(np.abs(np.diff(delays)).max()) / RATE_HZ * 1000,
        "cpu_percent": 100 * share,
        "memory_mb": memory_mb,
    }


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far, all threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB, 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
