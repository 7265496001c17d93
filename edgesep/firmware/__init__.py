"""Firmware: a model and a board give a C project with the bits of the exact engine."""

from edgesep.firmware.boards import BOARDS
from edgesep.firmware.project import generate

__all__ = ["BOARDS", "generate"]
