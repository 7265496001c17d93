"""Generate a C project: a model, the core, a two-function API, examples that QEMU runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.card import Card
from edgesep.contract import FrameContract
from edgesep.engine.exact import compile_model
from edgesep.engine.plan import Plan
from edgesep.engine.source import comment_text, constant, network_source
from edgesep.firmware.boards import Board, read_board
from edgesep.firmware.budget import Needs, check_budget, needs_of
from edgesep.firmware.folder import check_folder, write_folder
from edgesep.firmware.manifest import manifest, measured_here, shipped_figures
from edgesep.firmware.measure import machine_of, measure, tool_versions
from edgesep.firmware.part import Part
from edgesep.isolator import with_latency
from edgesep.mask import gain_table_q15
from edgesep.models import find_model
from edgesep.settings import Settings

__all__ = ["generate"]

_TEMPLATES = {  # template -> path in the project; dma_*.c: the board's own
    "LICENSE": "LICENSE",
    "edgesep.c": "edgesep.c",
    "edgesep.h": "edgesep.h",
    "main_wav.c": "example/main_wav.c",
    "board.h": "example/board.h",
    "startup.c": "example/startup.c",
    "wav.c": "example/wav.c",
    "wav.h": "example/wav.h",
    "main_dma.c": "example/main_dma.c",
    "ping_pong.c": "example/ping_pong.c",
    "ping_pong.h": "example/ping_pong.h",
    "sound.h": "example/sound.h",
    "dma_qemu.c": "example/dma_qemu.c",
    "link.ld": "example/link.ld",
    "Makefile": "Makefile",
    "CMakeLists.txt": "CMakeLists.txt",
    "arm-none-eabi.cmake": "arm-none-eabi.cmake",
    "README.md": "README.md",
}
MANIFEST = "MANIFEST.json"


def generate(
    board: str | Board,
    model: str | None,
    settings: Settings,
    folder: Path,
    *,
    measured: bool = False,
    part_makers: Sequence[Callable[[Board, Path, Card], Part]] = (),
) -> None:
    """Write the project into `folder`, which must be new or empty.

    board: one of `firmware_boards`, the path of a .yaml file like theirs, or what `read_board`
    returns. model: shipped name or .tflite path; None: what the board's file says. settings: become
    constants; `engine` does not matter, boards run the exact one. measured: build and run it, for
    the manifest. part_makers: make more parts of the project from the board, the model's path and
    its card.

    Equal arguments give equal bytes. Raises SettingsError for an unknown or wrong board, ModelError
    for a model that is damaged or does not fit, EdgesepError for a folder that cannot be written or
    a missing compiler; then nothing is left behind.
    """
    board = read_board(board) if isinstance(board, str) else board
    check_folder(folder)
    if measured:
        machine_of(board)  # before a tool is asked for in vain
    tools = tool_versions() if measured else None
    path, card = find_model(model or board.model)
    plan = compile_model(path, card)
    latency_ms = board.latency_ms if settings.latency_ms is None else settings.latency_ms
    contract = with_latency(card.contract, latency_ms)
    needs = needs_of(board, contract, plan)
    check_budget(board, card, needs)
    parts = [make(board, path, card) for make in part_makers]
    files = _files(board, card, contract, plan, settings, needs)
    for part in parts:
        files.update(part.files)

    def finish(whole: Path) -> None:
        figures = shipped_figures(board, card, contract)
        if tools is not None:
            figures = _measure_copy(whole, board, contract.hop_samples, tools)
        content = manifest(board, card, contract, settings, needs, figures, parts, files)
        (whole / MANIFEST).write_bytes(content)

    write_folder(files, folder, finish)


def _measure_copy(
    project: Path, board: Board, hop_samples: int, tools: dict[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgesep-") as scratch:
        copy = Path(scratch) / "project"
        shutil.copytree(project, copy)
        return measured_here(board, hop_samples, measure(copy, board, hop_samples), tools)


# --- files ---------------------------------------------------------------------------------------


def _files(
    board: Board, card: Card, contract: FrameContract, plan: Plan, settings: Settings, needs: Needs
) -> dict[str, bytes]:
    """Return the content of every file by its path in the project."""
    core = resources.files("edgesep.core")
    files = {
        f"core/{entry.name}": entry.read_text(encoding="utf-8")
        for entry in core.iterdir()
        if entry.name.endswith((".c", ".h"))
    }
    words = _words(board, card, needs, contract.latency_samples)
    templates = resources.files("edgesep.firmware") / "template"
    driver = f"dma_{board.sound}.c"
    for name, path in {**_TEMPLATES, driver: f"example/{driver}"}.items():
        files[path] = _fill((templates / name).read_text(encoding="utf-8"), words)
    files["model/edgesep_network.c"] = network_source(
        plan,
        "edgesep_model_network",
        f"The network {card.name}, made by edgesep: not to be edited.",
    )
    files["model/edgesep_model.c"] = _model_source(card, contract, settings)
    files["model/edgesep_model.h"] = _header(card, contract, needs.state_and_activations)
    return {name: text.encode() for name, text in files.items()}


def _model_source(card: Card, contract: FrameContract, settings: Settings) -> str:
    gains = gain_table_q15(settings.max_attenuation_db, settings.wet, settings.output)
    name = comment_text(card.name)
    parts = [
        f"/* The frame and the gains of {name}, made by edgesep: not to be edited. */",
        '#include "edgesep_model.h"',
        constant("edges", np.array(contract.band_edges, np.uint16)),
        _contract_source(contract),
        constant("edgesep_model_gains_q15", gains, static=False),
    ]
    return "\n\n".join(parts) + "\n"


def _words(board: Board, card: Card, needs: Needs, latency: int) -> dict[str, str]:
    machine = board.qemu
    return {
        "BOARD": board.name,
        "LIKE": board.like,
        "NOTES": board.notes,
        "SOUND": board.sound,
        "MODEL": comment_text(card.name),
        "VERSION": comment_text(card.version),
        "LICENCE": comment_text(card.licence or "a licence that its card does not state"),
        "CPU_FLAGS": board.cpu_flags,
        "CLOCK_MHZ": f"{board.clock_mhz:g}",
        "LATENCY_MS": f"{latency / 16:g}",
        "FLASH_KB": f"{needs.flash_bytes / 1024:.0f}",
        "RAM_KB": f"{needs.ram_bytes / 1024:.0f}",
        "MACHINE": machine.machine if machine else "",
        "MACHINE_TEXT": machine.machine if machine else "none: it has no QEMU machine",
        "FLASH_ORIGIN": f"0x{machine.flash_origin if machine else 0:08x}",
        "FLASH_LENGTH": f"{machine.flash_kb if machine else board.flash_kb}K",
        "RAM_ORIGIN": f"0x{machine.ram_origin if machine else 0x20000000:08x}",
        "RAM_LENGTH": f"{machine.ram_kb if machine else board.ram_kb}K",
    }


def _fill(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace(f"@{name}@", word)
    return template


def _contract_source(contract: FrameContract) -> str:
    names = ("hop_samples", "fade_samples", "bands", "floor_rise_shift", "floor_fall_shift")
    values = "".join(f"    .{name} = {getattr(contract, name)},\n" for name in names)
    return (
        "const edgesep_contract edgesep_model_contract = {\n    .channels = 1,\n"
        f"{values}    .band_edges = edges,\n}};"
    )


def _header(card: Card, contract: FrameContract, memory_bytes: int) -> str:
    return f"""/* The frame of {comment_text(card.name)}, made by edgesep: not to be edited. */
#ifndef EDGESEP_MODEL_H
#define EDGESEP_MODEL_H

#include "edgesep_frontend.h"
#include "edgesep_network.h"

#define EDGESEP_MODEL_BANDS {contract.bands}
#define EDGESEP_HOP_SAMPLES {contract.hop_samples}      /* that edgesep_process takes and gives */
#define EDGESEP_DELAY_SAMPLES {contract.delay_samples}    /* of the output behind the input */
#define EDGESEP_LATENCY_SAMPLES {contract.latency_samples}  /* with the hop's own buffering */
#define EDGESEP_MEMORY_BYTES {memory_bytes} /* for edgesep_init, at most */

extern const edgesep_network edgesep_model_network;
extern const edgesep_contract edgesep_model_contract;
extern const uint16_t edgesep_model_gains_q15[256]; /* attenuation limit and mix, as generated */

#endif
"""
