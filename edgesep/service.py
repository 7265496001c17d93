"""The systemd user unit of `edgesep run`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgesep.errors import EdgesepError, SettingsError

__all__ = ["install", "remove", "status", "unit_path", "unit_text"]

NAME = "edgesep.service"
UNIT = """\
# Made by `edgesep service install`, which writes it again.
[Unit]
Description=edgesep: isolated speech from the microphone
After=pipewire.service pulseaudio.service sound.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=exec
WorkingDirectory={folder}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
TimeoutStopSec=5
MemoryMax=300M
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def unit_path() -> Path:
    """Return where the user's units are."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "systemd" / "user" / NAME


def unit_text(config: Path | None, board: str | None, assignments: Sequence[str]) -> str:
    """Return the unit; every path in it is absolute.

    Raises SettingsError when a word cannot stand in a unit.
    """
    command = [sys.executable, "-m", "edgesep", "run", "--quiet"]
    if config is not None:
        command.append(str(config.resolve()))
    if board:
        command += ["--board", board]
    for assignment in assignments:
        command += ["--set", assignment]
    folder = str(Path.cwd()).replace("%", "%%")  # relative paths in the settings stay right
    return UNIT.format(folder=folder, command=" ".join(_quoted(word) for word in command))


def install(config: Path | None, board: str | None, assignments: Sequence[str]) -> Path:
    """Write the unit, and enable and start it. Raises EdgesepError; returns the unit's path."""
    text = unit_text(config, board, assignments)
    path = unit_path()
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EdgesepError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        _systemctl("daemon-reload")
    except EdgesepError:  # no systemd for this user: leave things as they were
        if before is None:
            path.unlink()
        else:
            path.write_text(before, encoding="utf-8")
        raise
    _systemctl("enable", NAME)
    _systemctl("restart", NAME)
    return path


def remove() -> Path:
    """Stop, disable and remove the unit. Raises EdgesepError; returns the unit's path."""
    path = unit_path()
    if not path.exists():
        raise EdgesepError(f"{path}: there is no unit to remove")
    _systemctl("disable", "--now", NAME)
    path.unlink()
    _systemctl("daemon-reload")
    return path


def status() -> str:
    """Return "active", "failed", "inactive" or "not installed"."""
    if not unit_path().exists():
        return "not installed"
    if shutil.which("systemctl") is None:
        return "no systemd here"
    done = subprocess.run(
        ["systemctl", "--user", "is-active", NAME], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip() or "unknown"


def _systemctl(*arguments: str) -> None:
    try:
        done = subprocess.run(
            ["systemctl", "--user", *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise EdgesepError("systemctl is not there: this machine does not run systemd") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise EdgesepError(f"systemctl --user {' '.join(arguments)} failed: {reason}")


def _quoted(word: str) -> str:
    """Quote a word for ExecStart: `%` and `$` mean something there."""
    if not word.isprintable():
        raise SettingsError(f"{word!r} cannot stand in a systemd unit: it holds control characters")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(c in word for c in " \"'\\;") else word
