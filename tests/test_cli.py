"""The command line: help, version, usage errors, settings that reach the frame path."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import edgesep
from edgesep import native
from edgesep.cli import main
from tests.helpers import write_random_model
from tests.sound import command, environment, noise16, said


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, noise16(16000), 16000)
    return path


@pytest.fixture
def isolate(source, tmp_path, model):
    """Run edgesep file with options and return the output's samples."""

    def run(*options):
        target = tmp_path / "out.wav"
        arguments = ["file", str(source), "-o", str(target), "--model", model, "--force"]
        assert main([*arguments, "--quiet", *options]) == 0
        return soundfile.read(target, dtype="int16")[0].astype(int)

    return run


def error_of(arguments, capsys, status=2):
    """Run a command that must fail with one line, and return the line."""
    assert main([str(argument) for argument in arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = said(captured.err)
    assert line.startswith("edgesep: error: ")
    return line


def test_module_and_version():
    run = command("--version")
    assert (run.returncode, run.stdout.decode()) == (0, f"edgesep {edgesep.__version__}\n")


def imported_by(*arguments):
    """Run the command in a process of its own; return the modules it has at the end."""
    code = (
        "import sys; from edgesep.cli import main; status = main(sys.argv[1:]); "
        "print(*sys.modules); sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    return set(run.stdout.splitlines()[-1].split()), run.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["file", "--help"], ["bench", "--help"], ["model", "add", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    """What keeps it below 150 ms: `benchmarks/startup.py` has the times."""
    modules, out = imported_by(*arguments)
    assert out.startswith("usage: edgesep")
    heavy = (
        "numpy", "soundfile", "soxr", "yaml", "ai_edge_litert", "_cffi_backend", "rich", "json",
        "difflib", "dataclasses", "inspect", "importlib.metadata", "logging", "multiprocessing",
        "subprocess", "tempfile", "ctypes", "hashlib", "socket", "asyncio",
    )  # fmt: skip
    assert [name for name in heavy if name in modules] == []


@pytest.mark.parametrize("engine", ["fast", "exact"])
def test_a_file_imports_what_it_needs(engine, source, tmp_path, model):
    """What keeps a clip of five seconds below one second."""
    arguments = ["file", source, "-o", tmp_path / "out.wav", "--model", model, "--engine", engine]
    modules, _ = imported_by(*arguments)
    heavy = (
        "pyaudio", "rich", "scipy", "tensorflow", "matplotlib", "asyncio", "importlib.metadata",
        "multiprocessing", "edgesep.doctor", "edgesep.bench", "edgesep.firmware",
        "edgesep.model_facts", "numpy.random", "numpy.fft", "numpy.ma",
    )  # fmt: skip
    assert [name for name in heavy if name in modules] == []
    if engine == "exact" and native.available():
        assert "ai_edge_litert" not in modules


def test_help_names_every_setting_with_unit_and_default(capsys):
    assert main(["file", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "turn background down by no more than this, 0 to 100 dB (default: 40)",
        "--wet SHARE share of the isolated signal, 0 (input) to 1 (default: 1)",
        "--output WHICH speech or background (default: speech)",
        "(default: small-16ms)",
        "--jobs N files at a time (default: 1)",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "required: COMMAND"),
        (["flie", "a"], "invalid choice: 'flie'"),
        (["file", "a"], "required: -o/--out"),
        (["file", "a", "-o", "b", "--stem"], "unknown option '--stem': did you mean '--stems'?"),
        (["file", "a", "-o", "b", "--wte=1"], "did you mean '--wet'?"),
        (["file", "a", "-o", "b", "--jobs", "0"], "'0' is not a whole number of at least 1"),
        (["file", "a", "-o", "b", "--wet", "2"], "wet is 2.0: it must lie from 0 to 1"),
        (["file", "a", "-o", "b", "--output", "voice"], "unknown output 'voice'"),
        (["file", "a", "-o", "b", "--engine", "fat"], "did you mean 'fast'?"),
        (["file", "a", "-o", "b", "--set", "wett=1"], "did you mean 'wet'?"),
        (["file", "a", "-o", "b", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["file", "a", "-o", "b", "--stems", "--output", "background"], "--stems writes speech"),
        (["pipe", "a"], "unexpected argument 'a'"),
        (["pipe", "--channel", "2"], "did you mean '--channels'?"),
    ],
)
def test_wrong_usage(arguments, expected, capsys):
    assert expected in error_of(arguments, capsys)


def test_latency_that_the_model_does_not_have(source, tmp_path, model, capsys):
    arguments = ["file", source, "-o", tmp_path / "out.wav", "--model", model]
    line = error_of([*arguments, "--latency-ms", "11"], capsys)
    assert "latency_ms is 11: this model runs at" in line


def test_unknown_model_is_one_error_for_all_files(source, tmp_path, capsys):
    other = tmp_path / "more.wav"
    soundfile.write(other, noise16(100), 16000)
    arguments = ["file", source, other, "-o", tmp_path / "out", "--model", "smal"]
    assert "unknown model 'smal'" in error_of(arguments, capsys, status=1)
    assert "unknown model 'smal'" in error_of(["pipe", "--model", "smal"], capsys, status=1)


def test_settings_reach_the_frame_path(isolate, source):
    mixture = soundfile.read(source, dtype="int16")[0].astype(int)
    assert np.abs(isolate("--wet", "0") - mixture).max() <= 1
    assert np.abs(isolate("--max-attenuation-db", "0") - mixture).max() <= 1
    speech, background = isolate(), isolate("--output", "background")
    assert np.abs(speech + background - mixture).max() > 2  # 40 dB floor in speech only
    wide_open = isolate("--max-attenuation-db", "100")
    assert np.abs(wide_open + background - mixture).max() <= 2


@pytest.mark.parametrize("latency_ms", [10, 12, 16])
def test_latency_is_taken_out_whatever_it_is(isolate, source, latency_ms):
    mixture = soundfile.read(source, dtype="int16")[0].astype(int)
    out = isolate("--wet", "0", "--latency-ms", str(latency_ms))
    assert np.abs(out - mixture).max() <= 1


def test_flags_set_and_yaml_mean_the_same(isolate, tmp_path):
    path = tmp_path / "edgesep.yaml"
    path.write_text("separation:\n  wet: 0.5\n  output: background\n")
    expected = isolate("--wet", "0.5", "--output", "background")
    for options in (
        ["--set", "wet=0.5", "--set", "separation.output=background"],
        ["--config", str(path)],
        ["--config", str(path), "--set", "wet=0.1", "--wet", "0.5"],
    ):
        np.testing.assert_array_equal(isolate(*options), expected)


def test_engines_run_by_name(isolate):
    fast, exact = isolate("--engine", "fast"), isolate("--engine", "exact")
    assert fast.any() and exact.any()


def test_a_real_run_says_what_it_did(source, tmp_path, model):
    run = command("file", source, "-o", tmp_path / "out.wav", "--model", model)
    assert run.returncode == 0 and run.stdout == b""
    assert b"in.wav: 1.0 s of sound in " in run.stderr
    run = command("file", source, "-o", tmp_path / "out.wav", "--model", model)
    assert run.returncode == 1
    (line,) = said(run.stderr)
    assert line.startswith("edgesep: error: ")


def test_a_card_from_another_world(source, tmp_path, capsys):
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    (tmp_path / "m.json").write_text(json.dumps({"format": 1, "name": "m"}))
    arguments = ["file", source, "-o", tmp_path / "out.wav", "--model", tmp_path / "m.tflite"]
    assert "m.json" in error_of(arguments, capsys, status=1)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_may_have_enough(unbuffered):
    run = subprocess.Popen(
        [sys.executable, "-m", "edgesep", "config", "init"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**environment(), "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    with run:
        assert said(run.stderr.read()) == []
    assert run.returncode == 0


def test_control_c_ends_a_pipe_quietly(model):
    run = subprocess.Popen(
        [sys.executable, "-m", "edgesep", "pipe", "--model", model],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), bufsize=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's "&" ignores it
    )  # fmt: skip
    assert run.stdin is not None and run.stdout is not None and run.stderr is not None
    with run:
        run.stdin.write(bytes(4096))
        run.stdout.read(256)
        os.kill(run.pid, signal.SIGINT)
        assert run.wait(10) == 130
        assert said(run.stderr.read()) == []
