"""Compare the exact engine with TFLM + CMSIS-NN: instructions, code, memory, bytes.

    python benchmarks/tflm.py --sources DIR [--models small-16ms] [--json FILE]

DIR holds checkouts of the public repositories, by these names: tflite-micro, CMSIS-NN, flatbuffers,
gemmlowp, ruy; the last four in the versions that tflite-micro's tensorflow/lite/micro/tools/make
names. Nothing is fetched. Both engines run the same frames, half of them of something like speech,
half random, in one program on QEMU's Cortex-M4 and M55. TFLM is built as its own makefile builds a
release: -Os, its kernels and CMSIS-NN -O2 (--optimise -O3: those with -O3, as ours are).
What is counted are executed instructions, not cycles. Exit status 1 when bytes differ.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgesep.engine.exact import compile_model
from edgesep.engine.source import constant, network_source
from edgesep.firmware import generate
from edgesep.firmware.boards import Board, read_board
from edgesep.firmware.layout import read_layout
from edgesep.firmware.npu import npu_part
from edgesep.firmware.tflm import generate_tflm
from edgesep.models import find_model, list_models
from edgesep.settings import Settings
from tests.network_jobs import random_features, speech_features

HERE = Path(__file__).resolve().parent
BOARDS = ("cortex_m4f", "cortex_m55")
INSTRUCTION_NS = 64  # -icount shift=6
FRAMES = 40
NPU = "ethos-u55-128"
REPOSITORIES = ("tflite-micro", "CMSIS-NN", "flatbuffers", "gemmlowp", "ruy")

_MICRO = "tensorflow/lite/micro"
_SMALL = (  # compiled with -Os
    "tensorflow/compiler/mlir/lite/core/api/*.cc",
    "tensorflow/compiler/mlir/lite/schema/*.cc",
    "tensorflow/lite/core/api/*.cc",
    "tensorflow/lite/core/c/*.cc",
    "tensorflow/lite/kernels/*.cc",
    "tensorflow/lite/kernels/internal/*.cc",
    "tensorflow/lite/kernels/internal/reference/*.cc",
    f"{_MICRO}/*.cc",
    f"{_MICRO}/arena_allocator/*.cc",
    f"{_MICRO}/memory_planner/*.cc",
    f"{_MICRO}/tflite_bridge/*.cc",
)
_KERNELS = (
    "add_common",
    "concatenation",
    "conv_common",
    "depthwise_conv_common",
    "kernel_util",
    "logistic",
    "logistic_common",
    "micro_tensor_utils",
    "reshape",
    "reshape_common",
)
_CMSIS_KERNELS = ("add", "conv", "depthwise_conv")
_CMSIS_FOLDERS = ("BasicMathFunctions", "ConvolutionFunctions", "FullyConnectedFunctions",
                  "NNSupportFunctions", "TransposeFunctions")  # fmt: skip
_UNUSED = (  # tests, and what only development builds link
    "_test",
    "fake_micro_context",
    "hexdump",
    "micro_profiler",
    "mock_micro_graph",
    "recording_micro_allocator",
    "test_helper_custom_ops",
    "test_helpers",
)
_FLOAT = ("_f16", "_f32", "_flt")


@dataclass(frozen=True)
class Row:
    """One model on one board."""

    board: str
    model: str
    macs: int | None
    tflm_instructions: int
    exact_instructions: int
    tflm_text_bytes: int
    exact_text_bytes: int
    tflm_arena_bytes: int
    tflm_arena_stated_bytes: int
    exact_activations_bytes: int
    frames: int
    frames_that_differ: int


class Builder:
    """Compiles for one board; objects stay in a folder and are used again."""

    def __init__(self, board: Board, sources: Path, folder: Path, optimise: str) -> None:
        self._board = board
        self.sources = sources
        self._folder = folder
        self._optimise = optimise
        tflm = sources / "tflite-micro"
        self.includes = [
            f"-isystem{path}"
            for path in (
                tflm,
                sources / "flatbuffers" / "include",
                sources / "gemmlowp",
                sources / "ruy",
                sources / "CMSIS-NN",
                sources / "CMSIS-NN" / "Include",
            )
        ]

    def library(self) -> Path:
        """Build TFLM and CMSIS-NN; return an archive."""
        tflm, cmsis = (self.sources / name for name in ("tflite-micro", "CMSIS-NN"))
        jobs = [(path, "-Os") for pattern in _SMALL for path in sorted(tflm.glob(pattern))]
        kernels = tflm / _MICRO / "kernels"
        jobs += [(kernels / f"{name}.cc", self._optimise) for name in _KERNELS]
        jobs += [(kernels / "cmsis_nn" / f"{name}.cc", self._optimise) for name in _CMSIS_KERNELS]
        for name in _CMSIS_FOLDERS:
            files = sorted((cmsis / "Source" / name).glob("*.c"))
            jobs += [(f, self._optimise) for f in files if not f.stem.endswith(_FLOAT)]
        jobs = [
            (path, level)
            for path, level in jobs
            if path.exists() and not path.stem.endswith(_UNUSED)
        ]
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(lambda job: self.compile(*job), jobs))
        archive = self._folder / "libtflm.a"
        archive.unlink(missing_ok=True)
        run(["arm-none-eabi-ar", "rcsD", str(archive), *map(str, objects)])
        return archive

    def compile(
        self, source: Path, level: str, flags: Sequence[str] = (), scratch: Path | None = None
    ) -> Path:
        """Compile one file, unless its object is newer; return the object.

        scratch: where the object goes; None: it is kept, to be used again.
        """
        words = f"{level}{''.join(flag for flag in flags if flag.startswith('-D'))}"
        name = re.sub(r"[^\w.-]", "_", f"{source.name}{words}.o")
        folder = scratch or self._folder / source.relative_to(self.sources).parent
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / name
        if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
            return target
        is_c = source.suffix == ".c"
        command = [
            "arm-none-eabi-gcc" if is_c else "arm-none-eabi-g++",
            *self._board.cpu_flags.split(),
        ]
        command += [level, "-ffunction-sections", "-fdata-sections", "-DNDEBUG", "-w"]
        command += ["-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_STRIP_ERROR_STRINGS", "-DCMSIS_NN"]
        command += ["-DKERNELS_OPTIMIZED_FOR_SPEED", *self.includes, *flags]
        command += ["-std=c11"] if is_c else ["-std=c++17", "-fno-exceptions", "-fno-rtti"]
        command += [] if is_c else ["-fno-threadsafe-statics"]
        run([*command, "-c", str(source), "-o", str(target)])
        return target


def run(command: Sequence[str]) -> str:
    """Run a program; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure(board: Board, model: str, builder: Builder, library: Path, folder: Path) -> Row | None:
    """Build the three programs of a model and run the one that has both engines.

    Returns None, and says so, where two copies of the model exceed the emulated machine.
    """
    path, card = find_model(model)
    generate(board.roomy(), model, Settings(), folder / "exact")
    generate_tflm(model, Settings(), folder / "tflm")
    plan = compile_model(path, card)
    features = np.concatenate(
        [
            speech_features(card.contract, FRAMES // 2),
            random_features(FRAMES // 2, card.contract.bands),
        ]
    )
    (folder / "frames.c").write_text(
        "#include <stdint.h>\n"
        f"const int frame_count = {FRAMES}, feature_bytes = {2 * card.contract.bands};\n"
        + constant("frames", features, static=False)
    )
    (folder / "network.c").write_text(network_source(plan, "edgesep_model_network", card.name))
    core = folder / "exact" / "core"
    include = [f"-I{p}" for p in (folder / "tflm", core, folder / "exact" / "example")]

    def program(with_tflm: int, with_exact: int) -> Path:
        flags = [*include, f"-DWITH_TFLM={with_tflm}", f"-DWITH_EXACT={with_exact}"]
        sources = [(folder / "frames.c", "-O2"), (folder / "network.c", "-O3")]
        sources += [(folder / "exact" / "example" / "startup.c", "-O2")]
        sources += [(core / f"edgesep_{name}.c", "-O3") for name in ("kernels", "network")]
        if with_tflm:
            sources += [(folder / "tflm" / f, "-O2") for f in ("edgesep_tflm.cc", "model_data.c")]
        objects = [builder.compile(source, level, include, folder) for source, level in sources]
        objects.append(builder.compile(HERE / "tflm_compare.cc", "-O2", flags, folder))
        target = folder / f"program-{with_tflm}-{with_exact}.elf"
        script = roomy_script(folder / "exact" / "example" / "link.ld", board)
        link_program(board, script, objects, library, target)
        return target

    both, tflm, exact, none = (program(*which) for which in ((1, 1), (1, 0), (0, 1), (0, 0)))
    assert board.qemu is not None
    if text_bytes(both) > 1024 * board.qemu.flash_kb:
        print(f"{board.name}, {model}: twice the model exceeds the {board.qemu.flash_kb} KB of "
              f"{board.qemu.machine}; not run")  # fmt: skip
        return None
    printed = emulate(board, both)
    layout = read_layout(path.read_bytes())
    weights = text_bytes(builder.compile(folder / "network.c", "-O3", include, folder))
    scale = board.qemu.tick_ns / INSTRUCTION_NS / printed["frames"]
    return Row(
        board=board.name,
        model=card.name,
        macs=card.macs_per_frame,
        tflm_instructions=round(printed["tflm_ticks"] * scale),
        exact_instructions=round(printed["exact_ticks"] * scale),
        tflm_text_bytes=text_bytes(tflm) - text_bytes(none) - path.stat().st_size,
        exact_text_bytes=text_bytes(exact) - text_bytes(none) - weights,
        tflm_arena_bytes=printed["arena"],
        tflm_arena_stated_bytes=layout.arena_bytes(),
        exact_activations_bytes=printed["activations"],
        frames=printed["frames"],
        frames_that_differ=printed["differ"],
    )


def npu_arena(model: str, builder: Builder, library: Path, folder: Path) -> dict[str, int | str]:
    """Let TFLM on the emulated M55 take a model that Vela has compiled; return its arena.

    The NPU's driver is left out: only its headers, in ethos-u-core-driver, are wanted.
    """
    board = read_board("cortex_m55_ethos_u55")
    maker = npu_part(NPU, Settings())
    generate(board.name, model, Settings(), folder / "npu", part_makers=[maker])
    part = folder / "npu" / "npu"
    include = [f"-I{p}" for p in (part, folder / "npu" / "core", folder / "npu" / "example")]
    include.append(f"-isystem{builder.sources / 'ethos-u-core-driver' / 'include'}")
    kernel = builder.sources / "tflite-micro" / _MICRO / "kernels" / "ethos_u" / "ethosu.cc"
    sources = [HERE / "tflm_npu.cc", part / "edgesep_tflm.cc", part / "model_data.c", kernel]
    sources.append(folder / "npu" / "example" / "startup.c")
    objects = [builder.compile(source, "-O2", include, folder / "objects") for source in sources]
    target = folder / "npu.elf"
    script = roomy_script(folder / "npu" / "example" / "link.ld", board)
    link_program(board, script, objects, library, target)
    printed = emulate(board, target)
    stated = re.search(r"EDGESEP_ARENA_BYTES (\d+)", (part / "model_data.h").read_text())
    assert stated is not None
    return {"npu": NPU, "model": model, "arena_bytes": printed["arena"],
            "arena_stated_bytes": int(stated[1])}  # fmt: skip


def link_program(
    board: Board, script: Path, objects: Sequence[Path], library: Path, target: Path
) -> None:
    """Link a program for the board's QEMU machine."""
    link = ["arm-none-eabi-g++", *board.cpu_flags.split(), "-nostartfiles", f"-T{script}"]
    link += ["--specs=rdimon.specs", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]
    run([*link, *map(str, objects), str(library), "-o", str(target)])


def roomy_script(script: Path, board: Board) -> Path:
    """Return a linker script with constants in the emulated board's RAM: two models are large."""
    text = script.read_text()
    text = text.replace("*(.rodata*)", "").replace("*(.data*)", "*(.data*) *(.rodata*)")
    assert board.qemu is not None
    text = re.sub(r"LENGTH = \d+K", f"LENGTH = {board.qemu.ram_kb}K", text)
    target = script.with_name("roomy.ld")
    target.write_text(text)
    return target


def text_bytes(path: Path) -> int:
    """Return the bytes of code and constants; initialised variables count, too."""
    row = run(["arm-none-eabi-size", str(path)]).splitlines()[1].split()
    return int(row[0]) + int(row[1])


def emulate(board: Board, program: Path) -> dict[str, int]:
    """Run a program; return the numbers that it prints."""
    assert board.qemu is not None
    command = ["qemu-system-arm", "-M", board.qemu.machine, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-icount", "shift=6", "-kernel", str(program)]
    command += ["-semihosting-config", "enable=on,target=native,arg=compare"]
    return {k: int(v) for k, v in re.findall(r"^(\w+) (\d+)", run(command), re.M)}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder of the checkouts")
    parser.add_argument("--models", nargs="*", default=list_models(), help="names or paths [all]")
    parser.add_argument("--build", type=Path, help="folder for objects, to be used again")
    parser.add_argument("--optimise", default="-O2", help="of TFLM's kernels [-O2]")
    parser.add_argument(
        "--npu", action="store_true", help=f"also the arena of {NPU}; wants ethos-u-core-driver"
    )
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    missing = [name for name in REPOSITORIES if not (options.sources / name).is_dir()]
    if missing:
        raise SystemExit(f"{options.sources}: has no {', '.join(missing)}: see --help")
    rows, npu_rows = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for board in map(read_board, BOARDS):
            objects = (options.build or Path(scratch)) / f"{board.name}{options.optimise}"
            objects.mkdir(parents=True, exist_ok=True)
            builder = Builder(board, options.sources.resolve(), objects, options.optimise)
            library = builder.library()
            for i, model in enumerate(options.models):
                folder = Path(scratch) / f"{board.name}-{i}"
                folder.mkdir()
                row = measure(board, model, builder, library, folder)
                if row:
                    rows.append(row)
                    print(json.dumps(asdict(row)), flush=True)
                if board.name == "cortex_m55" and options.npu:
                    npu_rows.append(npu_arena(model, builder, library, folder))
                    print(json.dumps(npu_rows[-1]), flush=True)
    print(table(rows))
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "npu": npu_rows}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(row.frames_that_differ for row in rows))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| board | model | engine | instructions | code | activations | frames that differ |"]
    lines += ["|---|---|---|---:|---:|---:|---:|"]
    for row in rows:
        start = f"| {row.board} | {row.model} |"
        differ = f"{row.frames_that_differ} of {row.frames} |"
        lines.append(
            f"{start} TFLM + CMSIS-NN | {row.tflm_instructions:,} | {row.tflm_text_bytes:,} | "
            f"{row.tflm_arena_bytes:,} | {differ}"
        )
        lines.append(
            f"{start} exact | {row.exact_instructions:,} | {row.exact_text_bytes:,} | "
            f"{row.exact_activations_bytes:,} | {differ}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
