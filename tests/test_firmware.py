"""Generated firmware: the project itself, its bytes on this machine and on emulated boards."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgesep import native
from edgesep.card import StateSpec
from edgesep.cli import main
from edgesep.engine.graph import read_graph
from edgesep.engine.plan import make_plan
from edgesep.engine.source import constant, network_source
from edgesep.firmware.budget import STACK_BYTES
from export.qgraph import QGraph
from export.tflite import write_tflite
from tests import network_jobs, odd_networks, signals
from tests.core_jobs import STRICT
from tests.firmware_jobs import BOARDS, build, figures, need, need_board_tools, project, run_wav
from tests.helpers import write_random_model
from tests.test_exact import joined
from tests.test_tflite_writer import one_layer

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
HOST_BOARD = """
#include "board.h"
void board_start_ticks(void) {}
uint32_t board_ticks(void) { return 0; }
void board_paint_stack(void) {}
uint32_t board_stack_bytes(void) { return 0; }
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Path]:
    """Return a recording of odd length, and what `edgesep file` makes of it."""
    folder = tmp_path_factory.mktemp("sounds")
    source, target = folder / "in.wav", folder / "out.wav"
    soundfile.write(source, signals.speech_like(12345, -3), 16000)
    command = ["file", str(source), "-o", str(target), "--quiet", "--engine", "exact"]
    assert main([*command, "--model", str(model), "--max-attenuation-db", "20"]) == 0
    return source, target


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["firmware", *arguments]) != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


# --- the project ---------------------------------------------------------------------------------


def test_a_project_is_the_same_from_run_to_run(model: Path, tmp_path: Path) -> None:
    first, second = (project("cortex_m4f", model, tmp_path / name) for name in "ab")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    manifest = json.loads((first / "MANIFEST.json").read_text())
    assert manifest["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert manifest["latency_ms"] == 16
    assert manifest["latency_double_buffered_ms"] == 24
    hashes = {str(f): hashlib.sha256((first / f).read_bytes()).hexdigest() for f in files}
    del hashes["MANIFEST.json"]
    assert manifest["files"] == hashes
    assert not [f for f in files if re.search(r"@[A-Z_]+@", (first / f).read_text())]


def test_bad_input_is_one_line_and_leaves_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "new")
    common = ("--model", str(model), "-o", target)
    assert "did you mean 'cortex_m4f'" in error_of(capsys, "--board", "cortex_m4", *common)
    missing = ("--model", "nosuch", "-o", target)
    assert "unknown model 'nosuch'" in error_of(capsys, "--board", "cortex_m7", *missing)
    loud = ("--board", "cortex_m7", "--wet", "2", *common)
    assert "wet" in error_of(capsys, *loud)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    full = ("--model", str(model), "-o", str(tmp_path / "full"))
    assert "not an empty folder" in error_of(capsys, "--board", "cortex_m7", *full)
    below = ("--model", str(model), "-o", str(tmp_path / "no" / "such"))
    assert "cannot write" in error_of(capsys, "--board", "cortex_m7", *below)
    inside = ("--model", str(model), "-o", str(tmp_path / "full" / "mine" / "new"))
    assert "cannot write" in error_of(capsys, "--board", "cortex_m7", *inside)
    a_file = ("--model", str(model), "-o", str(tmp_path / "full" / "mine"))
    assert "not an empty folder" in error_of(capsys, "--board", "cortex_m7", *a_file)
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "mine"]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("cut", "damaged, or not the model of its card"),
        ("foreign", "not a .tflite model"),
        ("card", "damaged, or not the model of its card"),
        ("no card", "a model NAME.tflite needs its card NAME.json beside it"),
        ("states", "dilation is 0, below 1"),
    ],
)
def test_a_wrong_model_is_one_line_and_leaves_nothing(
    damage: str, expected: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, card = model.read_bytes(), model.with_suffix(".json").read_text()
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "foreign":
        content = b"GGUF" + content[:4] + bytes(100)
    elif damage == "card":
        card = card.replace(hashlib.sha256(content).hexdigest(), "0" * 64)
    elif damage == "states":
        card = card.replace('"dilation": 3', '"dilation": 0')
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(content)
    if damage != "no card":
        (folder / "model.json").write_text(card)
    target = tmp_path / "new"
    arguments = ("--board", "cortex_m7", "--model", str(folder / "model.tflite"), "-o", str(target))
    assert expected in error_of(capsys, *arguments)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_missing_toolchain_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("make", "make")
    folder = project("cortex_m55", model, tmp_path / "project")
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "CROSS=nosuch-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "nosuch-gcc is missing: apt install gcc-arm-none-eabi" in done.stderr
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "make").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    arguments = ("--board", "cortex_m55", "--model", str(model), "-o", str(tmp_path / "new"))
    error = error_of(capsys, *arguments, "--measure")
    assert "arm-none-eabi-gcc is missing, and measuring needs it: apt install gcc-arm" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_figures_are_measured_on_request(model: Path, tmp_path: Path) -> None:
    need_board_tools()
    folder = project("cortex_m4f", model, tmp_path / "project", "--measure")
    assert not (folder / "build").exists()
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    measured, limits = manifest["measured"], manifest["at_most"]
    assert 0 < measured["text_bytes"] <= limits["code_bytes"]
    assert 0 < measured["model_bytes"] <= limits["weights_and_tables_bytes"]
    assert 0 < measured["memory_bytes"] <= limits["state_and_activations_bytes"]
    assert (measured["data_bytes"], measured["bss_bytes"]) == (0, 8)  # two pointers to the memory
    cycles = 168e6 * 0.008
    assert measured["percent_of_hop"] == round(100 * measured["instructions_per_hop"] / cycles, 1)
    assert "when this was generated, built with arm-none-eabi-gcc" in manifest["measured_how"]


# --- on this machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_project_has_the_bytes_of_the_host_under_sanitizers(
    compiler: str, model: Path, sounds: tuple[Path, Path], tmp_path: Path
) -> None:
    need(compiler, compiler)
    folder = project("cortex_m7", model, tmp_path / "project")
    (folder / "host_board.c").write_text(HOST_BOARD)
    sources = [*folder.glob("core/*.c"), *folder.glob("model/*.c"), *folder.glob("*.c")]
    includes = [f"-I{folder / name}" for name in ("core", "model", "example", ".")]
    command = [compiler, *STRICT, *SANITIZERS, *includes, *map(str, sources)]
    program = str(tmp_path / "program")
    built = subprocess.run(
        [*command, *(str(folder / "example" / name) for name in ("main_wav.c", "wav.c")),
         "-o", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in built.stderr:
        pytest.skip(f"{compiler} has no sanitizer runtime here")
    assert built.returncode == 0, built.stderr
    source, expected = sounds
    done = subprocess.run([program, source, tmp_path / "out.wav"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out.wav").read_bytes() == expected.read_bytes()
    for bad in (tmp_path / "missing.wav", Path(sys.executable), Path(__file__)):
        done = subprocess.run([program, bad, tmp_path / "o"], capture_output=True, check=False)
        assert done.returncode == 1
        assert b"not a WAV file" in done.stderr


PING_PONG_MAIN = """
#include <string.h>
#include "ping_pong.h"
#define HOP EDGESEP_HOP_SAMPLES
int main(void);
static uint64_t memory[(EDGESEP_MEMORY_BYTES + 7) / 8];
static ping_pong p;
static int16_t expected[12][HOP];
/* DMA fills half (hop & 1) with a hop; then its interrupt comes. */
static void arrive(int hop) {
    for (int k = 0; k < HOP; k++) {
        p.in[hop & 1][PING_PONG_SLOTS * k] = (int16_t)(hop * 1000 + 37 * k % 501);
    }
    ping_pong_filled(&p);
}
static int plays(int half, const int16_t *hop) {
    for (int k = 0; k < PING_PONG_HALF; k++) {
        if (p.out[half][k] != hop[k / PING_PONG_SLOTS]) {
            return 0;
        }
    }
    return 1;
}
int main(void) {
    static const int16_t silence[HOP];
    int16_t in[HOP];
    if (edgesep_init(memory, sizeof memory) != EDGESEP_OK) return 1;
    for (int hop = 0; hop < 6; hop++) {
        for (int k = 0; k < HOP; k++) in[k] = (int16_t)(hop * 1000 + 37 * k % 501);
        if (edgesep_process(in, expected[hop]) != EDGESEP_OK) return 2;
    }
    if (edgesep_init(memory, sizeof memory) != EDGESEP_OK || ping_pong_poll(&p) != 0) return 3;
    for (int hop = 0; hop < 4; hop++) { /* in time: what came in plays two hops later */
        arrive(hop);
        if (ping_pong_poll(&p) != 1 || ping_pong_poll(&p) != 0 || p.status != EDGESEP_OK) return 4;
        if (!plays(hop & 1, expected[hop])) return 5;
    }
    if (p.late != 0) return 6;
    arrive(4); /* and nobody looks */
    arrive(5); /* half 0 goes out now */
    if (p.late != 1 || !plays(0, silence)) return 7;
    if (ping_pong_poll(&p) != 1 || ping_pong_poll(&p) != 0) return 8; /* the newest only */
    arrive(6);
    return p.late == 1 && p.filled == 7 && p.done == 6 ? 0 : 9;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_double_buffers_keep_time_and_count_what_is_late_under_sanitizers(
    compiler: str, model: Path, tmp_path: Path
) -> None:
    need(compiler, compiler)
    folder = project("cortex_m7", model, tmp_path / "project")
    (folder / "host_main.c").write_text(PING_PONG_MAIN)
    sources = [*folder.glob("core/*.c"), *folder.glob("model/*.c"), *folder.glob("*.c"),
               folder / "example" / "ping_pong.c"]  # fmt: skip
    includes = [f"-I{folder / name}" for name in ("core", "model", "example", ".")]
    program = str(tmp_path / "program")
    built = subprocess.run(
        [compiler, *STRICT, *SANITIZERS, *includes, *map(str, sources), "-o", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in built.stderr:
        pytest.skip(f"{compiler} has no sanitizer runtime here")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# --- on emulated boards --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_firmware_has_the_bytes_of_the_host(
    board: str, model: Path, sounds: tuple[Path, Path], tmp_path: Path
) -> None:
    need_board_tools()
    folder = project(board, model, tmp_path / "project")
    source, expected = sounds
    build(folder, board, "firmware.elf")
    numbers = figures(run_wav(folder, source, tmp_path / "out.wav"))
    assert (tmp_path / "out.wav").read_bytes() == expected.read_bytes()
    limits = json.loads((folder / "MANIFEST.json").read_text())["at_most"]
    assert numbers["memory"] <= limits["state_and_activations_bytes"]
    assert 0 < numbers["stack"] <= STACK_BYTES
    symbols = subprocess.run(
        ["arm-none-eabi-nm", str(folder / "libedgesep.a")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    defined = set(re.findall(r"\b[TRDBV] (\w+)", symbols))
    undefined = set(re.findall(r"\bU (\w+)", symbols)) - defined
    # No heap, no stdio: nothing but these, and the compiler's own arithmetic.
    assert {name for name in undefined if not name.startswith("__aeabi_")} <= {
        "memcpy", "memmove", "memset",
    }  # fmt: skip
    check_double_buffer(folder, source, expected, tmp_path)


def check_double_buffer(folder: Path, source: Path, expected: Path, scratch: Path) -> None:
    """Run the DMA example under real interrupts: in time, and far too fast."""
    hop, delay = 128, 128
    printed = figures(run_wav(folder, source, scratch / "dma.wav", "qemu-dma"))
    sound, _ = soundfile.read(scratch / "dma.wav", dtype="int16")
    whole, _ = soundfile.read(expected, dtype="int16")
    assert printed == {"hops": len(whole) // hop, "late": 0}
    assert len(sound) == len(whole) // hop * hop
    lag = 2 * hop + delay
    np.testing.assert_array_equal(sound[lag:], whole[: len(sound) - lag])
    assert not sound[: 2 * hop].any()
    printed = figures(run_wav(folder, source, scratch / "late.wav", "qemu-dma", PERIOD="60000"))
    sound, _ = soundfile.read(scratch / "late.wav", dtype="int16")
    assert printed["hops"] // 2 < printed["late"] < printed["hops"]
    silent = (sound.reshape(-1, hop) == 0).all(axis=1)
    assert silent.sum() >= printed["late"] - 1  # the last one would have come after the end


def kernel_cases() -> list[QGraph]:
    """Graphs whose filters take every way through the kernels of the boards."""
    filters = [
        ("conv", (3, 5), (1, 2), "SAME", "relu", 1, 0.05),
        ("conv", (2, 3), (2, 1), "VALID", "none", 1, 0.0006),  # scaled up: shifts to the left
        ("conv", (1, 1), (1, 1), "VALID", "none", 1, 0.02),
        ("depthwise", (3, 3), (1, 2), "SAME", "none", 1, 0.01),
        ("depthwise", (3, 2), (1, 1), "SAME", "relu", 2, 0.01),  # four channels, not one to one
        ("depthwise", (2, 5), (2, 3), "VALID", "none", 3, 0.0006),
    ]
    graphs = [one_layer(*f, zero_point=7 * i - 20, seed=i) for i, f in enumerate(filters)]
    return [*graphs, joined(3, 5, 1), joined(2, 70, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_kernels_of_a_board_have_the_bytes_of_the_host(
    board: str, model: Path, tmp_path: Path
) -> None:
    need_board_tools()
    folder = project(board, model, tmp_path / "project")
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    rows, declarations = [], []
    for i, graph in enumerate(kernel_cases()):
        taps = graph.by_name()["taps.a"].shape
        states = [StateSpec("a", taps[1], 2, taps[2], taps[3], "features")]
        plan = make_plan(read_graph(write_tflite(graph)), states)
        host = native.CNetwork(plan)
        features = network_jobs.random_features(9, 16, seed=i)
        masks = np.stack([host.step(frame) for frame in features])
        source = network_source(plan, f"network_{i}", "A case.")
        for name, array in (("features", features), ("masks", masks)):
            source += constant(f"{name}_{i}", array, static=False)
            declarations.append(f"extern const int8_t {name}_{i}[];")
        declarations.append(f"extern const edgesep_network network_{i};")
        (folder / "model" / f"case_{i}.c").write_text(source)
        rows.append(f"{{&network_{i}, features_{i}, masks_{i}}}")
    table = "\n".join([*declarations, "const test_case cases[] = {", ",\n".join(rows), "};"])
    counts = f"const int case_count = {len(rows)}, frames = 9;\n"
    (folder / "example" / "main_wav.c").write_text(
        f'#include "board.h"\n{odd_networks.MAIN}\n{table}\n{counts}'
    )
    (folder / "edgesep.c").write_text('#include "edgesep_status.h"\n')
    build(folder, board, "firmware.elf")
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "qemu", "IN=none", "OUT=none"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"case {done.stderr}"
