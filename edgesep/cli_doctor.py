"""The command `edgesep doctor`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgesep.cli_live import add_layers, load_config
from edgesep.errors import one_line

if TYPE_CHECKING:
    from edgesep.doctor import Finding

__all__ = ["add_doctor_command"]

NOTES = """\
  edgesep doctor                        for the default settings
  edgesep doctor live.yaml              for those of a file

exit status: 0 all ok or warnings, 1 something fails, 2 wrong usage
"""


def add_doctor_command(commands: Any) -> None:
    """Add the command to the parser of `edgesep`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="check what edgesep needs on this machine",
        description="Check what edgesep needs on this machine.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_layers(command)
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=_run, known=command)


def _run(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.doctor import examine

    findings = []
    for finding in examine(load_config(options)):
        findings.append(finding)
        if not options.json:
            _print(finding)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def _print(finding: Finding) -> None:
    """Print a finding in the lines it takes on this terminal."""
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size((100, 24)).columns, 60)
    head = f"{finding.verdict:<4}  {finding.what:<8}  "
    for mark, text in ((head, finding.found), (f"{'':16}-> ", finding.fix)):
        if text:
            print(
                textwrap.fill(
                    one_line(text), width, initial_indent=mark, break_long_words=False,
                    break_on_hyphens=False, subsequent_indent=" " * len(mark),
                )
            )  # fmt: skip
