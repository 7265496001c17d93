"""What machine this is, and how warm and how fast it runs: /proc, /sys, and a Pi's vcgencmd."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Command", "Machine", "Reading", "Sensors", "read_machine", "run_command"]

ROOT = Path("/")
Command = Callable[[list[str]], "str | None"]
"""Runs a program and returns what it printed; None where it is missing or fails."""

_ARM_PARTS = {  # /proc/cpuinfo names the cores of Arm processors by number
    "0xb76": "ARM1176", "0xc07": "Cortex-A7", "0xd03": "Cortex-A53", "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
}  # fmt: skip
_THROTTLED = {  # bit of `vcgencmd get_throttled`: Raspberry Pi documentation, vcgencmd
    0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit",
    16: "under-voltage before", 17: "clock capped before", 18: "throttled before",
    19: "soft temperature limit before",
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A machine and what runs on it; empty where it cannot be found out."""

    board: str
    """Of a single-board computer, as its device tree says; else the product's name."""
    cpu: str
    cores: int
    architecture: str
    memory_mb: int
    os: str
    kernel: str
    governor: str
    """Of the first core's clock."""
    python: str
    numpy: str
    runtime: str
    """Package and version of the TFLite runtime."""
    core: str
    """"C", or "NumPy" where the core is not built."""
    edgesep: str


@dataclass(frozen=True)
class Reading:
    """The state of a machine at one moment; None where it does not say."""

    mhz: float | None = None
    """The fastest core's clock."""
    celsius: float | None = None
    """The warmest sensor of the processor, or of anything where none names it."""
    throttled: tuple[str, ...] | None = None
    """What a Raspberry Pi's firmware complains about, now or "before" (since it started)."""

    def to_text(self) -> str:
        """Return the reading for people."""
        parts = [] if self.mhz is None else [f"{self.mhz:.0f} MHz"]
        parts += [] if self.celsius is None else [f"{self.celsius:.0f} C"]
        parts += [] if self.throttled is None else [", ".join(self.throttled) or "never throttled"]
        return ", ".join(parts) or "no sensors"


def read_machine(root: Path = ROOT) -> Machine:
    """Describe this machine. root: where its files are, for tests."""
    import numpy as np

    from edgesep import __version__, native
    from edgesep.engine.runtime import runtime_version
    from edgesep.errors import EngineError

    try:
        runtime = runtime_version()
    except EngineError:
        runtime = "none"
    memory = re.search(r"^MemTotal:\s*(\d+) kB", read_text(root / "proc/meminfo"), re.M)
    return Machine(
        board=_board(root),
        cpu=_cpu(root),
        cores=os.cpu_count() or 1,
        architecture=platform.machine(),
        memory_mb=int(memory[1]) // 1024 if memory else 0,
        os=_os(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        governor=read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        python=platform.python_version(),
        numpy=np.__version__,
        runtime=runtime,
        core="C" if native.available() else "NumPy",
        edgesep=__version__,
    )


@dataclass(frozen=True)
class Sensors:
    """Reads clock and temperature."""

    root: Path = ROOT
    run: Command = field(default=lambda arguments: run_command(arguments))

    def read(self) -> Reading:
        """Return what the machine says now."""
        return Reading(self._mhz(), self._celsius(), self._throttled())

    def _mhz(self) -> float | None:
        names = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
        clocks = [_number(path) for path in self.root.glob(names)]
        found = [clock / 1000 for clock in clocks if clock is not None]
        if found:
            return max(found)
        rates = re.findall(r"^cpu MHz\s*: ([\d.]+)", read_text(self.root / "proc/cpuinfo"), re.M)
        return max(map(float, rates), default=None)

    def _celsius(self) -> float | None:
        found: dict[bool, list[float]] = {True: [], False: []}
        for zone in self.root.glob("sys/class/thermal/thermal_zone[0-9]*"):
            value = _number(zone / "temp")
            if value is not None:
                is_cpu = re.search("cpu|soc|pkg", read_text(zone / "type"), re.I) is not None
                found[is_cpu].append(value / 1000)
        return max(found[True] or found[False], default=None)

    def _throttled(self) -> tuple[str, ...] | None:
        flags = re.fullmatch(
            r"throttled=0x([0-9a-fA-F]+)", self.run(["vcgencmd", "get_throttled"]) or ""
        )
        if flags is None:
            return None
        bits = int(flags[1], 16)
        return tuple(words for bit, words in _THROTTLED.items() if bits >> bit & 1)


def run_command(arguments: list[str]) -> str | None:
    """Run a program for two seconds at most; see `Command`."""
    program = shutil.which(arguments[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments[1:]], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def read_text(path: Path) -> str:
    """Return the text of a file of the kernel's, without what surrounds it; empty without one."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(read_text(path))
    except ValueError:
        return None


def _board(root: Path) -> str:
    for name in ("proc/device-tree/model", "sys/class/dmi/id/product_name"):
        text = read_text(root / name)
        if text:
            return text
    return ""


def _cpu(root: Path) -> str:
    text = read_text(root / "proc/cpuinfo")
    name = re.search(r"^model name\s*: (.+)$", text, re.M)
    if name:
        return name[1].strip()
    parts = dict.fromkeys(re.findall(r"^CPU part\s*: (\w+)$", text, re.M))
    if parts:
        return " + ".join(_ARM_PARTS.get(part, f"Arm part {part}") for part in parts)
    return platform.processor() or platform.machine()


def _os(root: Path) -> str:
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release"), re.M)
    return name[1] if name else platform.system()
