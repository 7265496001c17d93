"""What a check finds, and what checks look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgesep.machine import ROOT, Command, Sensors, run_command

__all__ = ["Finding", "System"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    """What was checked."""
    verdict: str
    """"ok", "warn" (works, but) or "fail"."""
    found: str
    """What there is."""
    fix: str = ""
    """What to do; empty when it is ok."""


def _may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class System:
    """The machine as the checks see it; tests hand in another one."""

    root: Path = ROOT
    """Where /proc, /sys, /dev and /etc are."""
    run: Command = run_command
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    may_use: Callable[[Path], bool] = _may_use
    """Tells whether this user may read and write a device."""

    @property
    def sensors(self) -> Sensors:
        """Clock, temperature and throttling."""
        return Sensors(self.root, self.run)
