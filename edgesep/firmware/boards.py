"""The boards that firmware is generated for, and the QEMU machines that stand in for them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOARDS", "Board"]


@dataclass(frozen=True)
class Board:
    """A class of boards. Budgets are those of a usual member, in bytes."""

    name: str
    like: str
    """Boards that it stands for."""
    cpu_flags: str
    """For arm-none-eabi-gcc."""
    clock_mhz: int
    flash_bytes: int
    ram_bytes: int
    machine: str
    """QEMU's name of a machine with this processor, and its memory below."""
    machine_flash: tuple[str, str]
    machine_ram: tuple[str, str]


_MPS2 = {"machine_flash": ("0x00000000", "4M"), "machine_ram": ("0x20000000", "4M")}

BOARDS = {
    board.name: board
    for board in (
        Board(
            "cortex_m4f", "STM32F4 class", "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard "
            "-mfpu=fpv4-sp-d16", 168, 1 << 20, 192 << 10, "mps2-an386", **_MPS2,
        ),
        Board(
            "cortex_m7", "STM32F746 class", "-mcpu=cortex-m7 -mthumb -mfloat-abi=hard "
            "-mfpu=fpv5-d16", 216, 1 << 20, 320 << 10, "mps2-an500", **_MPS2,
        ),
        Board(
            "cortex_m55", "Apollo510, Alif, Corstone-300 class",
            "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard", 250, 512 << 10, 512 << 10,
            "mps3-an547", ("0x10000000", "512K"), ("0x31000000", "4M"),
        ),
    )
}  # fmt: skip
