"""Print the tables of docs/tflm.md that want no board: TFLM's arenas and Vela's estimates.

    python benchmarks/npu.py [--models a,b]

Of every shipped model unless some are named. Wants the extra npu (Vela), and for the least arena
tflite-micro (`pip install --pre tflite-micro`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep.contract import RATE_HZ
from edgesep.errors import EdgesepError
from edgesep.firmware.layout import read_layout
from edgesep.firmware.npu import compile_for_npu
from edgesep.models import find_model, list_models

NPUS = ("ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256")


def least_arena(model: Path) -> str:
    """Return the bytes of the smallest arena in which TFLM's interpreter runs a model."""
    command = [sys.executable, str(ROOT / "tests" / "tflm_arena.py"), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{int(done.stdout.split()[-1]):,}" if done.returncode == 0 else "no tflite-micro"


def arenas(names: list[str]) -> Iterator[str]:
    """Yield the rows of stated and least arenas."""
    yield "| model | stated | least, TFLM on x86-64 |\n|---|---:|---:|"
    for name in names:
        path, _ = find_model(name)
        stated = read_layout(path.read_bytes()).arena_bytes()
        yield f"| {name} | {stated:,} | {least_arena(path)} |"


def estimates(names: list[str]) -> Iterator[str]:
    """Yield the rows of Vela's estimates."""
    yield "| model | NPU | cycles a hop | of a hop | SRAM | flash |\n|---|---|---:|---:|---:|---:|"
    for name in names:
        path, card = find_model(name)
        for npu in NPUS:
            found = compile_for_npu(path.read_bytes(), npu, name).estimate
            hop_s = card.contract.hop_samples / RATE_HZ
            share = found.cycles_per_hop / (found.npu_clock_mhz * 1e6 * hop_s)
            yield (
                f"| {name} | {npu} | {found.cycles_per_hop:,} | {share:.1%} "
                f"| {found.sram_bytes:,} | {found.flash_bytes:,} |"
            )


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(list_models()), help="names [all]")
    names = parser.parse_args().models.split(",")
    try:
        for row in (*arenas(names), "", *estimates(names)):
            print(row, flush=True)
    except EdgesepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
