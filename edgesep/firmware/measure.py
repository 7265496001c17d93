"""Build a generated project and run it under QEMU: sizes, stack, instructions per hop."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgesep.errors import EdgesepError, SettingsError
from edgesep.firmware.boards import Board, Machine

__all__ = ["Figures", "machine_of", "measure", "tool_versions"]

INSTRUCTION_NS = 64
"""Of emulated time: -icount shift=6."""
HOPS = 60
_TOOLS = {
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}


@dataclass(frozen=True)
class Figures:
    """What a project takes on a board. Bytes, if not said otherwise."""

    text_bytes: int
    """Code and constant tables of the library, without the model; with what it takes from libc."""
    model_bytes: int
    """Weights and tables of the model."""
    data_bytes: int
    """Initialised variables of the library."""
    bss_bytes: int
    """Its other static variables; the memory that edgesep_init is given is not among them."""
    memory_bytes: int
    """What edgesep_init takes: state and activations."""
    stack_bytes: int
    """Deepest stack during edgesep_process, its caller's frame included."""
    instructions_per_hop: int
    """Mean over a minute's fraction of noise that comes and goes."""


def machine_of(board: Board) -> Machine:
    """Return what QEMU emulates. Raises SettingsError where it has no machine to measure on."""
    if board.qemu is None:
        raise SettingsError(f"{board.name}: no QEMU machine to measure on (qemu: in its file)")
    return board.qemu


def tool_versions() -> dict[str, str]:
    """Return the versions of compiler and emulator.

    Raises EdgesepError that names the first tool that is missing, and its Debian packages.
    """
    for program, packages in _TOOLS.items():
        if shutil.which(program) is None:
            raise EdgesepError(
                f"{program} is missing, and measuring needs it: apt install {packages}"
            )
    compiler = _output(["arm-none-eabi-gcc", "-dumpfullversion"]).strip()
    emulator = re.search(r"version ([\d.]+)", _output(["qemu-system-arm", "--version"]))
    return {
        "compiler": f"arm-none-eabi-gcc {compiler} -O3",
        "emulator": f"qemu-system-arm {emulator[1] if emulator else '?'}",
    }


def measure(folder: Path, board: Board, hop_samples: int) -> Figures:
    """Build the project in `folder` and run it; the build stays in it.

    Counts are those of executed instructions, not of cycles; they repeat exactly.
    Raises SettingsError for a board without a QEMU machine, EdgesepError when a tool is missing or
    fails.
    """
    machine = machine_of(board)
    tool_versions()
    make = ["make", "-s", "-C", str(folder)]
    _output([*make, "firmware.elf", "product.elf"])
    product = _size(folder / "product.elf")
    model = [sum(_size(path)[:2]) for path in sorted(folder.glob("build/model/*.o"))]
    with tempfile.TemporaryDirectory(prefix="edgesep-") as scratch:
        source = Path(scratch) / "in.wav"
        source.write_bytes(_noise(HOPS * hop_samples))
        printed = _output([*make, "qemu", f"IN={source}", f"OUT={Path(scratch) / 'out.wav'}"])
    figures = {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)", printed, re.M)}
    instructions = figures["ticks"] / figures["hops"] * machine.tick_ns / INSTRUCTION_NS
    return Figures(
        text_bytes=product[0] - sum(model),
        model_bytes=sum(model),
        data_bytes=product[1],
        bss_bytes=product[2],
        memory_bytes=figures["memory"],
        stack_bytes=figures["stack"],
        instructions_per_hop=round(instructions),
    )


def _size(path: Path) -> tuple[int, int, int]:
    """Return the bytes of text, data and bss."""
    row = _output(["arm-none-eabi-size", str(path)]).splitlines()[1].split()
    return int(row[0]), int(row[1]), int(row[2])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())
        raise EdgesepError(f"{command[0]} failed ({done.returncode}): {reason[-300:]}")
    return done.stdout


def _noise(samples: int) -> bytes:
    """Return a WAV file, the same everywhere: noise in syllables, between -50 and -10 dBFS."""
    values = []
    state = 1
    for n in range(samples):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        loudness = abs((n * 5 // 16) % 2000 - 1000)  # 0.4 s up and down
        values.append(((state >> 16) - 32768) * (10 + loudness) // 3200)
    data = struct.pack(f"<{samples}h", *values)
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1,
                       16000, 32000, 2, 16, b"data", len(data))  # fmt: skip
    return head + data
