"""The board, its system, and whether it runs at full clock."""

from __future__ import annotations

from edgesep.config import Config
from edgesep.doctor.finding import Finding, System
from edgesep.machine import read_machine

__all__ = ["check_board", "check_clock", "check_heat", "check_system"]

HOT_C = 80.0
"""A Raspberry Pi lowers its clock from here on; others do so a little later."""


def check_board(_: Config, system: System) -> Finding:
    """Say what board and processor this is."""
    machine = read_machine(system.root)
    board = machine.board or "computer"
    found = f"{board}: {machine.cores} x {machine.cpu}, {machine.memory_mb} MB"
    if 0 < machine.memory_mb < 256:
        fix = "use --engine exact, which takes the least, and one model at a time"
        return Finding("board", "warn", found, fix)
    return Finding("board", "ok", found)


def check_system(_: Config, system: System) -> Finding:
    """Say what system runs."""
    machine = read_machine(system.root)
    return Finding("system", "ok", f"{machine.os}, {machine.kernel}, {machine.architecture}")


def check_clock(_: Config, system: System) -> Finding:
    """Check the governor of the processor's clock."""
    governor = read_machine(system.root).governor
    mhz = system.sensors.read().mhz
    clock = "" if mhz is None else f", {mhz:.0f} MHz now"
    if not governor:
        return Finding("clock", "ok", f"no governor{clock}")
    if governor == "powersave":
        fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        return Finding("clock", "warn", f"governor {governor}{clock}", fix)
    return Finding("clock", "ok", f"governor {governor}{clock}")


def check_heat(_: Config, system: System) -> Finding:
    """Check temperature, and what a Raspberry Pi's firmware has seen."""
    reading = system.sensors.read()
    found = reading.to_text() if reading.celsius or reading.throttled is not None else "no sensors"
    flags = reading.throttled or ()
    if any("under-voltage" in flag for flag in flags):
        fix = "use the power supply that was made for the board, and a short cable"
        return Finding("heat", "warn", found, fix)
    if flags or (reading.celsius or 0) >= HOT_C:
        fix = "cool the board; `edgesep bench --minutes 20` shows how much it slows down"
        return Finding("heat", "warn", found, fix)
    return Finding("heat", "ok", found)
