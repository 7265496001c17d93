"""The kernels in plain C, with DSP and with Helium: same bytes on odd networks; their cost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from edgesep.engine.graph import read_graph
from edgesep.engine.plan import CONV, DEPTHWISE, Plan, make_plan
from edgesep.engine.source import network_source
from edgesep.firmware import firmware_boards, generate, read_board
from edgesep.firmware.measure import INSTRUCTION_NS
from edgesep.settings import Settings
from export.graph import UNetShape, unet
from export.quantize import calibrate, quantize
from export.tflite import write_tflite
from tests import network_jobs, odd_networks
from tests.core_jobs import CORE, STRICT
from tests.helpers import states_of, write_random_model
from tests.network_jobs import SOURCES

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

CASES, FRAMES = 20, 5
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BOARDS = [name for name in firmware_boards() if read_board(name).npu is None]
BOARD_FLAGS = ["-ffunction-sections", "-fdata-sections", "-nostartfiles", "--specs=rdimon.specs"]

SHAPE = UNetShape(context=64)
"""The shipped kind of network, of 208,128 products a frame."""
PRODUCTS = 208_128
INSTRUCTIONS = {  # of its frame, gcc 12.2; one more in fifty fails
    "cortex_m33": 562_934,
    "cortex_m4f": 562_448,
    "cortex_m55": 177_375,
    "cortex_m7": 564_471,
}
TARGETS = {
    "cortex_m33": 600_000,
    "cortex_m4f": 600_000,
    "cortex_m55": 200_000,
    "cortex_m7": 600_000,
}

COUNT_MAIN = """
#include <stdio.h>
#include "board.h"
#include "edgesep_network.h"
extern const edgesep_network network;
static uint64_t memory[8192];
int main(void);
int main(void) {
    static int8_t features[512], mask[256];
    uint32_t seed = 1, ticks = 0;
    if (edgesep_stream_init(memory, sizeof memory, &network) != EDGESEP_OK) {
        return 1;
    }
    for (int frame = 0; frame < 16; frame++) {
        for (int32_t i = 0; i < network.features_bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            features[i] = (int8_t)(seed >> 24);
        }
        board_start_ticks();
        edgesep_stream_step((edgesep_stream *)memory, features, mask);
        ticks += board_ticks();
    }
    printf("%lu\\n", (unsigned long)ticks / 16);
    return 0;
}
"""


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {package})")


# --- on this machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(CASES))
def test_odd_networks_have_the_bytes_of_numpy_integers(seed: int) -> None:
    graph, states, plan = odd_networks.compile_odd(seed)
    features = network_jobs.random_features(FRAMES, plan.features_bytes // 2, seed)
    network = native.CNetwork(plan)
    masks = np.stack([network.step(frame) for frame in features])
    np.testing.assert_array_equal(masks, odd_networks.masks_of_integers(graph, states, features))


def test_odd_networks_are_odd() -> None:
    filters = [f for seed in range(CASES) for f in odd_networks.compile_odd(seed)[2].filters]
    assert {f.out_channels % 4 for f in filters} == {0, 1, 2, 3}
    assert {f.out_width for f in filters} >= {1, 2, 3}
    assert {f.right_only for f in filters} == {0, 1}
    assert any(f.row_bytes > 96 for f in filters)
    assert any(f.out_channels > 64 for f in filters)
    assert any(f.out_channels > f.in_channels for f in filters if not f.row_bytes)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return odd_networks.write_cases(tmp_path_factory.mktemp("cases"), CASES, FRAMES)


@pytest.mark.parametrize("form", [[], ["-DEDGESEP_EMULATE_DSP"]], ids=["plain", "dsp"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_forms_have_the_same_bytes_under_sanitizers(
    compiler: str, form: list[str], cases: list[Path], tmp_path: Path
) -> None:
    need(compiler, compiler)
    program = str(tmp_path / "program")
    command = [compiler, *STRICT, *SANITIZERS, *form, f"-I{CORE}", *map(str, (*SOURCES, *cases))]
    done = subprocess.run([*command, "-o", program], capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip(f"{compiler} has no sanitizer runtime here")
    assert done.returncode == 0, done.stderr
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- on emulated boards --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return for each board the folder of a project's example: start-up and linker script."""
    folder = tmp_path_factory.mktemp("projects")
    model = write_random_model(folder)
    for board in BOARDS:
        generate(board, str(model), Settings(), folder / board)
    return {board: folder / board / "example" for board in BOARDS}


def run_on_board(name: str, example: Path, sources: list[Path], folder: Path, level: str) -> str:
    """Build a program for a board, run it under QEMU; return what it prints."""
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    need("qemu-system-arm", "qemu-system-arm")
    board = read_board(name)
    assert board.qemu is not None
    program = str(folder / "program.elf")
    flags = [level, *board.cpu_flags.split(), "-std=c99", *BOARD_FLAGS, "-Wl,--gc-sections"]
    flags += ["-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{CORE}", f"-I{example}"]
    files = [*SOURCES, *sources, example / "startup.c"]
    command = ["arm-none-eabi-gcc", *flags, *map(str, files), f"-T{example / 'link.ld'}"]
    done = subprocess.run([*command, "-o", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    machine = ["-M", board.qemu.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    semihosting = "enable=on,target=native,arg=program"
    command = ["qemu-system-arm", *machine, "-icount", "shift=6,sleep=off"]
    command += ["-semihosting-config", semihosting, "-kernel", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: exit status {done.returncode}: {done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("board", "level"), [*((b, "-O3") for b in BOARDS), ("cortex_m4f", "-O0")])
def test_forms_have_the_same_bytes_on_boards(
    board: str, level: str, examples: dict[str, Path], cases: list[Path], tmp_path: Path
) -> None:
    run_on_board(board, examples[board], cases, tmp_path, level)


def products(plan: Plan) -> int:
    """Return the products of weights and activations of a frame."""
    total = 0
    for kind, index in plan.steps:
        if kind in (CONV, DEPTHWISE):
            f = plan.filters[index]
            fan_in = f.kernel_height * f.kernel_width * (f.in_channels if kind == CONV else 1)
            total += f.out_height * f.out_width * f.out_channels * fan_in
    return total


def usual_plan() -> Plan:
    """Return the tables of a network of SHAPE with random weights."""
    graph = unet(128, 2, SHAPE)
    rng = np.random.default_rng(0)
    weights = {}
    for layer in graph.layers.values():
        if layer.has_weights:
            fan = () if layer.kind == "depthwise" else (graph.shape(layer.inputs[0])[1],)
            shape = (layer.kernel_frames, layer.kernel_bands, *fan, layer.channels)
            kernel = rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)
            weights[f"{layer.name}/kernel"] = kernel.astype(np.float32)
            weights[f"{layer.name}/bias"] = np.zeros(layer.channels, np.float32)
    clip = rng.integers(-128, 128, (20, 128, 2)).astype(np.int8)
    qgraph = quantize(graph, weights, calibrate(graph, weights, [clip]), "usual")
    dilations = {name: layer.dilation for name, layer in graph.layers.items()}
    return make_plan(read_graph(write_tflite(qgraph)), states_of(qgraph, dilations))


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_a_frame_takes_the_instructions_of_the_table(
    board: str, examples: dict[str, Path], tmp_path: Path
) -> None:
    plan = usual_plan()
    assert products(plan) == PRODUCTS
    main, tables = tmp_path / "main.c", tmp_path / "network.c"
    main.write_text(COUNT_MAIN)
    tables.write_text(network_source(plan, "network", "The usual network."))
    printed = run_on_board(board, examples[board], [main, tables], tmp_path, "-O3")
    machine = read_board(board).qemu
    assert machine is not None
    count = int(printed) * machine.tick_ns / INSTRUCTION_NS
    print(f"{board}: {count:.0f} instructions a frame of {PRODUCTS} products")
    assert count <= TARGETS[board]
    version = subprocess.run(
        ["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True
    ).stdout
    if version.startswith("12.2"):
        assert count <= 1.02 * INSTRUCTIONS[board]
