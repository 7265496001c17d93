"""The command `edgesep firmware`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_firmware_command"]

NOTES = """\
The folder gets a C99 project with no dependencies: core, weights, a two-function API, an example
for QEMU and a Makefile. Its output is byte for byte that of `edgesep file --engine exact`.

  edgesep firmware --board cortex_m55 -o firmware/
  make -C firmware qemu IN=in.wav OUT=out.wav     needs gcc-arm-none-eabi, qemu-system-arm

boards: cortex_m4f, cortex_m7, cortex_m55
"""


def add_firmware_command(commands: Any) -> None:
    """Add the command to the parser of `edgesep`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "firmware",
        help="write a C project for a Cortex-M board",
        description="Write a C project for a Cortex-M board.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = command.add_argument
    add("--board", required=True, metavar="NAME", help="board to write it for")
    add("-o", "--out", required=True, metavar="DIR", help="folder to write, new or empty")
    add("--model", metavar="NAME", help="model name or .tflite path (default: small-16ms)")
    add("--max-attenuation-db", type=float, metavar="DB",
        help="turn background down by no more than this, 0 to 100 dB (default: 40)")  # fmt: skip
    add("--wet", type=float, metavar="SHARE",
        help="share of the isolated signal, 0 (input) to 1 (default: 1)")  # fmt: skip
    add("--output", metavar="WHICH", help="speech or background (default: speech)")
    add("--latency-ms", type=float, metavar="MS",
        help="latency of the frame path, at a price in quality (default: the model's)")  # fmt: skip
    command.set_defaults(run=_run, known=command)


def _run(options: argparse.Namespace) -> int:
    from edgesep.firmware import generate
    from edgesep.models import DEFAULT_MODEL
    from edgesep.settings import Settings

    names = ("max_attenuation_db", "wet", "output", "latency_ms")
    chosen = {name: getattr(options, name) for name in names}
    settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
    generate(options.board, options.model or DEFAULT_MODEL, settings, Path(options.out))
    return 0
