"""The sound of `edgesep run` on a real sound system: isolation, clicks, overload.

Scored in the recording of what the loudspeaker plays. `make live` does the same for minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesep.audio.control import ask
from edgesep.audio.live import LiveLoop
from edgesep.audio.priority import promote
from edgesep.config import Config, parse_assignments
from edgesep.isolator import Isolator
from edgesep.models import DEFAULT_MODEL, list_models
from tests.live_jobs import RATE_HZ, Run, babble, measure_isolation
from tests.paced_sink import PacedSink
from tests.soundserver import SoundServer, missing_sound_system
from tests.tone_evidence import Kept, examine, jumps_above, read_recorded
from tests.witness import LOSSES, LOST_BY_US, Witness

TONE_LEVEL = 8000
TONE_HZ = RATE_HZ / (120 + 0.6180339887)  # golden: no two stretches of it are alike
TONE_SLOPE = 2 * np.pi * TONE_HZ * TONE_LEVEL / RATE_HZ  # at the most, from sample to sample
JUDGED_LEAST = 0.5  # of the sound, for a verdict
SWITCH_EVERY_S = 0.003
SWITCHES, RELOADS = 1000, 100
HOLE_MS = 2.0
NICENESS = 5  # a third of what a burner gets
COST_S = 0.003  # of a model, for a hop of 8 ms

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_sound_system()), reason=missing_sound_system()),
]


@pytest.mark.parametrize(
    ("rate_hz", "channel", "block_ms"), [(48000, "mix", 8), (48000, "mix", 16), (44100, "link", 16)]
)
@pytest.mark.skipif(DEFAULT_MODEL not in list_models(), reason="the default model is not there")
def test_live_sound_is_isolated_as_a_file_is(server, tmp_path, rate_hz, channel, block_ms):
    with Witness() as witness:
        figures = measure_isolation(
            server, tmp_path, DEFAULT_MODEL, 8, rate_hz, channel, block_ms=block_ms,
            headroom_ms=1.25 * block_ms,
        )  # fmt: skip
    print(figures)
    assert figures["file_db"] > figures["in_db"] + 1
    assert figures["memory_mb"] < 120
    holes = {
        **figures,
        "holes": figures["delay_jump_ms"] > HOLE_MS,
    }  # the player's, or the server's
    witness.nothing_lost(holes, *LOST_BY_US, "holes")
    assert abs(figures["gap_db"]) < 0.5
    gap_db = figures["live_db"] - figures["file_db"]
    witness.expect(abs(gap_db) < 0.5, f"{gap_db:.2f} dB between live and file")


def test_a_loudspeaker_with_another_clock_is_followed(server, start, tmp_path):
    """1,500 ppm would empty what waits for the output within 15 s."""
    with Witness() as witness, PacedSink(server, tmp_path, 1500) as sink:
        run = start("--set", "wet=0", "--metrics", str(tmp_path / "metrics"))
        player = server.play(babble(60))
        run.wait_until(lambda state: state["playing"])
        time.sleep(20.0)
        figures, _ = run.end()
        player.terminate()
    lines = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    stretch_ppm = float(np.mean([line["stretch_ppm"] for line in lines[-10:]]))
    print(
        f"stretched by {stretch_ppm:.0f} ppm, drift so far {figures['drift_ppm']:.0f} ppm", figures
    )
    witness.worst_ms = max(witness.worst_ms, sink.worst_ms)
    witness.nothing_lost(figures, *LOST_BY_US)
    witness.expect(figures["drift_ppm"] > 20, "the clocks were not found to differ")
    witness.expect(300 < stretch_ppm < 4000, f"stretched by {stretch_ppm:.0f} ppm")


def tone(seconds: float) -> NDArray[np.int16]:
    moments = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.rint(TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * moments)).astype(np.int16)


def switch(run: Run, count: int) -> None:
    """Change this and that through the control socket, some times a block."""
    rng = np.random.default_rng(0)
    began = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, began + index * SWITCH_EVERY_S - time.monotonic()))
        kind = index % 5
        if kind == 0:
            ask(run.socket, {"command": "bypass", "on": bool(rng.random() < 0.5)})
        elif kind == 1:
            ask(run.socket, {"command": "mute", "on": bool(rng.random() < 0.2)})
        else:
            name, high = (("wet", 1.0), ("max_attenuation_db", 60.0), ("limiter_dbfs", 0.0))[
                kind - 2
            ]
            value = rng.uniform(0, high) if high else rng.uniform(-9, 0)
            ask(run.socket, {"command": "set", "assignment": f"{name}={value:.3f}"})


def test_a_model_that_is_too_slow_gives_way_to_a_smaller_one(server, live_model, monkeypatch):
    """The first model sleeps for 12 ms a hop of 8, for six seconds; the second has the time."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    slow_until = time.monotonic() + 1e9
    process = Isolator.process

    def slowly(isolator: Isolator, hop: NDArray[np.int16]) -> NDArray[np.int16]:
        if isolator is loop.isolators[0] and time.monotonic() < slow_until:
            time.sleep(0.012)
        return process(isolator, hop)

    monkeypatch.setattr(Isolator, "process", slowly)
    said: list[str] = []
    assignments = ["input.device=microphone", "output.device=loudspeaker", "block_ms=16",
                   "headroom_ms=20", f"model.name={live_model}", f"step_down={live_model}",
                   "input.rate_hz=48000", "output.rate_hz=48000"]  # fmt: skip
    loop = LiveLoop(Config.from_keys(parse_assignments(assignments)), said.append)
    player = server.play(tone(90))

    def wait_for(word: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not any(word in line for line in said) and time.monotonic() < deadline:
            loop.tick()
            time.sleep(0.05)

    try:
        with Witness() as witness:
            wait_for("overload", 20)
            time.sleep(2.0)
            down = replace(loop.counters())
            slow_until = time.monotonic()
            wait_for("caught up", 40)
    finally:
        loop.stop()
        player.terminate()
    print(said, loop.counters())
    steps = [line.partition(":")[0] for line in said if "listening" not in line]
    witness.expect(steps == ["overload", "caught up"], f"it said {said}")
    witness.expect(down.smaller_hops > 100, f"{down.smaller_hops} hops by the smaller model")


def test_a_thousand_switches_and_a_hundred_reloads_make_no_click(server, start, tmp_path):
    """A tone goes through all the while. It moves by 416 a sample; a click would by thousands.

    A player that is late makes a hole, which is as loud as a click: the tone before and behind the
    loop tells the two apart.
    """
    path = tmp_path / "live.yaml"
    path.write_text("separation:\n  wet: 0.0\n")
    run = start(str(path), "--record", str(tmp_path / "ring"))
    player = server.play(tone(120))
    run.wait_for_sound()
    time.sleep(1.0)
    with Witness() as witness:  # its own start takes time from the sound: count from here
        before = run.ask("status")
        recordings = record_both(server, tmp_path)
        took_s = switch_and_reload(run, path)
        played, heard = end_recordings(recordings, tmp_path)
        after = run.ask("status")
    hear_the_end(server, run, tmp_path / "end.raw")
    player.terminate()
    assert len(heard) > 0.5 * took_s * RATE_HZ and np.abs(heard).max() > TONE_LEVEL / 2
    assert (after["reloads"], after["restarts"]) == (RELOADS, 0)
    crossfade = 2 * TONE_LEVEL / (0.008 * RATE_HZ)  # from one side to the other within a hop
    evidence = examine(
        played, *read_recorded(tmp_path / "ring"), heard, TONE_HZ, TONE_SLOPE + 2 * crossfade + 100
    )
    lost = {name: after[name] - before[name] for name in LOSSES}
    print(evidence, lost, f"witness {witness.worst_ms:.1f} ms")
    assert not evidence.clicks
    assert evidence.largest_jump > TONE_SLOPE / 2, "the tone was not heard at its full strength"
    witness.nothing_lost({**lost, "holes": evidence.holes}, *LOSSES, "holes")
    witness.expect(evidence.judged.mean() > JUDGED_LEAST, f"too many holes: {evidence}")


Recordings = list[subprocess.Popen[bytes]]


def record_both(server: SoundServer, folder: Path) -> Recordings:
    """Record what the microphone hears and what the loudspeaker plays."""
    return [server.record(folder / f"{name}.raw", 2, f"{name}.monitor")
            for name in ("mic", "speaker")]  # fmt: skip


def end_recordings(recordings: Recordings, folder: Path) -> list[NDArray[np.int16]]:
    """Return both, the first channel of each, int16 (n,)."""
    for recording in recordings:
        recording.terminate()
        recording.wait()
    return [np.fromfile(folder / f"{name}.raw", "<i2")[::2] for name in ("mic", "speaker")]


def hear_the_end(server: SoundServer, run: Run, path: Path) -> None:
    """End it by SIGTERM while it plays the tone: what the loudspeaker plays fades to silence.

    A cut would be a step of up to `TONE_LEVEL`; where the loop itself runs dry, it fades in 4 ms.
    """
    run.ask("set", assignment="wet=0")
    run.ask("set", assignment="limiter_dbfs=0")
    with Witness() as witness:
        recording = server.record(path, 2, "speaker.monitor")
        time.sleep(0.5)
        _, took_s = run.end()
        time.sleep(0.5)
        recording.terminate()
        recording.wait()
    heard = np.fromfile(path, "<i2")[::2]
    silent = int(np.argmax(np.abs(heard[::-1]) > 1))
    heard, silent_s = heard[-silent - RATE_HZ // 4 :], silent / RATE_HZ
    largest = int(np.abs(np.diff(heard.astype(int))).max(initial=0))
    print(f"the end: {took_s:.2f} s, largest step {largest}, then {silent_s:.2f} s of silence")
    assert np.abs(heard).max() > TONE_LEVEL / 2
    witness.expect(silent_s > 0.05, "the tone goes on")
    most = TONE_SLOPE + TONE_LEVEL / (0.004 * RATE_HZ) + 20
    witness.expect(not len(jumps_above(heard, most)), f"a step of {largest} at the end")
    witness.expect(took_s < 1.0, f"ended after {took_s:.2f} s")


def switch_and_reload(run: Run, path: Path) -> float:
    """Change settings by the socket, then by the file; return how long that took, in s."""
    began = time.monotonic()
    switch(run, SWITCHES)
    switched_s = time.monotonic() - began
    for command in ("bypass", "mute"):
        run.ask(command, on=False)
    for index in range(RELOADS):
        path.write_text(
            f"separation:\n  wet: {index % 4 / 4}\nsafety:\n  limiter_dbfs: -{index % 9}\n"
        )
        run.process.send_signal(signal.SIGHUP)
        run.wait_until(lambda state, wanted=index + 1: state["reloads"] >= wanted)
    took_s = time.monotonic() - began
    print(f"{SWITCHES} switches in {switched_s:.1f} s, {RELOADS} reloads in "
          f"{took_s - switched_s:.1f} s")  # fmt: skip
    return took_s


def test_a_starved_worker_passes_dry_sound_without_a_gap_and_comes_back(
    server, live_model, tmp_path, monkeypatch
):
    """The worker shares a core with a program that is less nice; its model takes 3 ms.

    With wet at 0 isolated and dry sound are the same tone, so a gap, a click and a wrong delay all
    show as a step of it.
    """
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    process = Isolator.process

    def costly(isolator: Isolator, hop: NDArray[np.int16]) -> NDArray[np.int16]:
        began = time.thread_time()
        out = process(isolator, hop)
        while time.thread_time() - began < COST_S:
            pass
        return out

    monkeypatch.setattr(Isolator, "process", costly)
    said: list[str] = []
    assignments = ["input.device=microphone", "output.device=loudspeaker", "block_ms=16",
                   "headroom_ms=150", "wet=0", f"model.name={live_model}", "step_down=off",
                   "input.rate_hz=48000", "output.rate_hz=48000"]  # fmt: skip
    kept = Kept()
    loop = LiveLoop(
        Config.from_keys(parse_assignments(assignments)),
        said.append,
        kept,  # type: ignore[arg-type]
    )
    player = server.play(tone(120))
    burners: list[subprocess.Popen[bytes]] = []
    recordings: Recordings = []
    try:
        wait_for(loop, lambda: loop.session is not None and loop.session.playing, 20)
        time.sleep(1.0)
        assert loop.session is not None
        worker = loop.session._worker.native_id
        assert worker is not None
        os.sched_setscheduler(worker, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, worker, NICENESS)
        core = max(os.sched_getaffinity(0))  # the other ones stay free for the sound server
        os.sched_setaffinity(worker, {core})
        with Witness() as witness:
            calm = replace(loop.counters())
            recordings = record_both(server, tmp_path)
            burners.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            os.sched_setaffinity(burners[0].pid, {core})
            wait_for(loop, lambda: loop.counters().passed_hops - calm.passed_hops > 250, 20)
            starved = replace(loop.counters())
            for burner in burners:
                burner.kill()
            promote({worker})
            wait_for(loop, lambda: any("caught up" in line for line in said), 30)
            passed = loop.counters().passed_hops
            time.sleep(1.0)
            played, heard = end_recordings(recordings, tmp_path)
            got, gave = kept.read()  # before it fades out
            after = replace(loop.counters())
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
        for recording in recordings:
            recording.kill()
        loop.stop()
        player.terminate()
    print(said, calm, starved, after, f"witness {witness.worst_ms:.1f} ms", sep="\n")
    evidence = examine(played, got, gave, heard, TONE_HZ, 1.2 * TONE_SLOPE + 20)
    first = int(np.argmax(np.abs(gave) > TONE_LEVEL / 2)) + RATE_HZ // 2  # faded in
    size = round(4 * RATE_HZ / TONE_HZ)  # 10 ms
    count = (len(gave) - first) // size
    pieces = gave[first : first + count * size].reshape(-1, size).astype(float)
    whole = evidence.judged[first : first + count * size].reshape(-1, size).all(axis=1)
    level = np.sqrt(np.mean(pieces**2, axis=1))[whole] / (TONE_LEVEL / np.sqrt(2))
    print(evidence, f"level {level.min():.3f} to {level.max():.3f}")
    assert not evidence.clicks
    assert level.min() > 0.97 and level.max() < 1.03
    names = [name for name in LOSSES if name != "passed_hops"]
    lost = {name: getattr(after, name) - getattr(calm, name) for name in names}
    witness.nothing_lost({**lost, "holes": evidence.holes}, *names, "holes")
    witness.expect(evidence.judged.mean() > JUDGED_LEAST, f"too many holes: {evidence}")
    assert starved.passed_hops - calm.passed_hops > 250
    witness.expect(after.passed_hops - passed < 25, "the model is not back")
    assert after.restarts == 0


def wait_for(loop: LiveLoop, condition: Callable[[], bool], seconds: float) -> None:
    """Look after the loop until the condition holds, or for so long."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        loop.tick()
        time.sleep(0.05)
