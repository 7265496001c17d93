"""Check what edgesep needs on this machine: one line each, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgesep.config import Config
from edgesep.doctor import board, software, sound
from edgesep.doctor.finding import Finding, System
from edgesep.errors import EdgesepError

__all__ = ["Finding", "System", "examine"]

Check = Callable[[Config, System], Finding]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("board", board.check_board),
    ("system", board.check_system),
    ("clock", board.check_clock),
    ("heat", board.check_heat),
    ("Python", software.check_python),
    ("packages", software.check_runtime),
    ("C core", software.check_core),
    ("engine", software.check_model),
    ("speed", software.check_speed),
    ("Edge TPU", software.check_edge_tpu),
    ("sound", sound.check_server),
    ("devices", sound.check_devices),
    ("access", sound.check_permissions),
    ("priority", sound.check_priority),
    ("service", sound.check_service),
)


def examine(config: Config, system: System | None = None) -> Iterator[Finding]:
    """Yield the findings for these settings, one after the other.

    system: the machine to look at; None: this one.
    """
    for what, check in CHECKS:
        try:
            yield check(config, system or System())
        except EdgesepError as error:
            yield Finding(what, "fail", str(error), "see the message")
