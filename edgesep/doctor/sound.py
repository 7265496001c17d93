"""Sound servers, devices, and what this user may do with them."""

from __future__ import annotations

import re
from pathlib import Path

from edgesep.config import Config
from edgesep.doctor.finding import Finding, System
from edgesep.machine import read_text

__all__ = ["check_devices", "check_permissions", "check_priority", "check_server", "check_service"]

_SOCKETS = {"pipewire-0": "PipeWire", "pulse/native": "PulseAudio or its PipeWire twin"}


def check_server(_: Config, system: System) -> Finding:
    """Say which sound servers run, and which cards the kernel has."""
    runtime = system.environment.get("XDG_RUNTIME_DIR", "")
    folder = system.root / runtime.lstrip("/") if runtime else None
    servers = [
        name
        for socket, name in _SOCKETS.items()
        if folder is not None and (folder / socket).exists()
    ]
    if system.environment.get("PULSE_SERVER"):
        servers.append(f"PulseAudio at {system.environment['PULSE_SERVER']}")
    text = read_text(system.root / "proc/asound/cards")
    cards = re.findall(r"^\s*\d+ \[[^]]*\]: (.+)$", text, re.M)
    found = f"{', '.join(servers) or 'no server'}; {', '.join(cards) or 'no cards'}"
    if not cards and not servers:
        fix = "plug in a microphone, or enable the HAT in /boot/firmware/config.txt; files work"
        return Finding("sound", "warn", found, fix)
    return Finding("sound", "ok", found)


def check_devices(config: Config, _: System) -> Finding:
    """Find the devices that the settings name, by PortAudio."""
    from edgesep.audio.devices import PortAudio
    from edgesep.audio.live_session import open_devices
    from edgesep.errors import DeviceError

    try:
        portaudio = PortAudio()
    except DeviceError as error:
        return Finding("devices", "warn", "no live sound; files and pipes work", str(error))
    try:
        ends = open_devices(portaudio.devices(), config.live)
    except DeviceError as error:
        fix = "plug it in, start the sound server, or name another: `edgesep devices`"
        return Finding("devices", "warn", str(error), fix)
    finally:
        portaudio.close()
    return Finding(
        "devices", "ok", f"{ends.source.name!r} at {ends.in_rate_hz} Hz to {ends.sink.name!r} at "
        f"{ends.out_rate_hz} Hz",
    )  # fmt: skip


def check_permissions(_: Config, system: System) -> Finding:
    """Check whether this user may open the sound cards."""
    devices = sorted((system.root / "dev/snd").glob("controlC*"))
    closed = [path.name for path in devices if not system.may_use(path)]
    if closed:
        fix = "sudo usermod -aG audio $USER, then log in again"
        return Finding("access", "warn", f"no permission for {', '.join(closed)}", fix)
    found = f"{len(devices)} sound cards may be opened" if devices else "no sound card to open"
    return Finding("access", "ok", found)


def check_priority(_: Config, system: System) -> Finding:
    """Check whether threads may ask for real-time priority, and the limit that is set."""
    from edgesep.audio.priority import realtime_allowed

    limit = _realtime_limit(system.root)
    text = "" if limit is None else f" (limit {limit})"
    if realtime_allowed():
        return Finding("priority", "ok", f"real-time priority is granted{text}")
    fix = 'put "@audio - rtprio 20" into /etc/security/limits.d/audio.conf, join group audio'
    found = f"no real-time priority{text}: other programs may interrupt"
    return Finding("priority", "warn", found, fix)


def _realtime_limit(root: Path) -> int | None:
    limits = read_text(root / "proc/self/limits")
    found = re.search(r"^Max realtime priority\s+(\d+)", limits, re.M)
    return int(found[1]) if found else None


def check_service(_: Config, __: System) -> Finding:
    """Say whether `edgesep service` runs."""
    from edgesep.service import status

    state = status()
    if state == "failed":
        return Finding("service", "fail", state, "journalctl --user -u edgesep")
    return Finding("service", "ok", state)
