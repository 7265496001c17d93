"""edgesep pipe: raw samples through real pipes."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from edgesep.audio.pipe import separate_pipe
from edgesep.cli import main
from edgesep.isolator import Isolator
from edgesep.settings import Settings
from tests.helpers import write_random_model
from tests.sound import best_shift, chirp, command, environment, noise16, said


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


def through(isolator, raw, rate_hz=16000):
    """Send bytes through the pipe command's core; return what comes out and the odd bytes."""
    (source, feed), (drain, sink) = os.pipe(), os.pipe()
    result = {}

    def read():
        with os.fdopen(drain, "rb") as file:
            result["out"] = file.read()

    def write():
        with os.fdopen(feed, "wb") as file:
            file.write(raw)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    odd = separate_pipe(isolator, rate_hz, isolator.channels, source, sink)
    os.close(sink)
    os.close(source)
    for thread in threads:
        thread.join(10)
    return result["out"], odd


@pytest.mark.parametrize("channels", [1, 2])
def test_pipe_gives_the_samples_of_file(tmp_path, model, channels):
    samples = noise16(10007, channels)
    soundfile.write(tmp_path / "in.wav", samples, 16000)
    assert main(["file", f"{tmp_path}/in.wav", "-o", f"{tmp_path}/o.wav", "--model", model]) == 0
    expected, _ = soundfile.read(tmp_path / "o.wav", dtype="int16", always_2d=True)
    out, odd = through(Isolator(model, channels=channels), samples.astype("<i2").tobytes())
    np.testing.assert_array_equal(np.frombuffer(out, "<i2").reshape(-1, channels), expected)
    assert odd == 0


@pytest.mark.parametrize("frames", [0, 1, 127, 128, 129, 256, 1000])
@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_output_is_as_long_as_the_input(model, frames, rate_hz):
    out, _ = through(Isolator(model), noise16(frames).astype("<i2").tobytes(), rate_hz)
    assert len(out) == 2 * frames


@pytest.mark.parametrize("rate_hz", [8000, 48000])
def test_other_rates_stay_aligned(model, rate_hz):
    samples = np.rint(chirp(rate_hz, 0.5, 2) * 32767).astype("<i2")
    dry = Isolator(model, Settings(wet=0.0), channels=2)
    out = np.frombuffer(through(dry, samples.tobytes(), rate_hz)[0], "<i2").reshape(-1, 2)
    assert out.shape == samples.shape
    for channel in range(2):
        assert best_shift(samples[:, channel].astype(float), out[:, channel].astype(float)) == 0


def test_an_incomplete_frame_at_the_end_is_dropped(model):
    raw = noise16(1000, 2).astype("<i2").tobytes()
    isolator = Isolator(model, channels=2)
    for extra in (1, 2, 3):
        out, odd = through(isolator, raw + b"x" * extra)
        assert (len(out), odd) == (len(raw), extra)
    run = command("pipe", "--model", model, stdin=raw + b"x")
    assert (run.returncode, len(run.stdout)) == (0, len(raw))
    assert said(run.stderr) == [
        "edgesep: warning: standard input ended inside a frame: 1 bytes dropped"
    ]


def start(model, *options, **pipes):
    arguments = [sys.executable, "-m", "edgesep", "pipe", "--model", model, *options]
    return subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), bufsize=0, **pipes,
    )  # fmt: skip


def test_every_hop_comes_out_before_the_next_goes_in(model):
    hop = noise16(128).astype("<i2").tobytes()
    delay = Isolator(model).delay_samples
    with start(model) as run:
        assert run.stdin is not None and run.stdout is not None
        run.stdin.write(hop)
        if delay < 128:
            assert len(run.stdout.read(256 - 2 * delay)) == 256 - 2 * delay
        for _ in range(10):
            run.stdin.write(hop)
            assert len(run.stdout.read(256)) == 256
        run.stdin.close()
        assert len(run.stdout.read()) == 2 * delay
    assert run.returncode == 0


def test_a_reader_that_goes_ends_it_quietly(model):
    with start(model) as run:
        assert run.stdin is not None and run.stdout is not None and run.stderr is not None
        run.stdin.write(bytes(4096))
        run.stdout.read(256)
        run.stdout.close()
        with pytest.raises(BrokenPipeError):
            for _ in range(1000):
                run.stdin.write(bytes(4096))
        assert run.wait(10) == 0
        assert said(run.stderr.read()) == []
        run.stdin = None  # broken: closing it would raise


def test_in_a_shell_between_two_programs(model):
    """As in arecord | edgesep pipe | aplay."""
    ours = f'"{sys.executable}" -m edgesep pipe --model "{model}"'
    line = f"cat /dev/zero 2>/dev/null | {ours} | head -c 64000"
    run = subprocess.run(
        ["sh", "-c", line], capture_output=True, env=environment(), timeout=30, check=False
    )
    assert (run.returncode, run.stdout, said(run.stderr)) == (0, bytes(64000), [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_behind_the_pipe(model):
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "edgesep", "pipe", "--model", model],
            input=bytes(4096), stdout=full, stderr=subprocess.PIPE, env=environment(),
            timeout=30, check=False,
        )  # fmt: skip
    assert run.returncode == 1
    (line,) = said(run.stderr)
    assert line.startswith("edgesep: error: standard output: cannot be written (No space")


def test_wrong_numbers(capsys, model):
    for options in (["--rate", "7999"], ["--rate", "x"], ["--channels", "0"]):
        assert main(["pipe", "--model", model, *options]) == 2
        (line,) = said(capsys.readouterr().err)
        assert line.startswith("edgesep: error: ")
