"""Firmware: a model and a board give a C project with the bits of the exact engine."""

from edgesep.firmware.boards import Board, firmware_boards, read_board
from edgesep.firmware.part import Part
from edgesep.firmware.project import generate

__all__ = ["Board", "Part", "firmware_boards", "generate", "read_board"]
