"""Builds generated projects and runs them under QEMU; the core is compiled once a processor."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgesep.cli import main
from edgesep.firmware import firmware_boards, read_board

BOARDS = [name for name in firmware_boards() if read_board(name).npu is None]  # M55 is M55
_objects: dict[str, dict[str, bytes]] = {}  # board -> file name -> compiled core


def need(program: str, package: str) -> None:
    """Skip a test where a program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {package})")


def need_board_tools() -> None:
    """Skip a test where firmware cannot be built and run."""
    need("make", "make")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    need("qemu-system-arm", "qemu-system-arm")


def project(board: str, model: Path | str, folder: Path, *options: str) -> Path:
    """Generate a project by the command line, at most 20 dB of attenuation."""
    arguments = ["firmware", "--board", board, "--model", str(model), "-o", str(folder)]
    assert main([*arguments, "--max-attenuation-db", "20", *options]) == 0
    return folder


def make(folder: Path, *arguments: str) -> str:
    """Run make; return what it prints."""
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: Path, board: str, *targets: str) -> None:
    """Make targets, with the core's objects of an earlier project for the same board."""
    objects = folder / "build" / "core"
    objects.mkdir(parents=True)
    for name, content in _objects.get(board, {}).items():
        (objects / name).write_bytes(content)
    make(folder, *targets)
    _objects[board] = {path.name: path.read_bytes() for path in objects.glob("*.o")}


def run_wav(folder: Path, source: Path, target: Path, goal: str = "qemu", **words: str) -> str:
    """Run an example on the QEMU machine of the project's board; return what it prints."""
    assignments = [f"{name}={word}" for name, word in words.items()]
    return make(folder, goal, f"IN={source}", f"OUT={target}", *assignments)


def figures(printed: str) -> dict[str, int]:
    """Return the numbers that an example prints."""
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)", printed, re.M)}
