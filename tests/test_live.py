"""`edgesep run` on a real sound system: PulseAudio with null sinks, PortAudio, real time.

Everything is measured in the recording of what the loudspeaker plays. `make live` measures for
minutes, with a model that is worth it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgesep.cli import main
from edgesep.errors import EdgesepError
from edgesep.isolator import Isolator
from tests.live_jobs import Run, babble, match_db, read_raw
from tests.soundserver import SoundServer, missing_sound_system
from tests.witness import LOSSES, LOST_BY_US, Witness

LONG_SECONDS = 8.0

pytestmark = pytest.mark.skipif(bool(missing_sound_system()), reason=missing_sound_system())


@pytest.mark.slow
@pytest.mark.parametrize(("rate_hz", "channel"), [(48000, "mix"), (44100, "link")])
def test_what_goes_in_comes_out_unharmed(server, start, tmp_path, rate_hz, channel):
    """With wet at 0 the loudspeaker plays what the microphone hears, at both rates."""
    source = babble(LONG_SECONDS)
    run = start(
        "--set", f"input.rate_hz={rate_hz}", "--set", f"output.rate_hz={rate_hz}",
        "--set", f"input.channel={channel}", "--set", "wet=0",
    )  # fmt: skip
    recording = server.record(tmp_path / "out.raw", 2)
    microphone = server.open_microphone()
    run.wait_until(lambda state: state["playing"])
    time.sleep(0.5)
    with Witness() as witness:
        microphone.say(np.stack((source, source), axis=1))
        microphone.wait(LONG_SECONDS + 10)
        time.sleep(0.5)
        figures, took_s = run.end()
    recording.terminate()
    recording.wait()
    heard = read_raw(tmp_path / "out.raw", 2)
    assert heard[:, 0].any()
    ratio_db = match_db(source.astype(float), heard[:, 0])
    print(f"{ratio_db:.1f} dB, end after {took_s:.2f} s", figures)
    assert np.abs(heard).max() <= 32767 * 10 ** (-1 / 20) * 1.01
    witness.expect(took_s < 1.0, f"ended after {took_s:.2f} s")
    witness.nothing_lost(figures, *LOST_BY_US, "restarts")
    witness.expect(ratio_db > 30, f"{ratio_db:.1f} dB like what went in")
    assert figures["latency_sum_ms"] < 200


@pytest.mark.slow
def test_mix_takes_every_channel(server, start, tmp_path):
    """Four tones, one on each channel of a microphone with four: all come out, equally loud."""
    server.remove_sink("mic")
    server.add_sink("mic", 4)
    server.record(Path("/dev/null"), source="mic.monitor")
    hz = np.array([400, 700, 1100, 1900])
    tones = 8000 * np.sin(2 * np.pi * hz * np.arange(48000 * 20)[:, None] / 48000)
    run = start("--set", "wet=0", "--set", "input.channels=4")
    player = server.play(np.rint(tones).astype(np.int16))
    run.wait_for_sound()
    recording = server.record(tmp_path / "mix.raw")
    time.sleep(2.5)
    recording.terminate()
    recording.wait()
    player.terminate()
    run.end()
    heard = read_raw(tmp_path / "mix.raw")[:, 0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    at = np.rint(hz * len(heard) / 48000).astype(int)
    levels = [np.sqrt(np.sum(spectrum[k - 30 : k + 31] ** 2)) for k in at]
    levels_db = 20 * np.log10(np.array(levels) / max(levels))
    print(f"levels of the four channels, dB: {levels_db.round(2)}")
    assert levels_db.min() > -1


@pytest.mark.slow
def test_it_is_controlled_while_it_runs(server, start, tmp_path):
    (tmp_path / "live.yaml").write_text("separation:\n  wet: 0.0\n")
    run = start(str(tmp_path / "live.yaml"))
    player = server.play(babble(60))
    run.wait_for_sound()
    before = run.ask("status")
    assert run.ask("set", assignment="wet=0.5") == {"done": "at once"}
    assert run.ask("status")["settings"]["separation.wet"] == 0.5
    with pytest.raises(EdgesepError, match="it must lie from 0 to 1"):
        run.ask("set", assignment="wet=2")
    with pytest.raises(EdgesepError, match="did you mean 'wet'"):
        run.ask("set", assignment="wett=1")
    run.ask("bypass", on=True)
    assert run.ask("status")["bypass"] is True
    (tmp_path / "live.yaml").write_text("separation:\n  wet: 0.25\n")
    run.process.send_signal(signal.SIGHUP)
    run.wait_until(lambda state: state["settings"]["separation.wet"] == 0.25)
    (tmp_path / "live.yaml").write_text("separation:\n  wett: 0.25\n")
    run.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    with pytest.raises(EdgesepError, match="did you mean 'wet'"):
        run.ask("reload")
    state = run.ask("status")
    assert state["settings"]["separation.wet"] == 0.25
    assert (state["reloads"], state["restarts"]) == (1, 0)
    assert state["hops"] > before["hops"]
    run.ask("mute", on=True)
    time.sleep(0.5)
    recording = server.record(tmp_path / "silence.raw")
    time.sleep(1.0)
    recording.terminate()
    recording.wait()
    assert not read_raw(tmp_path / "silence.raw").any()
    player.terminate()
    with Witness() as witness:
        _, took_s = run.end(signal.SIGINT)
    witness.expect(took_s < 1.0, f"ended after {took_s:.2f} s")
    assert "the old settings stay" in run.log.read_text()
    assert not run.socket.exists()


@pytest.mark.slow
def test_a_dead_sound_server_is_waited_for(server, start):
    run = start()
    player = server.play(babble(60))
    run.wait_for_sound()
    server.kill()
    player.wait(10)
    run.wait_until(lambda state: not state["running"])
    with Witness() as witness:
        began = time.monotonic()
        server.start()
        player = server.play(babble(60))
        run.wait_for_sound(40.0)
        took_s = time.monotonic() - began
    player.terminate()
    figures, _ = run.end()
    print(f"sound again after {took_s:.1f} s", figures)
    log = run.log.read_text()
    assert log.count("sound has stopped") == figures["restarts"] == log.count("listening to") - 1
    witness.expect(took_s < 5.0, f"sound again after {took_s:.1f} s")  # two of them the null sink's
    witness.expect(figures["restarts"] == 1, f"{figures['restarts']} restarts")


@pytest.mark.slow
def test_a_headset_is_unplugged_and_plugged_in_again(server, start):
    """Both null sinks go while the server stays. (Were one left, PulseAudio would use that.)"""
    run = start()
    player = server.play(babble(60))
    run.wait_for_sound()
    for name in ("mic", "speaker"):
        server.remove_sink(name)
    run.wait_until(lambda state: not state["running"])
    player.wait(10)
    time.sleep(1.0)
    with Witness() as witness:
        began = time.monotonic()
        for name in ("mic", "speaker"):
            server.add_sink(name)
        server.keep_awake()
        player = server.play(babble(60))
        run.wait_for_sound(40.0)
        took_s = time.monotonic() - began
    player.terminate()
    figures, _ = run.end()
    print(f"sound again after {took_s:.1f} s", figures)
    log = run.log.read_text()
    assert log.count("sound has stopped") == figures["restarts"]
    assert "waiting: " in log
    witness.expect(took_s < 5.0, f"sound again after {took_s:.1f} s")
    witness.expect(figures["restarts"] == 1, f"{figures['restarts']} restarts")


@pytest.mark.slow
def test_settings_that_name_a_missing_device_leave_the_old_one_running(server, start, tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text("audio:\n  output:\n    device: loudspeaker\n")
    run = start(str(path), without=("output.device", "block_ms"))
    player = server.play(babble(60))
    run.wait_for_sound()
    path.write_text("audio:\n  output:\n    device: nosuch\n")
    with pytest.raises(EdgesepError, match="output device 'nosuch' is not there"):
        run.ask("reload")
    assert run.ask("status")["settings"]["audio.output.device"] == "loudspeaker"
    run.wait_for_sound()
    path.write_text("audio:\n  output:\n    device: loudspeaker\n  block_ms: 10\n")
    assert run.ask("reload") == {"done": "restarted"}
    run.wait_for_sound()
    player.terminate()
    figures, _ = run.end()
    assert figures["restarts"] == 0


@pytest.mark.slow
def test_it_waits_for_a_device_or_says_that_it_is_missing(server, start, monkeypatch, capsys):
    run = start("--set", "input.device=nosuch")
    run.wait_until(lambda state: not state["running"])
    with Witness() as witness:
        took_s = run.end()[1]
    assert run.log.read_text().count("waiting: input device 'nosuch' is not there") == 1
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    arguments = ["run", "--set", f"model.name={run_model(run)}", "--set", "wait=off"]
    assert main([*arguments, "--set", "input.device=nosuch", "--socket", "off"]) == 1
    assert "input device 'nosuch' is not there; there are" in capsys.readouterr().err
    assert main(["devices"]) == 0
    listed = capsys.readouterr().out
    assert "microphone (ALSA)" in listed and "loudspeaker (ALSA)" in listed
    witness.expect(took_s < 1.0, f"ended after {took_s:.2f} s")


def run_model(run: Run) -> str:
    arguments = list(map(str, run.process.args))  # type: ignore[arg-type]
    return next(a.partition("=")[2] for a in arguments if a.startswith("model.name="))


@pytest.mark.slow
def test_a_starved_processor_passes_sound_through_and_recovers(server, start):
    run = start("--set", "realtime=off")
    player = server.play(babble(60))
    run.wait_for_sound()
    burner = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(burner) for _ in range(4 * (os.cpu_count() or 1))]
    time.sleep(4.0)
    for process in burners:
        process.kill()
        process.wait()
    hops = run.ask("status")["hops"]
    run.wait_until(lambda state: state["hops"] > hops + 125 and state["out_dbfs"] > -60, 40.0)
    player.terminate()
    run.end()


@pytest.mark.slow
def test_it_records_and_ends_by_itself(server, start, tmp_path):
    run = start("--seconds", "5", "--record", str(tmp_path / "ring"),
                "--metrics", str(tmp_path / "metrics.jsonl"), "--quiet")  # fmt: skip
    out, _ = run.process.communicate(timeout=60)
    figures = json.loads(out)
    assert 5 <= figures["seconds"] < 8
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines and lines[-1]["hops"] <= figures["hops"]
    names = sorted(path.name[:3] for path in (tmp_path / "ring").iterdir())
    assert names == ["in-", "out"]
    parts = [figures[f"latency_{part}_ms"] for part in
             ("algorithm", "resampling", "buffers", "devices")]  # fmt: skip
    assert figures["latency_sum_ms"] == pytest.approx(sum(parts), abs=0.1)
    hop_ms = Isolator(run_model(run)).hop_samples / 16
    assert figures["hop_p50_ms"] < hop_ms


def measured_ms(server: SoundServer, source: str, sink: str) -> float:
    arguments = [f"input.device={source}", f"output.device={sink}", "input.rate_hz=48000",
                 "output.rate_hz=48000", "block_ms=16"]  # fmt: skip
    sets = [part for text in arguments for part in ("--set", text)]
    done = server.ask(sys.executable, "-m", "edgesep", "latency", "--json", *sets)
    assert done.returncode == 0, done.stderr.decode()
    return float(np.median(json.loads(done.stdout)["latency_ms"]))


@pytest.mark.slow
def test_latency_is_measured_with_and_without_the_loop(server, start):
    with Witness() as witness:
        server_ms = measured_ms(server, "microphone", "into_mic")
        run = start("--set", "wet=0")
        run.wait_until(lambda state: state["hops"] > 100)
        through_ms = measured_ms(server, "of_speaker", "into_mic")
        figures, _ = run.end()
    print(f"through {through_ms:.1f} ms, the server alone {server_ms:.1f} ms twice", figures)
    assert 0 < server_ms < 1000
    witness.expect(server_ms < 200, f"the server alone takes {server_ms:.1f} ms")
    beyond = f"through {through_ms:.1f} ms, the server alone {server_ms:.1f} ms twice"
    witness.expect(through_ms > server_ms + figures["latency_algorithm_ms"], beyond)
    if not any(figures[name] for name in LOSSES):  # measuring begins and ends streams beside it
        witness.expect(through_ms - 2 * server_ms < figures["latency_sum_ms"], beyond)


@pytest.mark.slow
def test_latency_without_a_path_says_so(server):
    done = server.ask(
        sys.executable, "-m", "edgesep", "latency", "--set", "input.device=microphone",
        "--set", "output.device=loudspeaker",
    )  # fmt: skip
    assert done.returncode == 1
    assert b"no chirp of 'loudspeaker' came back" in done.stderr


@pytest.mark.slow
def test_the_recipe_of_the_virtual_microphone(server, start, tmp_path):
    """The commands of docs/live.md make a source that other programs can record."""
    text = (Path(__file__).parents[1] / "docs" / "live.md").read_text()
    commands = [line.split() for line in text.splitlines() if line.startswith("    pactl load-")]
    assert len(commands) == 2
    for command in commands:
        done = server.ask(*command)
        assert done.returncode == 0, done.stderr.decode()
    assert "PULSE_SINK=edgesep_sink edgesep run" in text
    run = start(
        "--set", "input.device=pulse", "--set", "output.device=pulse", "--set", "wet=0",
        PULSE_SINK="edgesep_sink", PULSE_SOURCE="mic.monitor",
    )  # fmt: skip
    player = server.play(babble(30))
    run.wait_for_sound()
    time.sleep(3.0)
    recording = server.record(tmp_path / "virtual.raw", source="edgesep_microphone")
    time.sleep(2.0)
    recording.terminate()
    recording.wait()
    player.terminate()
    run.end()
    assert np.abs(read_raw(tmp_path / "virtual.raw")).max() > 1000
