"""The engine "edgetpu" up to the delegate: a stand-in library that the interpreter really loads.

No Edge TPU and no libedgetpu is at hand. `edgetpu_stand_in.c` is built here and loaded through the
public interface of external delegates, by LiteRT, in the child process that tries it and in this
one. It takes over the compiler's custom operation and computes something recognisable, or refuses,
crashes and hangs as it is told to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgesep import coral
from edgesep.card import Card, read_card
from edgesep.cli import main
from edgesep.coral import device as device_module
from edgesep.coral.device import LIBRARY_VARIABLE, list_devices, try_delegate
from edgesep.coral.record import Record, find_compiled, record_path, record_text
from edgesep.engine import edgetpu, engine_problem, open_engine
from edgesep.engine.graph import read_graph
from edgesep.engine.runtime import load_delegate, make_interpreter
from edgesep.errors import EngineError, SettingsError
from edgesep.settings import Settings
from tests.helpers import BANDS, write_random_model
from tests.test_coral import make_compiler
from tests.tflite_files import compiled_twin

COMPILER = shutil.which("cc") or shutil.which("gcc")
SOURCE = Path(__file__).with_name("edgetpu_stand_in.c")

pytestmark = [
    pytest.mark.slow,  # each starts Python and the runtime in a child process
    pytest.mark.skipif(COMPILER is None, reason="no C compiler: apt install gcc"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for libedgetpu.so.1."""
    assert COMPILER is not None
    path = tmp_path_factory.mktemp("library") / "libedgetpu.so.1"
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def stand_in(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Use the stand-in, behaving as named; returns where it writes what happens to it."""
    monkeypatch.setenv(LIBRARY_VARIABLE, str(library))
    monkeypatch.setenv("EDGESEP_CORAL", str(tmp_path / "no twins"))
    edgetpu._tried.cache_clear()
    edgetpu._say_once.cache_clear()
    log = tmp_path / "log"

    def behave(how: str = "") -> Path:
        monkeypatch.setenv("STAND_IN", how)
        monkeypatch.setenv("STAND_IN_LOG", str(log))
        return log

    return behave


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A random model with a compiled twin beside it."""
    path = write_random_model(tmp_path)
    add_twin(path, compiled_twin(path.read_bytes()))
    return path


def add_twin(path: Path, content: bytes, source: str | None = None) -> Path:
    """Put a compiled twin with its record beside a model."""
    twin = path.with_name(f"{path.stem}_edgetpu.tflite")
    twin.write_bytes(content)
    source = source or hashlib.sha256(path.read_bytes()).hexdigest()
    record = Record(source, hashlib.sha256(content).hexdigest(), "16.0", 24)
    record_path(twin).write_text(record_text(record))
    return twin


def card_of(path: Path) -> Card:
    return read_card(path.with_suffix(".json"))


def random_frames(count: int) -> NDArray[np.int8]:
    return np.random.default_rng(1).integers(-128, 128, (count, BANDS, 2)).astype(np.int8)


def steps(engine: Any, frames: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.stack([engine.step(frame) for frame in frames])


def stand_in_masks(path: Path, frames: NDArray[np.int8]) -> NDArray[np.int8]:
    """What the stand-in computes over time, from the card's states and plain lists."""
    card = card_of(path)
    graph = read_graph(path.read_bytes())
    outputs = [tensor.name for tensor in graph.outputs]
    zero = {tensor.name: tensor.zero_point for tensor in graph.inputs}
    past: dict[str, list[NDArray[np.int8]]] = {}
    for state in card.states:
        rest = np.full((state.width, state.channels), zero[state.taps_tensor], np.int8)
        past[state.name] = [rest] * state.ring_columns
    masks = []
    for frame in frames:
        total = int(frame.view(np.uint8).sum())
        for state in card.states:
            taps = past[state.name][-state.ring_columns :: state.dilation]
            total += sum(int(tap.view(np.uint8).sum()) for tap in taps)

        def made(name: str, count: int, total: int = total) -> NDArray[np.int8]:
            values = (total + np.arange(count) + 17 * outputs.index(name)) % 256
            return values.astype(np.uint8).view(np.int8)

        for state in card.states:
            shape = (state.width, state.channels)
            column = frame if state.column == "features" else None
            if column is None:
                column = made(state.column, shape[0] * shape[1]).reshape(shape)
            past[state.name].append(column)
        masks.append(made("mask", BANDS))
    return np.stack(masks)


def test_the_delegate_runs_the_compiled_model_with_its_states(stand_in, model, capfd):
    log = stand_in()
    engine = open_engine("edgetpu", model, card_of(model))
    assert engine.name == "edgetpu"
    assert "stand-in, RuntimeVersion(0)" in engine.description
    assert "ai-edge-litert" in engine.description
    frames = random_frames(40)
    expected = stand_in_masks(model, frames)
    np.testing.assert_array_equal(steps(engine, frames), expected)
    engine.reset()
    np.testing.assert_array_equal(steps(engine, frames), expected)
    del engine
    tried = ["create without options", "prepare 1", "claimed 0", "destroy a delegate"]
    assert log.read_text().splitlines() == tried + tried  # in the child, then here
    assert capfd.readouterr().err == ""


def test_a_device_that_comes_back_late_is_waited_for(stand_in, model, capfd, monkeypatch):
    monkeypatch.setattr(edgetpu, "RETRY_S", 0.01)
    log = stand_in("busy")
    assert open_engine("edgetpu", model, card_of(model)).name == "edgetpu"
    asked = [line for line in log.read_text().splitlines() if line.startswith("create")]
    assert len(asked) == 3  # by the child, in vain, and again
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("device", ["usb", "pci:1", ":0"])
def test_the_device_is_passed_on(device, stand_in, model):
    log = stand_in()
    assert open_engine(f"edgetpu:{device}", model, card_of(model)).name == f"edgetpu:{device}"
    assert log.read_text().splitlines().count(f"device {device}") == 2


def test_a_delegate_that_claims_nothing_leaves_the_graph_to_the_cpu(stand_in, library, tmp_path):
    log = stand_in()
    path = write_random_model(tmp_path)
    content = path.read_bytes()
    delegate = load_delegate(str(library), "")
    interpreter = make_interpreter(content, reference=False, delegate=delegate)
    operations = len(read_graph(content).operations)
    assert f"prepare {operations}" in log.read_text()
    assert "claimed nothing" in log.read_text()
    del interpreter, delegate
    # The same through the engine, whose "twin" is then the model itself: the bits of "fast".
    add_twin(path, content)
    frames = random_frames(20)
    engine = open_engine("edgetpu", path, card_of(path))
    assert engine.name == "edgetpu"
    fast = steps(open_engine("fast", path, card_of(path)), frames)
    np.testing.assert_array_equal(steps(engine, frames), fast)


FAILURES = {
    "crash": "crashed with SIGSEGV while opening the Edge TPU",
    "crash_in_prepare": "crashed with SIGSEGV while preparing the model",
    "crash_in_invoke": "crashed with SIGSEGV while running the model",
    "error_in_prepare": "the stand-in cannot prepare this model",
    "refuse": "the stand-in refuses while opening the Edge TPU",
    "silent": "Failed to load delegate",
    "hang": "no answer within 3 s while opening the Edge TPU",
}


@pytest.mark.parametrize("how", FAILURES)
def test_whatever_the_library_does_the_cpu_takes_over_with_one_line(
    how, stand_in, model, capfd, monkeypatch
):
    log = stand_in(how)
    monkeypatch.setattr(
        edgetpu, "try_delegate", lambda *arguments: try_delegate(*arguments, limit_s=limit_s)
    )
    limit_s = 3 if how == "hang" else 30
    card, frames = card_of(model), random_frames(5)
    engine = open_engine("edgetpu", model, card)
    err = capfd.readouterr().err
    assert err.startswith("edgesep: warning: no Edge TPU, using the CPU: ai-edge-litert ")
    assert "(stand-in, RuntimeVersion(0))" in err
    assert FAILURES[how] in err and err.count("\n") == 1
    assert engine.name == "fast"
    fast = steps(open_engine("fast", model, card), frames)
    np.testing.assert_array_equal(steps(engine, frames), fast)
    tried = log.read_text().splitlines()
    open_engine("edgetpu", model, card)
    assert log.read_text().splitlines() == tried  # neither tried
    assert capfd.readouterr().err == ""  # nor said twice


def test_an_accelerator_that_is_pulled_out_is_one_line_and_sound_goes_on(stand_in, model, capfd):
    stand_in("unplugged")
    engine = open_engine("edgetpu", model, card_of(model))
    frames = random_frames(8)
    masks = steps(engine, frames)
    np.testing.assert_array_equal(masks[:3], stand_in_masks(model, frames[:3]))
    fast = open_engine("fast", model, card_of(model))
    np.testing.assert_array_equal(masks[3:], steps(fast, frames[3:]))
    err = capfd.readouterr().err
    line = "edgesep: warning: the Edge TPU stopped, using the CPU: the stand-in was unplugged"
    assert err.startswith(line) and err.count("\n") == 1
    assert engine.description.startswith("fast: ")
    engine.reset()
    np.testing.assert_array_equal(steps(engine, frames[3:]), masks[3:])


def warning(path: Path, capfd: Any) -> str:
    assert open_engine("edgetpu", path, card_of(path)).name == "fast"
    err: str = capfd.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_twin_that_is_missing_or_of_another_model_is_not_used(stand_in, tmp_path, capfd):
    log = stand_in()
    path = write_random_model(tmp_path)
    name = f"{path.stem}_edgetpu"
    assert f"{name}.tflite: no such compiled model: run `edgesep coral" in warning(path, capfd)
    twin = add_twin(path, compiled_twin(path.read_bytes()), source="0" * 64)
    assert f"{name}.tflite: made of another version" in warning(path, capfd)
    add_twin(path, compiled_twin(path.read_bytes()))
    twin.write_bytes(twin.read_bytes() + b"\0")
    assert f"{name}.tflite: damaged" in warning(path, capfd)
    record_path(twin).write_text("[]")
    assert "the record of the compiled model is missing or damaged" in warning(path, capfd)
    record_path(twin).write_text(json.dumps({"sha256": 1}))
    edgetpu._say_once.cache_clear()
    assert "(TypeError)" in warning(path, capfd)
    record_path(twin).unlink()
    assert "(FileNotFoundError)" in warning(path, capfd)
    assert not log.exists()  # nothing of this reached the library


def test_a_twin_with_other_ends_is_not_used(stand_in, tmp_path, capfd):
    stand_in()
    path = write_random_model(tmp_path)
    (tmp_path / "other").mkdir()
    other = write_random_model(tmp_path / "other", seed=1)
    content = compiled_twin(other.read_bytes()).replace(b"taps.enc0", b"taps.encX")
    add_twin(path, content)
    assert "the card needs an input 'taps.enc0'" in warning(path, capfd)


def test_without_a_library_the_cpu_takes_over(model, capfd, monkeypatch):
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(device_module, "_system_library", lambda: None)
    edgetpu._say_once.cache_clear()
    assert "libedgetpu.so.1 is not installed" in warning(model, capfd)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot open shared object file"), (b"no library", "while loading the library")],
)
def test_a_file_that_is_no_library_is_one_line(content, reason, model, tmp_path, stand_in, capfd,
                                               monkeypatch):  # fmt: skip
    path = tmp_path / "libwrong.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(LIBRARY_VARIABLE, str(path))
    assert reason in warning(model, capfd)


def test_a_library_that_is_no_delegate_is_one_line(model, tmp_path, stand_in, capfd, monkeypatch):
    source, path = tmp_path / "empty.c", tmp_path / "libempty.so"
    source.write_text("int nothing;\n")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", path, source], check=True)
    monkeypatch.setenv(LIBRARY_VARIABLE, str(path))
    assert "tflite_plugin_create_delegate" in warning(model, capfd)


# --- probing ------------------------------------------------------------------------------------


def test_probe_reports_library_versions_and_devices(stand_in, library, monkeypatch, capsys):
    stand_in("chatter")
    monkeypatch.setenv("STAND_IN_DEVICE", "/sys/bus/usb/devices/1-1")
    found = coral.probe()
    assert found.works and found.reason == ""
    assert found.library == str(library)
    assert found.version == "stand-in, RuntimeVersion(0)"
    assert found.runtime.startswith("ai-edge-litert ")
    assert found.devices == ("usb /sys/bus/usb/devices/1-1",)
    assert main(["coral", "probe"]) == 0
    assert "works: yes" in capsys.readouterr().out
    assert main(["coral", "probe", "--device", "isa"]) == 2
    log = stand_in("crash")
    assert main(["coral", "probe", "--json", "--device", "usb:0"]) == 1
    assert "device usb:0" in log.read_text()
    shown = json.loads(capsys.readouterr().out)
    assert not shown["works"] and "SIGSEGV" in shown["reason"]


def test_probe_without_a_library_opens_nothing(monkeypatch, capsys):
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(device_module, "_system_library", lambda: None)
    monkeypatch.setattr(device_module, "_run_child", None)
    found = coral.probe()
    assert (found.library, found.works) == (None, False)
    assert "libedgetpu.so.1 is not installed" in found.reason
    assert main(["coral", "probe"]) == 1
    assert "library: none" in capsys.readouterr().out


def test_devices_are_seen_without_a_library(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()
    for i, (vendor, product) in enumerate([("1a6e", "089a"), ("18d1", "9302"), ("18d1", "4ee1")]):
        folder = tmp_path / f"sys/bus/usb/devices/1-{i}"
        folder.mkdir(parents=True)
        (folder / "idVendor").write_text(f"{vendor}\n")
        (folder / "idProduct").write_text(f"{product}\n")
    (tmp_path / "sys/bus/usb/devices/1-2/idProduct").unlink()
    assert list_devices(tmp_path) == [
        f"pci {tmp_path}/dev/apex_0",
        "usb, firmware not loaded yet",
        "usb",
    ]


# --- the command line -----------------------------------------------------------------------------


def test_files_are_isolated_on_the_delegate_and_on_the_cpu(stand_in, model, tmp_path, capfd):
    noisy = tmp_path / "noisy.wav"
    rng = np.random.default_rng(0)
    soundfile.write(noisy, rng.normal(0, 3000, 16000).astype(np.int16), 16000)

    def isolate(name: str, engine: str) -> bytes:
        out = tmp_path / name
        options = ["--model", str(model), "--engine", engine, "--quiet"]
        assert main(["file", str(noisy), "-o", str(out), *options]) == 0
        return out.read_bytes()

    log = stand_in()
    accelerated = isolate("edgetpu.wav", "edgetpu:usb")
    assert "claimed 0" in log.read_text()
    fast = isolate("fast.wav", "fast")
    assert accelerated != fast  # the stand-in's masks are none that a kernel makes
    assert capfd.readouterr().err == ""
    edgetpu._tried.cache_clear()
    stand_in("crash")
    assert isolate("fallen.wav", "edgetpu") == fast
    assert capfd.readouterr().err.count("no Edge TPU, using the CPU") == 1


def edgesep(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edgesep", *arguments]
    return subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)


def test_pipes_run_on_the_delegate_and_on_the_cpu(stand_in, model):
    given = np.random.default_rng(0).normal(0, 3000, 8000).astype("<i2").tobytes()
    options = ["pipe", "--model", str(model), "--engine"]
    log = stand_in()
    accelerated, fast = (edgesep(*options, name, given=given) for name in ("edgetpu", "fast"))
    assert "claimed 0" in log.read_text()
    assert len(accelerated.stdout) == len(given) and accelerated.stdout != fast.stdout
    assert accelerated.stderr == b""
    stand_in("crash")
    fallen = edgesep(*options, "edgetpu", given=given)
    assert (fallen.returncode, fallen.stdout) == (0, fast.stdout)
    assert b"no Edge TPU, using the CPU" in fallen.stderr and fallen.stderr.count(b"\n") == 1


def test_live_sound_takes_the_engine(stand_in, model):
    pytest.importorskip("pyaudio", reason="no pyaudio: pip install '.[audio]'")
    stand_in()
    keys = {"name": model, "engine": "edgetpu:usb", "input.device": "no such"}
    keys["overload.step_down"] = "off"
    options = [text for key, value in keys.items() for text in ("--set", f"{key}={value}")]
    done = edgesep("run", *options, "--socket", "off", "--seconds", "1")
    # It waits for a microphone that is not there, with the model opened.
    assert b"edgetpu:usb: ai-edge-litert" in done.stderr
    assert b"no such" in done.stderr


def test_what_was_compiled_runs_without_more_words(stand_in, tmp_path, monkeypatch, capfd):
    log = stand_in()
    path = write_random_model(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "twin").write_bytes(compiled_twin(path.read_bytes()))
    make_compiler(programs, "maps", tmp_path / "twin")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("EDGESEP_CORAL", str(tmp_path / "coral"))
    assert main(["coral", "compile", str(path)]) == 0
    assert open_engine("edgetpu", path, card_of(path)).name == "edgetpu"
    assert "claimed 0" in log.read_text()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["edgetpu", "edgetpu:usb", "edgetpu:pci:1", "edgetpu::0"])
def test_names_of_the_engine(name):
    assert engine_problem(name) is None
    assert Settings(engine=name).engine == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("edgetpu:", "unknown device ''"),
        ("edgetpu:isa", "unknown device 'isa' of engine edgetpu: give usb, pci"),
        ("edgetpu:usb:x", "unknown device 'usb:x'"),
        ("edgetpv", "did you mean 'edgetpu'"),
        ("fast:usb", "unknown engine 'fast:usb'"),
    ],
)
def test_wrong_names_name_the_right_ones(name, expected):
    with pytest.raises(SettingsError, match=expected):
        Settings(engine=name)
    with pytest.raises(EngineError, match=expected):
        open_engine(name, Path("x.tflite"), None)  # type: ignore[arg-type]


def test_a_twin_is_looked_for_in_the_folder_of_compiled_ones(stand_in, model, monkeypatch):
    stand_in()
    folder = model.parent / "coral"
    folder.mkdir()
    for suffix in (".tflite", ".json"):
        (model.parent / f"{model.stem}_edgetpu{suffix}").rename(
            folder / f"{model.stem}_edgetpu{suffix}"
        )
    monkeypatch.setenv("EDGESEP_CORAL", str(folder))
    assert find_compiled(model).parent == folder
    assert open_engine("edgetpu", model, card_of(model)).name == "edgetpu"
