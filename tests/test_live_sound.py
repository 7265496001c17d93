"""The sound of `edgesep run` on a real sound system: isolation, clicks, overload.

Scored in the recording of what the loudspeaker plays. `make live` does the same for minutes.
"""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesep.audio.control import ask
from edgesep.audio.live import LiveLoop
from edgesep.config import Config, parse_assignments
from edgesep.isolator import Isolator
from edgesep.models import DEFAULT_MODEL, list_models
from tests.live_jobs import RATE_HZ, Run, babble, measure_isolation, read_raw
from tests.paced_sink import PacedSink
from tests.soundserver import missing_sound_system

TONE_HZ, TONE_LEVEL = 400, 8000
SWITCHES, RELOADS = 1000, 100
HOLE_MS = 2.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_sound_system()), reason=missing_sound_system()),
]


def skip_if_starved(figures: dict) -> None:
    """Skip where sound was lost on its way through the sound system, or did not come in time."""
    if figures["underflows"] or figures["overflows"] or figures["starvations"]:
        names = ("underflows", "overflows", "starvations", "dropped_hops", "hop_p99_ms")
        shown = {name: figures[name] for name in names}
        pytest.skip(f"the machine is too busy for sound: {shown}")


@pytest.mark.parametrize(("rate_hz", "channel"), [(48000, "mix"), (44100, "link")])
@pytest.mark.skipif(DEFAULT_MODEL not in list_models(), reason="the default model is not there")
def test_live_sound_is_isolated_as_a_file_is(server, tmp_path, rate_hz, channel):
    figures = measure_isolation(
        server, tmp_path, DEFAULT_MODEL, 8, rate_hz, channel, block_ms=16, headroom_ms=20
    )
    print(figures)
    assert figures["file_db"] > figures["in_db"] + 1
    assert figures["memory_mb"] < 120
    skip_if_starved(figures)
    if figures["delay_jump_ms"] > HOLE_MS:  # the player's or the server's: we have lost nothing
        pytest.skip(
            f"the machine is too busy for sound: a jump of {figures['delay_jump_ms']:.1f} ms"
        )
    assert abs(figures["gap_db"]) < 0.5
    assert abs(figures["live_db"] - figures["file_db"]) < 0.5
    assert figures["dropped_hops"] == figures["passed_hops"] == 0


def test_a_loudspeaker_with_another_clock_is_followed(server, start, tmp_path):
    """1,500 ppm would empty what waits for the output within 15 s."""
    with PacedSink(server, tmp_path, 1500):
        run = start("--set", "wet=0", "--metrics", str(tmp_path / "metrics"))
        player = server.play(babble(60))
        run.wait_until(lambda state: state["playing"], 15.0)
        time.sleep(20.0)
        figures, _ = run.end()
        player.terminate()
    lines = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    stretch_ppm = float(np.mean([line["stretch_ppm"] for line in lines[-10:]]))
    print(
        f"stretched by {stretch_ppm:.0f} ppm, drift so far {figures['drift_ppm']:.0f} ppm", figures
    )
    assert figures["drift_ppm"] > 20
    assert 300 < stretch_ppm < 4000
    skip_if_starved(figures)
    assert figures["dropped_hops"] == 0


def tone(seconds: float) -> NDArray[np.int16]:
    moments = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.rint(TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * moments)).astype(np.int16)


def switch(run: Run, count: int) -> None:
    """Change this and that through the control socket, as fast as it answers."""
    rng = np.random.default_rng(0)
    for index in range(count):
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
        wait_for("overload", 20)
        time.sleep(2.0)
        down = loop.counters()
        slow_until = time.monotonic()
        wait_for("caught up", 40)
    finally:
        loop.stop()
        player.terminate()
    print(said, loop.counters())
    assert [line.partition(":")[0] for line in said if "listening" not in line] == [
        "overload", "caught up",
    ]  # fmt: skip
    assert down.smaller_hops > 100


def test_a_thousand_switches_and_a_hundred_reloads_make_no_click(server, start, tmp_path):
    """A tone goes through all the while. It moves by 419 a sample; a click would by thousands."""
    path = tmp_path / "live.yaml"
    path.write_text("separation:\n  wet: 0.0\n")
    run = start(str(path))
    player = server.play(tone(120))
    run.wait_for_sound()
    time.sleep(1.0)
    before = run.ask("status")
    recording = server.record(tmp_path / "tone.raw")
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
    recording.terminate()
    recording.wait()
    after = run.ask("status")
    player.terminate()
    run.end()
    heard = read_raw(tmp_path / "tone.raw")[:, 0]
    jump = float(np.abs(np.diff(heard)).max())
    print(f"{SWITCHES} switches in {switched_s:.1f} s, {RELOADS} reloads in "
          f"{took_s - switched_s:.1f} s, largest jump {jump:.0f}")  # fmt: skip
    assert len(heard) > 0.5 * took_s * RATE_HZ and np.abs(heard).max() > TONE_LEVEL / 2
    assert (after["reloads"], after["restarts"]) == (RELOADS, 0)
    skip_if_starved({**after, **{name: after[name] - before[name] for name in
                                 ("underflows", "overflows")}})  # fmt: skip
    slope = 2 * np.pi * TONE_HZ * TONE_LEVEL / RATE_HZ
    crossfade = 2 * TONE_LEVEL / (0.008 * RATE_HZ)  # from one side to the other within a hop
    assert jump < slope + 2 * crossfade + 100
