"""The command `edgesep firmware`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.errors import SettingsError

if TYPE_CHECKING:
    from edgesep.settings import Settings

__all__ = ["add_firmware_command"]

NOTES = """\
The folder gets a C99 project with no dependencies: core, weights, a two-function API, an example
for QEMU and a Makefile. Its output is byte for byte that of `edgesep file --engine exact`.

  edgesep firmware --board cortex_m55 -o firmware/
  make -C firmware qemu IN=in.wav OUT=out.wav     needs gcc-arm-none-eabi, qemu-system-arm

  edgesep firmware --board cortex_m55_ethos_u55 --npu ethos-u55-128 -o firmware/
  edgesep firmware --for tflm -o tflm/

--npu adds the folder npu/: the model compiled by Vela (pip install 'edgesep[npu]') and the code
that runs it on an Ethos-U under TensorFlow Lite for Microcontrollers (TFLM); models with operators
that would stay on the CPU are refused. --for tflm writes the model for TFLM on any processor: its
bytes, its states, the operators to register, the size of the arena, and the frame path.

boards: cortex_m4f, cortex_m7, cortex_m33, cortex_m55, cortex_m55_ethos_u55, or a .yaml file like
those of firmware_configs/. A model that does not fit the board's flash, RAM or clock is refused,
with a table. --measure builds the project and runs it under QEMU for the figures in MANIFEST.json;
without it they are those of the release, or null.
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
    add("--board", metavar="NAME", help="board, or a .yaml file that describes one")
    add("--for", dest="target", choices=("board", "tflm"), default="board",
        help="a project for the board, or the model for TFLM (default: board)")  # fmt: skip
    add("--npu", metavar="NAME", help="also for an Ethos-U, as Vela names it: ethos-u55-128 ..")
    add("-o", "--out", required=True, metavar="DIR", help="folder to write, new or empty")
    add(
        "--model",
        metavar="NAME",
        help="model name or .tflite path (default: the board's; for tflm: small-16ms)",
    )
    add("--max-attenuation-db", type=float, metavar="DB",
        help="turn background down by no more than this, 0 to 100 dB (default: 40)")  # fmt: skip
    add("--wet", type=float, metavar="SHARE",
        help="share of the isolated signal, 0 (input) to 1 (default: 1)")  # fmt: skip
    add("--output", metavar="WHICH", help="speech or background (default: speech)")
    add("--latency-ms", type=float, metavar="MS",
        help="latency of the frame path, at a price in quality (default: the model's)")  # fmt: skip
    add("--measure", action="store_true",
        help="build and run it under QEMU, and put the figures into MANIFEST.json")  # fmt: skip
    command.set_defaults(run=_run, known=command)


def _run(options: argparse.Namespace) -> int:
    from edgesep.firmware import generate
    from edgesep.firmware.budget import BudgetError
    from edgesep.settings import Settings

    names = ("max_attenuation_db", "wet", "output", "latency_ms")
    chosen = {name: getattr(options, name) for name in names}
    settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
    if options.target == "tflm":
        return _run_tflm(options, settings)
    if options.board is None:
        raise SettingsError("--board is missing: name a board, or say --for tflm")
    makers = []
    if options.npu is not None:
        from edgesep.firmware.npu import npu_part

        makers.append(npu_part(options.npu, settings))
    try:
        generate(
            options.board,
            options.model,
            settings,
            Path(options.out),
            measured=options.measure,
            part_makers=makers,
        )
    except BudgetError as error:
        print(error.table, file=sys.stderr)
        raise
    return 0


def _run_tflm(options: argparse.Namespace, settings: Settings) -> int:
    from edgesep.firmware.tflm import generate_tflm
    from edgesep.models import DEFAULT_MODEL

    for name in ("board", "npu", "measure"):
        if getattr(options, name):
            raise SettingsError(f"--{name} does not go with --for tflm: leave one of them out")
    generate_tflm(options.model or DEFAULT_MODEL, settings, Path(options.out))
    return 0
