"""Build every model for every board, run it under QEMU, print the table; renew figures.json.

    python benchmarks/firmware.py [--write] [--boards a,b] [--models a,b] [--tflm FILE]

Wants gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm. Counts are executed
instructions and repeat exactly; % of hop takes one a clock cycle. A model that exceeds a board's
budgets is measured all the same, and marked. --write renews edgesep/firmware/figures.json, which
manifests quote and tests/test_firmware_table.py holds within 2%: do that when kernels or models
have changed. --tflm: what `benchmarks/tflm.py --json FILE` wrote, for the last columns; TFLM's
instructions are those of the network alone, its arena takes no front end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep.engine.exact import compile_model
from edgesep.errors import EdgesepError
from edgesep.firmware import Board, firmware_boards, generate, read_board
from edgesep.firmware.budget import exceeded, needs_of
from edgesep.firmware.measure import measure, tool_versions
from edgesep.models import find_model, list_models
from edgesep.settings import Settings

FIGURES = ROOT / "edgesep" / "firmware" / "figures.json"
HEAD = ("board", "model", "text", "weights", "data + bss", "RAM", "stack", "instructions a hop",
        "% of hop", "fits", "TFLM text", "TFLM arena", "TFLM instructions")  # fmt: skip


Tflm = dict[tuple[str, str], dict[str, Any]]


def read_tflm(path: Path | None) -> Tflm:
    """Return the rows of benchmarks/tflm.py by board and model."""
    rows = json.loads(path.read_text())["rows"] if path else []
    return {(row["board"], row["model"]): row for row in rows}


def measure_model(board: Board, model: str, folder: Path) -> dict[str, Any]:
    """Return the row of a model, as it stands in figures.json.

    folder: where a project of this processor keeps its objects from model to model.
    """
    path, card = find_model(model)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        generate(board.roomy(), str(path), Settings(), project)
        built = folder / "build"
        if built.exists():
            built.rename(project / "build")  # newer than the sources? make compares with these
            renew(project)
        figures = measure(project, board, card.contract.hop_samples)
        (project / "build").rename(built)
    return {"sha256": card.sha256, "cpu_flags": board.cpu_flags, **asdict(figures)}


def renew(project: Path) -> None:
    """Keep the core's objects, which are the same for each model, and no other."""
    for path in project.glob("build/**/*.o"):
        if path.parent.name == "core":
            path.touch()
        else:
            path.unlink()


def fits(board: Board, model: str) -> str:
    """Return "yes", or what a model has too much of for a board."""
    path, card = find_model(model)
    needs = needs_of(board, card.contract, compile_model(path, card))
    return ", ".join(f"no: {name}" for name in exceeded(board, needs)) or "yes"


def cells(board: Board, model: str, row: dict[str, Any], tflm: Tflm) -> list[str]:
    """Return a line of the table."""
    _, card = find_model(model)
    percent = 100 * row["instructions_per_hop"] / board.cycles_per_hop(card.contract.hop_samples)
    other = tflm.get((board.name, model), {})
    names = ("tflm_text_bytes", "tflm_arena_bytes", "tflm_instructions")
    return [
        board.name,
        model,
        *(f"{row[name]:,}" for name in ("text_bytes", "model_bytes")),
        f"{row['data_bytes'] + row['bss_bytes']:,}",
        *(f"{row[name]:,}" for name in ("memory_bytes", "stack_bytes", "instructions_per_hop")),
        f"{percent:.1f}",
        fits(board, model),
        *(f"{other[name]:,}" if name in other else "-" for name in names),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="renew figures.json")
    parser.add_argument("--boards", default=",".join(firmware_boards()), help="names [all]")
    parser.add_argument("--models", default=",".join(list_models()), help="names [all]")
    parser.add_argument("--tflm", type=Path, help="figures of TFLM + CMSIS-NN")
    arguments = parser.parse_args()
    tflm = read_tflm(arguments.tflm)
    document: dict[str, Any] = {"tools": tool_versions(), "boards": {}}
    measured: dict[tuple[str, str], dict[str, Any]] = {}  # boards with one processor share rows
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for board in map(read_board, arguments.boards.split(",")):
            folder = Path(scratch) / board.name
            folder.mkdir()
            for model in arguments.models.split(","):
                key = (board.cpu_flags, model)
                try:
                    row = measured.get(key) or measure_model(board, model, folder)
                except EdgesepError as error:
                    print(f"| {board.name} | {model} | {error} |", flush=True)
                    failed = True
                    continue
                measured[key] = row
                document["boards"].setdefault(board.name, {})[model] = row
                print("| " + " | ".join(cells(board, model, row, tflm)) + " |", flush=True)
    if arguments.write and not failed:
        FIGURES.write_text(json.dumps(document, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
