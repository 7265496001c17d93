"""The boards that firmware is generated for: firmware_configs/*.yaml with a section `firmware:`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgesep.config import FIRMWARE_SECTION, board_files, is_firmware_board, list_boards
from edgesep.errors import SettingsError, unknown_name
from edgesep.settings import check_range
from edgesep.yaml_file import read_keys

__all__ = ["SOUND_DRIVERS", "Board", "Machine", "firmware_boards", "read_board"]

NONE = "none"
SOUND_DRIVERS = ("stm32_i2s", "stm32_sai", "cmsis_sai")
"""The example/dma_*.c that a board may ask for."""
_SETTINGS = "settings of a computer: `edgesep run` and `edgesep file --config` take them"
_LARGEST_KB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """A machine of qemu-system-arm with the board's processor."""

    machine: str
    """QEMU's name of it."""
    flash_origin: int
    flash_kb: int
    ram_origin: int
    ram_kb: int
    tick_ns: float
    """Of its SysTick."""


@dataclass(frozen=True)
class Board:
    """A class of boards. Budgets are those of a usual member; 1 KB is 1024 bytes."""

    name: str
    like: str
    """Boards that it stands for."""
    clock_mhz: float
    flash_kb: int
    ram_kb: int
    instructions_percent: float
    """Most instructions a hop may take, of the clock cycles in a hop."""
    model: str
    """What is generated when no model is named."""
    latency_ms: float | None
    """As `Settings.latency_ms`."""
    cpu_flags: str
    """For arm-none-eabi-gcc."""
    sound: str
    """One of SOUND_DRIVERS."""
    npu: str | None
    """Vela's name of the Ethos-U on the chip."""
    notes: str
    """What its owner should know."""
    qemu: Machine | None

    @property
    def flash_bytes(self) -> int:
        """Budget of code, weights and tables."""
        return self.flash_kb * 1024

    @property
    def ram_bytes(self) -> int:
        """Budget of state, activations and stack."""
        return self.ram_kb * 1024

    def roomy(self) -> Board:
        """Return the board with budgets that every model keeps: for measuring what is too large."""
        return replace(
            self, flash_kb=1 << 20, ram_kb=1 << 20, instructions_percent=100, clock_mhz=9999
        )

    def cycles_per_hop(self, hop_samples: int) -> float:
        """Clock cycles in a hop of so many samples at 16 kHz."""
        return self.clock_mhz * 1e6 * hop_samples / 16000


_NUMBERS = {  # key -> smallest, largest
    "clock_mhz": (1, 10_000),
    "flash_kb": (1, _LARGEST_KB),
    "ram_kb": (1, _LARGEST_KB),
    "instructions_percent": (1, 100),
    "qemu.flash_origin": (0, (1 << 32) - 1),
    "qemu.flash_kb": (1, _LARGEST_KB),
    "qemu.ram_origin": (0, (1 << 32) - 1),
    "qemu.ram_kb": (1, _LARGEST_KB),
    "qemu.tick_ns": (1, 1000),
}
_WHOLE = {name for name in _NUMBERS if name.endswith(("_kb", "_origin"))}
_BOARD_KEYS = [f.name for f in fields(Board) if f.name not in ("name", "qemu")]
_KEYS = [f"{FIRMWARE_SECTION}.{name}" for name in _BOARD_KEYS]
_KEYS += [f"{FIRMWARE_SECTION}.qemu.{field.name}" for field in fields(Machine)]


def firmware_boards() -> list[str]:
    """Names that `edgesep firmware --board` takes, sorted."""
    return sorted(name for name, path in board_files().items() if is_firmware_board(path))


def read_board(name: str) -> Board:
    """Return the board of that name, or of a file whose path is given.

    Raises SettingsError for an unknown name and, with line and column, for what is wrong in the
    file.
    """
    if name.endswith(".yaml"):
        return _read(Path(name).expanduser())
    if name in list_boards():
        raise SettingsError(f"{name} is no board for firmware: give {_listed()}")
    if name not in firmware_boards():
        raise SettingsError(unknown_name("board", name, firmware_boards()))
    return _read(board_files()[name])


def _read(path: Path) -> Board:
    foreign = dict.fromkeys(("model", "separation", "audio", "safety"), _SETTINGS)
    keys = {
        key.removeprefix(f"{FIRMWARE_SECTION}."): value
        for key, value in read_keys(path, _KEYS, _checked, foreign).items()
    }
    machine = _machine(path, keys)
    missing = [name for name in _BOARD_KEYS if name not in keys]
    if missing:
        raise SettingsError(f"{path}: {FIRMWARE_SECTION}.{missing[0]} is missing: give it")
    values: dict[str, Any] = {name: keys[name] for name in _BOARD_KEYS}
    return Board(name=path.stem, qemu=machine, **values)


def _machine(path: Path, keys: dict[str, object]) -> Machine | None:
    values: dict[str, Any] = {f.name: keys.get(f"qemu.{f.name}") for f in fields(Machine)}
    if values["machine"] == NONE:
        return None
    for name, value in values.items():
        if value is None:
            raise SettingsError(
                f"{path}: {FIRMWARE_SECTION}.qemu.{name} is missing: give it, or machine: none"
            )
    return Machine(**values)


def _checked(key: str, value: object) -> object:
    """Return the value of a key as `Board` and `Machine` hold it."""
    name = key.removeprefix(f"{FIRMWARE_SECTION}.")
    if name in _NUMBERS:
        return _number(name, value)
    if name == "latency_ms":
        if value is not None:
            check_range(name, value, 0.0, 1000.0)
        return value
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise SettingsError(f"{name} is {value!r}: give a line of text")
    if name == "sound" and value not in SOUND_DRIVERS:
        raise SettingsError(unknown_name(name, value, SOUND_DRIVERS))
    return None if name == "npu" and value == NONE else value


def _number(name: str, value: object) -> object:
    low, high = _NUMBERS[name]
    check_range(name, value, low, high)
    if name in _WHOLE and not isinstance(value, int):
        raise SettingsError(f"{name} is {value}: give a whole number")
    return value


def _listed() -> str:
    return ", ".join(firmware_boards())
