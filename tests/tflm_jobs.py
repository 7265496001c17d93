"""Builds code generated for TFLM with a stand-in for TFLM; repeats in NumPy what that computes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesep.card import FEATURES, Card
from edgesep.cli import main
from edgesep.engine.graph import Graph, Tensor
from edgesep.engine.rings import ColumnRing
from edgesep.firmware.layout import read_layout
from tests.core_jobs import STRICT

STUB = Path(__file__).with_name("tflm_stub")
DRIVER = Path(__file__).with_name("tflm_driver.cc")
STRICT_CXX = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]

SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def need(program: str) -> None:
    """Skip a test where a program is missing."""
    if shutil.which(program) is None:
        pytest.skip(
            f"{program} is not installed (apt install {program.replace('clang++', 'clang')})"
        )


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that `edgesep firmware` fails with."""
    assert main(["firmware", *arguments]) != 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    return captured.err


def write_stub_model(compiled: bytes, scratch: Path) -> None:
    """Write what the stand-in has to know of the model."""
    layout = read_layout(compiled)
    sizes = {tensor.name: tensor.size for tensor in layout.tensors}
    inputs, outputs = (
        ", ".join(str(sizes[n]) for n in ends) for ends in (layout.inputs, layout.outputs)
    )
    (scratch / "stub_model.h").write_text(
        f"#define STUB_INPUTS {{{inputs}}}\n#define STUB_OUTPUTS {{{outputs}}}\n"
        f"#define STUB_OPERATORS {len(layout.counts())}u\n"
    )


def build(folder: Path, core: Path, compiled: bytes, compilers: tuple[str, str], flags: list[str],
          scratch: Path) -> Path:  # fmt: skip
    """Compile a generated folder, its C and its C++, with the driver; return the program.

    compiled: the model that the folder holds. compilers: of C and of C++.
    """
    write_stub_model(compiled, scratch)
    includes = [f"-I{folder}", f"-I{core}", f"-isystem{STUB}", f"-isystem{scratch}"]
    files = [*sorted(folder.glob("*.c")), *sorted(folder.glob("*.cc")), DRIVER]
    files += [f for f in sorted(core.glob("*.c")) if not f.stem.endswith(("_kernels", "_network"))]
    if (folder / "edgesep_ethosu.c").exists():
        includes.append("-DWITH_ETHOSU")
    objects = []
    for source in files:
        objects.append(scratch / f"{source.stem}-{len(objects)}.o")
        is_c = source.suffix == ".c"
        command = [
            compilers[0 if is_c else 1],
            *(STRICT if is_c else STRICT_CXX),
            *flags,
            *includes,
        ]
        subprocess.run([*command, "-c", str(source), "-o", str(objects[-1])], check=True)
    program = scratch / "program"
    subprocess.run([compilers[1], *flags, *map(str, objects), "-o", str(program)], check=True)
    return program


def make_library(folder: Path, compiled: bytes, scratch: Path) -> list[str]:
    """Build the library of a generated folder by its Makefile, for this machine; list its members.

    The folder gets the build's files.
    """
    write_stub_model(compiled, scratch)
    includes = f"TFLM_INCLUDES=-I{STUB} -I{scratch}"
    command = ["make", "-s", "-C", str(folder), "CROSS=", "CPU=", includes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (library,) = folder.glob("lib*.a")
    listed = subprocess.run(["ar", "t", str(library)], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def stub_masks(graph: Graph, card: Card, inputs: list[str], outputs: list[str],
               features: NDArray[np.int8]) -> NDArray[np.int8]:  # fmt: skip
    """Return the masks of the stand-in's network, its states fed back as the frame path does.

    inputs, outputs: names of the ends in the order of the file.
    """
    tensors = {tensor.name: tensor for tensor in (*graph.inputs, *graph.outputs)}
    rings = {s.taps_tensor: (ColumnRing(s, tensors[s.taps_tensor].zero_point), s.column)
             for s in card.states}  # fmt: skip
    masks = []
    for frame in features:
        fed = [frame if name == FEATURES else rings[name][0].taps for name in inputs]
        made = {name: _stub_output(tensors[name], o, fed) for o, name in enumerate(outputs)}
        for name, (ring, column) in rings.items():
            shape = tensors[name].shape[2:]
            ring.push(frame if column == FEATURES else made[column].reshape(shape))
        masks.append(made["mask"].reshape(-1))
    return np.stack(masks)


def _stub_output(tensor: Tensor, o: int, inputs: list[NDArray[np.int8]]) -> NDArray[np.int8]:
    j = np.arange(tensor.size)
    total = j.astype(np.int64)
    for i, values in enumerate(inputs):
        flat = values.reshape(-1).astype(np.int64)
        total = total + (i + 1) * flat[(7 * j + o) % flat.size]
    return total.astype(np.uint8).view(np.int8)


def model_bytes(folder: Path) -> bytes:
    """Return the model that stands in model_data.c."""
    text = (folder / "model_data.c").read_text()
    found = re.search(r"edgesep_model_data\[\w+\][^{]*{([^}]*)}", text)
    assert found is not None
    return bytes(int(number) for number in found[1].split(","))


def define(folder: Path, name: str) -> int:
    """Return the value of a macro of model_data.h."""
    found = re.search(rf"^#define {name} (-?\d+)$", (folder / "model_data.h").read_text(), re.M)
    assert found is not None, name
    return int(found[1])
