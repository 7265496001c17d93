"""The commands `edgesep coral check | compile | dockerfile | probe`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.cli_actions import Actions

if TYPE_CHECKING:
    from edgesep.coral.check import Report

__all__ = ["add_coral_command"]

NOTES = """\
  edgesep coral check small-16ms          what Google's compiler would map, and what would stop it
  edgesep coral compile small-16ms        compile it, where you have that compiler (x86-64 Linux)
  edgesep coral dockerfile                a container with the compiler, to build once
  edgesep coral probe                     open the Edge TPU of this machine
  edgesep file noisy.wav -o clean.wav --engine edgetpu          or edgetpu:usb, edgetpu:pci:1 ..

Compiled models are looked for beside the model and in ~/.local/share/edgesep/coral (XDG_DATA_HOME),
or the folder that EDGESEP_CORAL names: copy NAME_edgetpu.tflite and .json there on the board.

exit status: 0 all is well, 1 something does not map, compile or open, 2 wrong usage
"""


def add_coral_command(commands: Any) -> None:
    """Add the command to the parser of `edgesep`."""
    actions = Actions(commands, "coral", "check and compile models for Coral's Edge TPU", NOTES)
    check = actions.add("check", "apply the compiler's published rules to a model", _check)
    check.add_argument("model", metavar="MODEL", help="model name, or any .tflite file")
    check.add_argument("--json", action="store_true", help="as JSON")
    compile_ = actions.add("compile", "compile a model with Google's compiler", _compile)
    compile_.add_argument("model", metavar="MODEL", help="model name or .tflite path")
    compile_.add_argument(
        "-o", "--out", type=Path, metavar="DIR",
        help="folder to write to (default: the folder of compiled models)",
    )  # fmt: skip
    compile_.add_argument(
        "--with", dest="way", metavar="WAY",
        help="native, docker or podman (default: the first that is there)",
    )  # fmt: skip
    actions.add("dockerfile", "print a Dockerfile for the compiler", _dockerfile)
    probing = actions.add("probe", "open the Edge TPU of this machine", _probe)
    probing.add_argument(
        "--device", default="", metavar="WHICH", help="usb, pci, usb:0, pci:1, :0 .. (default: any)"
    )
    probing.add_argument("--json", action="store_true", help="as JSON")


def _check(options: argparse.Namespace) -> int:
    import json

    from edgesep.coral.check import check_model

    report = check_model(options.model)
    print(json.dumps(report.as_json(), indent=2) if options.json else _table(report))
    return 0 if report.all_map else 1


def _table(report: Report) -> str:
    from edgesep.errors import one_line

    width = max((len(v.kind) for v in report.verdicts), default=0)
    lines = []
    for v in report.verdicts:
        about = f"{v.tensor!r} {v.reason}" if v.reason else v.output
        lines.append(one_line(f"{v.index:4} {v.kind:<{width}}  {v.verdict:<11}  {about}"))
    lines += [f"note: {one_line(note)}" for note in report.notes]
    total, mapped = len(report.verdicts), report.counts.get("maps", 0)
    stop = next((v for v in report.verdicts if v.verdict == "stops"), None)
    end = f"{one_line(report.path)}: {mapped} of {total} operations map by the published rules"
    if stop is not None:
        end += one_line(
            f"; the first that does not is {stop.index}, {stop.kind}: {stop.tensor!r} {stop.reason}"
        )
    return "\n".join([*lines, end])


def _compile(options: argparse.Namespace) -> int:
    from edgesep.coral.compiler import compile_model
    from edgesep.coral.record import coral_folder

    made = compile_model(options.model, options.out or coral_folder(), options.way)
    print(
        f"{made.path}: all {made.log.mapped} operations are on the Edge TPU "
        f"(compiler {made.log.version or 'of unknown version'})"
    )
    return 0


def _dockerfile(_: argparse.Namespace) -> int:
    from edgesep.coral.compiler import DOCKERFILE

    print(DOCKERFILE, end="")
    return 0


def _probe(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.coral import probe
    from edgesep.engine import EDGETPU, engine_problem
    from edgesep.errors import SettingsError, one_line

    problem = engine_problem(f"{EDGETPU}:{options.device}") if options.device else None
    if problem:
        raise SettingsError(problem)
    found = probe(device=options.device)
    if options.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(f"library: {found.library or 'none'} {found.version}".rstrip())
        print(f"runtime: {found.runtime or 'not asked'}")
        print(f"devices: {', '.join(found.devices) or 'none in sight'}")
        print(f"works: {'yes' if found.works else one_line(f'no: {found.reason}')}")
    return 0 if found.works else 1
