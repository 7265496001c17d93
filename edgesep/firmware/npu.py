"""A model for an Ethos-U: compiled by Vela, run by TFLM, as a part of a board's project."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from edgesep.card import Card
from edgesep.engine.source import comment_text
from edgesep.errors import EngineError, ModelError, SettingsError, unknown_name
from edgesep.firmware.boards import Board
from edgesep.firmware.layout import NPU_METHODS, read_layout
from edgesep.firmware.part import Part
from edgesep.firmware.tflm import fill, tflm_figures, tflm_files, zeros_of
from edgesep.isolator import with_latency
from edgesep.models import read_model
from edgesep.settings import Settings

__all__ = ["ACCELERATORS", "Compiled", "Estimate", "compile_for_npu", "npu_part"]

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""What --npu takes: Vela's names."""

# Of Vela's own vela.ini: weights in flash, activations in SRAM, as on a microcontroller.
_SYSTEMS = {
    "ethos-u55": "Ethos_U55_High_End_Embedded",
    "ethos-u65": "Ethos_U65_Embedded",
    "ethos-u85": "Ethos_U85_SYS_Flash_High",
}
_MEMORY_MODE = "Shared_Sram"
_TIMEOUT_S = 600
_TEMPLATES = {  # template -> path in the project
    "npu_ethosu.c": "edgesep_ethosu.c",
    "npu_ethosu.h": "edgesep_ethosu.h",
    "npu_README.md": "README.md",
    "tflm_Makefile": "Makefile",
}
_NOT_CHECKED = (
    "Vela's estimate. No simulator of an Ethos-U was at hand: neither these cycles nor the bits of "
    "the mask, nor that the NPU starts at all, have been checked"
)


@dataclass(frozen=True)
class Estimate:
    """What Vela says of a compiled model. Bytes, and cycles of the NPU's clock."""

    accelerator: str
    vela: str
    """Version."""
    system_config: str
    memory_mode: str
    npu_clock_mhz: float
    cycles_per_hop: int
    sram_bytes: int
    flash_bytes: int
    npu_operators: int
    cpu_operators: int


@dataclass(frozen=True)
class Compiled:
    """A .tflite whose one operator is the Ethos-U's, and Vela's estimate."""

    content: bytes
    estimate: Estimate


def npu_part(npu: str, settings: Settings) -> Callable[[Board, Path, Card], Part]:
    """Return what makes the part `npu` of a project: files in npu/, figures for the manifest.

    npu: one of ACCELERATORS. settings: become constants, as in the rest of the project. Raises
    SettingsError for another name. What is returned raises as `compile_for_npu` does, SettingsError
    for a board without an Ethos-U, ModelError where the compiled model does not fit the board.
    """
    if npu not in ACCELERATORS:
        raise SettingsError(unknown_name("NPU", npu, ACCELERATORS))

    def make(board: Board, path: Path, card: Card) -> Part:
        if board.npu is None:
            raise SettingsError(
                f"{board.name} has no Ethos-U (npu: none in its file): "
                f"use cortex_m55_ethos_u55, or a copy of the file that says npu: {npu}"
            )
        source = read_model(path, card)
        compiled = compile_for_npu(source, npu, card.name)
        _check_budget(board, card, compiled)
        latency_ms = board.latency_ms if settings.latency_ms is None else settings.latency_ms
        contract = with_latency(card.contract, latency_ms)
        zeros = zeros_of(source, card)
        files = tflm_files(compiled.content, card, contract, settings, zeros, NPU_METHODS)
        words = {"MODEL": comment_text(card.name), "NPU": npu, "CORE": "../core",
                 "CPU_FLAGS": board.cpu_flags, "LIBRARY": "edgesep_npu",
                 "BOARD_FILES": "edgesep_ethosu.c"}  # fmt: skip
        folder = resources.files("edgesep.firmware") / "template"
        for name, target in _TEMPLATES.items():
            files[target] = fill((folder / name).read_text(encoding="utf-8"), words).encode()
        milliseconds = contract.hop_samples / 16
        estimate = compiled.estimate
        share = estimate.cycles_per_hop / (estimate.npu_clock_mhz * 1e3 * milliseconds)
        figures = {
            **asdict(estimate),
            "percent_of_hop": round(100 * share, 1),
            **tflm_figures(compiled.content, card),
            "how": _NOT_CHECKED,
        }
        return Part("npu", {f"npu/{name}": data for name, data in files.items()}, figures)

    return make


def compile_for_npu(content: bytes, npu: str, name: str) -> Compiled:
    """Compile a .tflite for an Ethos-U with Vela; equal arguments give equal bytes.

    name: of the model, for messages. Raises EngineError where Vela is missing or fails,
    ModelError where operators would stay on the CPU, listing them.
    """
    version = _vela_version()
    system = _SYSTEMS[npu.rpartition("-")[0]]
    with tempfile.TemporaryDirectory(prefix="edgesep-") as scratch:
        folder = Path(scratch)
        (folder / "model.tflite").write_bytes(content)
        arguments = ["--accelerator-config", npu, "--config", "Arm/vela.ini"]
        arguments += ["--system-config", system, "--memory-mode", _MEMORY_MODE]
        printed = _run_vela([*arguments, "--output-dir", "out", "model.tflite"], folder, name)
        try:
            compiled = (folder / "out" / "model_vela.tflite").read_bytes()
            summary = next(folder.glob("out/model_summary_*.csv")).read_text(encoding="utf-8")
        except (OSError, StopIteration) as error:
            raise EngineError(
                f"Vela {version} wrote no model for {name}: {printed[-300:]}"
            ) from error
    on_cpu = read_layout(compiled).makers(list(NPU_METHODS))
    if on_cpu:
        raise ModelError(
            f"{name}: {npu} would leave {len(on_cpu)} operators to the CPU, 0 are allowed: "
            + ", ".join(on_cpu)
        )
    return Compiled(compiled, _estimate(npu, version, summary, printed))


def _vela_version() -> str:
    try:
        found = importlib.util.find_spec("ethosu.vela")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise EngineError(
            "--npu needs Arm's compiler Vela, which is not installed: pip install 'edgesep[npu]'"
        )
    return importlib.metadata.version("ethos-u-vela")


def _run_vela(arguments: list[str], folder: Path, name: str) -> str:
    """Run Vela in a process of its own, which it may end on an error; return what it printed."""
    command = [sys.executable, "-m", "ethosu.vela", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Vela took more than {_TIMEOUT_S} s for {name}") from error
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())
        raise EngineError(f"Vela failed on {name} ({done.returncode}): {reason[-300:]}")
    return done.stdout


def _estimate(npu: str, version: str, summary: str, printed: str) -> Estimate:
    row = next(csv.DictReader(summary.splitlines()))
    count = functools.partial(_operator_count, printed)
    return Estimate(
        accelerator=npu,
        vela=version,
        system_config=row["system_config"],
        memory_mode=row["memory_mode"],
        npu_clock_mhz=float(row["core_clock"]) / 1e6,
        cycles_per_hop=round(float(row["cycles_total"])),
        sram_bytes=_bytes(row, "sram"),
        flash_bytes=_bytes(row, "on_chip_flash") + _bytes(row, "off_chip_flash"),
        npu_operators=count("NPU"),
        cpu_operators=count("CPU"),
    )


def _bytes(row: dict[str, str], memory: str) -> int:
    return round(float(row[f"{memory}_memory_used"]) * 1024)  # in KiB


def _operator_count(printed: str, where: str) -> int:
    found = re.search(rf"^{where} operators = (\d+)", printed, re.MULTILINE)
    if found is None:
        raise EngineError(f"Vela did not say how many operators run on the {where}")
    return int(found[1])


def _check_budget(board: Board, card: Card, compiled: Compiled) -> None:
    """Refuse what leaves no room: the compiled model in flash, arena and rings in RAM."""
    figures = tflm_figures(compiled.content, card)
    needs = {
        "flash": (figures["model_bytes"], board.flash_bytes),
        "RAM": (figures["arena_bytes"] + figures["rings_bytes"], board.ram_bytes),
    }
    for memory, (need, budget) in needs.items():
        if need > budget:
            raise ModelError(
                f"{card.name}, compiled for {compiled.estimate.accelerator}, does not fit "
                f"{board.name}: it takes {need / 1024:.0f} KB of {memory}, the board has "
                f"{budget / 1024:.0f} KB"
            )
