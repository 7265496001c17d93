"""Generated firmware: the project itself, its bytes on this machine and on emulated boards."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
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
from edgesep.firmware import budget, firmware_boards, generate, read_board
from edgesep.firmware.budget import CODE_BYTES, STACK_BYTES, BudgetError
from edgesep.settings import Settings
from export.qgraph import QGraph
from export.tflite import write_tflite
from tests import network_jobs, signals
from tests.core_jobs import STRICT
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

BOARDS = [name for name in firmware_boards() if read_board(name).npu is None]  # M55 is M55


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {package})")


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


def project(board: str, model: Path, folder: Path) -> Path:
    arguments = ["firmware", "--board", board, "--model", str(model), "-o", str(folder)]
    assert main([*arguments, "--max-attenuation-db", "20"]) == 0
    return folder


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
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "mine"]


def test_a_model_that_does_not_fit_is_refused_with_figures(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(read_board("cortex_m4f"), flash_kb=32)
    monkeypatch.setattr(budget, "list_models", list)
    with pytest.raises(BudgetError, match="too much flash; no shipped model fits") as caught:
        generate(small, str(model), Settings(), tmp_path / "new")
    assert re.search(r"flash +\d+ KB +32 KB  too much", caught.value.table)
    assert not (tmp_path / "new").exists()


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


# --- on emulated boards --------------------------------------------------------------------------


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def text_bytes(folder: Path) -> int:
    """Return the bytes of code and constant tables, without the model's."""
    objects = [*folder.glob("build/core/*.o"), folder / "build" / "edgesep.o"]
    command = ["arm-none-eabi-size", "-t", *map(str, objects)]
    total = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(total.splitlines()[-1].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_firmware_has_the_bytes_of_the_host(
    board: str, model: Path, sounds: tuple[Path, Path], tmp_path: Path
) -> None:
    need("make", "make")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    need("qemu-system-arm", "qemu-system-arm")
    folder = project(board, model, tmp_path / "project")
    source, expected = sounds
    make(folder, "firmware.elf")
    printed = make(folder, "qemu", f"IN={source}", f"OUT={tmp_path / 'out.wav'}")
    assert (tmp_path / "out.wav").read_bytes() == expected.read_bytes()
    figures = {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)", printed, re.M)}
    limits = json.loads((folder / "MANIFEST.json").read_text())["at_most"]
    assert figures["memory"] <= limits["state_and_activations_bytes"]
    assert 0 < figures["stack"] <= STACK_BYTES
    assert text_bytes(folder) <= CODE_BYTES
    symbols = subprocess.run(
        ["arm-none-eabi-nm", str(folder / "libedgesep.a")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    undefined = set(re.findall(r"\bU (\w+)", symbols)) - set(re.findall(r"\b[TRDB] (\w+)", symbols))
    assert {name for name in undefined if not name.startswith("__aeabi_")} <= {
        "memcpy",
        "memmove",
        "memset",
    }


CASES_MAIN = """
#include <string.h>
#include "board.h"
#include "edgesep_network.h"
typedef struct { const edgesep_network *network; const int8_t *features, *masks; } test_case;
extern const test_case cases[];
extern const int case_count, frames;
int main(void);
static uint64_t memory[16384];
int main(void) {
    static int8_t mask[256];
    for (int i = 0; i < case_count; i++) {
        const test_case *c = &cases[i];
        const size_t features = (size_t)c->network->features_bytes;
        const size_t bytes = (size_t)c->network->mask_bytes;
        if (edgesep_stream_init(memory, sizeof memory, c->network) != EDGESEP_OK) {
            return 100 + i;
        }
        edgesep_stream *stream = (edgesep_stream *)memory;
        for (size_t t = 0; t < (size_t)frames; t++) {
            if (edgesep_stream_step(stream, c->features + t * features, mask) != EDGESEP_OK ||
                memcmp(mask, c->masks + t * bytes, bytes) != 0) {
                return 1 + i;
            }
        }
    }
    return 0;
}
"""


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
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    need("qemu-system-arm", "qemu-system-arm")
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
    (folder / "example" / "main_wav.c").write_text(f"{CASES_MAIN}\n{table}\n{counts}")
    (folder / "edgesep.c").write_text('#include "edgesep_status.h"\n')
    make(folder, "firmware.elf")
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "qemu", "IN=none", "OUT=none"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"case {done.stderr}"
