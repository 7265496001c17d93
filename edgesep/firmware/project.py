"""Generate a C project: a model, the core, a two-function API, an example that QEMU runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgesep import native
from edgesep.card import Card
from edgesep.engine.exact import compile_model
from edgesep.engine.plan import Plan
from edgesep.engine.source import comment_text, constant, network_source
from edgesep.errors import EdgesepError, ModelError, SettingsError, unknown_name
from edgesep.firmware.boards import BOARDS, Board
from edgesep.isolator import with_latency
from edgesep.mask import gain_table_q15
from edgesep.models import find_model, list_models
from edgesep.settings import Settings

__all__ = ["generate"]

CODE_BYTES = 24 << 10
"""Flash that the core's code and tables take at most, on any of the boards; tested."""
STACK_BYTES = 4 << 10
"""Stack that a call of edgesep_process takes at most; tested."""

_TEMPLATES = {  # template -> path in the project
    "edgesep.c": "edgesep.c",
    "edgesep.h": "edgesep.h",
    "main_wav.c": "example/main_wav.c",
    "board.h": "example/board.h",
    "startup.c": "example/startup.c",
    "link.ld": "example/link.ld",
    "Makefile": "Makefile",
    "README.md": "README.md",
}


def generate(board_name: str, model: str, settings: Settings, folder: Path) -> None:
    """Write the project into `folder`, which must be new or empty.

    settings: become constants; `engine` does not matter, boards run the exact one.
    Equal arguments give equal bytes. Raises SettingsError for an unknown board, ModelError for a
    model that does not fit it, EdgesepError for a folder that cannot be written; then nothing is
    left behind.
    """
    if board_name not in BOARDS:
        raise SettingsError(unknown_name("board", board_name, BOARDS))
    board = BOARDS[board_name]
    path, card = find_model(model)
    plan = compile_model(path, card)
    sizes = _sizes(plan, card)
    _check_budget(board, card, sizes)
    files = _files(board, card, plan, settings, sizes)
    _write(files, folder)


# --- budgets -------------------------------------------------------------------------------------


def _sizes(plan: Plan, card: Card) -> dict[str, int]:
    """Return bytes by what they are for, at most: pointers count eight bytes each."""
    constants = sum(_constant_bytes(getattr(plan, field.name)) for field in fields(plan))
    return {
        "weights_and_tables": constants,
        "state_and_activations": native.stream_memory_bytes(card.contract, plan),
    }


def _constant_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes + 8
    if is_dataclass(value):
        return sum(_constant_bytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return sum(map(_constant_bytes, value))
    return 0 if isinstance(value, str) else 4


def _needs(sizes: dict[str, int]) -> tuple[int, int]:
    """Return the bytes of flash and of RAM that a project takes at most."""
    return sizes["weights_and_tables"] + CODE_BYTES, sizes["state_and_activations"] + STACK_BYTES


def _fits(board: Board, sizes: dict[str, int]) -> bool:
    flash, ram = _needs(sizes)
    return flash <= board.flash_bytes and ram <= board.ram_bytes


def _check_budget(board: Board, card: Card, sizes: dict[str, int]) -> None:
    if _fits(board, sizes):
        return
    flash, ram = _needs(sizes)
    others = []
    for name in list_models():
        path, other = find_model(name)
        other_sizes = _sizes(compile_model(path, other), other)
        if _fits(board, other_sizes):
            others.append((other_sizes["weights_and_tables"], name))
    fitting = f"the largest model that fits is {max(others)[1]}" if others else "no model fits"
    raise ModelError(
        f"{card.name} does not fit {board.name}: "
        f"flash {flash / 1024:.0f} KB of {board.flash_bytes / 1024:.0f} KB, "
        f"RAM {ram / 1024:.0f} KB of {board.ram_bytes / 1024:.0f} KB; {fitting}"
    )


# --- files ---------------------------------------------------------------------------------------


def _files(
    board: Board, card: Card, plan: Plan, settings: Settings, sizes: dict[str, int]
) -> dict[str, str]:
    """Return the text of every file by its path in the project."""
    contract = with_latency(card.contract, settings.latency_ms)
    core = resources.files("edgesep.core")
    files = {
        f"core/{entry.name}": entry.read_text(encoding="utf-8")
        for entry in core.iterdir()
        if entry.name.endswith((".c", ".h"))
    }
    words = _words(board, card, sizes, contract.latency_samples)
    templates = resources.files("edgesep.firmware") / "template"
    for name, path in _TEMPLATES.items():
        files[path] = _fill((templates / name).read_text(encoding="utf-8"), words)
    files["model/edgesep_network.c"] = network_source(
        plan,
        "edgesep_model_network",
        f"The network {card.name}, made by edgesep: not to be edited.",
    )
    gains = gain_table_q15(settings.max_attenuation_db, settings.wet, settings.output)
    edges = np.array(contract.band_edges, np.uint16)
    name = comment_text(card.name)
    files["model/edgesep_model.c"] = "\n\n".join(
        [
            f"/* The frame and the gains of {name}, made by edgesep: not to be edited. */",
            '#include "edgesep_model.h"',
            constant("edges", edges),
            _contract_source(contract),
            constant("edgesep_model_gains_q15", gains, static=False),
        ]
    )
    files["model/edgesep_model.c"] += "\n"
    files["model/edgesep_model.h"] = _header(card, contract, sizes["state_and_activations"])
    files["MANIFEST.json"] = _manifest(board, card, settings, sizes, contract, files)
    return files


def _words(board: Board, card: Card, sizes: dict[str, int], latency: int) -> dict[str, str]:
    flash, ram = _needs(sizes)
    return {
        "BOARD": board.name,
        "LIKE": board.like,
        "MODEL": comment_text(card.name),
        "VERSION": comment_text(card.version),
        "LICENCE": comment_text(card.licence or "a licence that its card does not state"),
        "CPU_FLAGS": board.cpu_flags,
        "CLOCK_MHZ": str(board.clock_mhz),
        "LATENCY_MS": f"{latency / 16:g}",
        "FLASH_KB": f"{flash / 1024:.0f}",
        "RAM_KB": f"{ram / 1024:.0f}",
        "MACHINE": board.machine,
        "FLASH_ORIGIN": board.machine_flash[0],
        "FLASH_LENGTH": board.machine_flash[1],
        "RAM_ORIGIN": board.machine_ram[0],
        "RAM_LENGTH": board.machine_ram[1],
    }


def _fill(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace(f"@{name}@", word)
    return template


def _contract_source(contract: Any) -> str:
    names = ("hop_samples", "fade_samples", "bands", "floor_rise_shift", "floor_fall_shift")
    values = "".join(f"    .{name} = {getattr(contract, name)},\n" for name in names)
    return (
        "const edgesep_contract edgesep_model_contract = {\n    .channels = 1,\n"
        f"{values}    .band_edges = edges,\n}};"
    )


def _header(card: Card, contract: Any, memory_bytes: int) -> str:
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


def _manifest(
    board: Board,
    card: Card,
    settings: Settings,
    sizes: dict[str, int],
    contract: Any,
    files: dict[str, str],
) -> str:
    flash, ram = _needs(sizes)
    document = {
        "format": 1,
        "board": {"name": board.name, "clock_mhz": board.clock_mhz, "qemu": board.machine},
        "model": {"name": card.name, "version": card.version, "sha256": card.sha256},
        "settings": {
            name: getattr(settings, name) for name in ("max_attenuation_db", "wet", "output")
        },
        "latency_ms": contract.latency_samples / 16,
        "hop_samples": contract.hop_samples,
        "bytes_at_most": {**sizes, "flash": flash, "ram": ram, "stack": STACK_BYTES},
        "files": {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _write(files: dict[str, str], folder: Path) -> None:
    """Write beside the target first, so that there is the whole project or nothing."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise EdgesepError(f"{folder}: exists and is not an empty folder: name another")
        with tempfile.TemporaryDirectory(prefix=".edgesep-", dir=folder.absolute().parent) as part:
            whole = Path(part) / "project"
            for name, text in files.items():
                path = whole / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            shutil.copymode(part, whole)
            os.chmod(whole, 0o755)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
    except OSError as error:
        raise EdgesepError(f"{folder}: cannot write the project ({error.strerror})") from error
