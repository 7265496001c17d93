"""Check what edgesep needs on this machine: one line each, with what to do about it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgesep.config import Config
from edgesep.errors import EdgesepError

__all__ = ["Finding", "examine"]

SHARE_OK, SHARE_MOST = 0.25, 0.8  # of a hop's time, for the isolation of one
TRIAL_HOPS = 300


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


def examine(config: Config) -> Iterator[Finding]:
    """Yield the findings for these settings, one after the other."""
    checks: tuple[tuple[str, Callable[[Config], Finding]], ...] = (
        ("Python", _python),
        ("C core", _core),
        ("model", _model),
        ("speed", _speed),
        ("sound", _sound),
        ("priority", _priority),
        ("service", _service),
    )
    for what, check in checks:
        try:
            yield check(config)
        except EdgesepError as error:
            yield Finding(what, "fail", str(error), "see the message")


def _python(_: Config) -> Finding:
    import numpy as np

    found = f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {_machine()}"
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "warn", found, "edgesep is tested with Python 3.10 to 3.13")
    return Finding("Python", "ok", found)


def _machine() -> str:
    import platform

    model = Path("/proc/device-tree/model")
    try:
        return model.read_text().strip("\0\n")
    except OSError:
        return f"{platform.system()} {platform.machine()}"


def _core(_: Config) -> Finding:
    try:
        from edgesep import _core  # noqa: F401
    except ImportError:
        fix = "apt install gcc python3-dev, then install edgesep again"
        return Finding("C core", "warn", "not built: NumPy runs instead, slower", fix)
    return Finding("C core", "ok", "built")


def _model(config: Config) -> Finding:
    from edgesep.engine import open_engine
    from edgesep.models import find_model

    path, card = find_model(config.model)
    engine = open_engine(config.settings.engine, path, card)
    return Finding("model", "ok", f"{card.name} {card.version}, {card.latency_ms:g} ms; "
                   f"{engine.description}")  # fmt: skip


def _speed(config: Config) -> Finding:
    import numpy as np

    from edgesep.isolator import Isolator

    isolator = Isolator(config.model, config.settings)
    noise = np.random.default_rng(0).normal(0, 2000, isolator.hop_samples).astype(np.int16)
    times_s = []
    for _ in range(TRIAL_HOPS):
        started = time.perf_counter()
        isolator.process(noise)
        times_s.append(time.perf_counter() - started)
    hop_s = isolator.hop_samples / isolator.rate_hz
    late_s = float(np.percentile(times_s, 99))
    found = (
        f"a hop takes {1000 * float(np.median(times_s)):.2f} ms (p99 {1000 * late_s:.2f}) "
        f"of {1000 * hop_s:g}"
    )
    if late_s > SHARE_MOST * hop_s:
        return Finding("speed", "fail", found, "use a smaller model, or end other programs")
    if late_s > SHARE_OK * hop_s:
        return Finding("speed", "warn", found, "end other programs, or use a smaller model")
    return Finding("speed", "ok", found)


def _sound(config: Config) -> Finding:
    from edgesep.audio.devices import PortAudio
    from edgesep.audio.live_session import open_devices
    from edgesep.errors import DeviceError

    try:
        portaudio = PortAudio()
    except DeviceError as error:
        return Finding("sound", "warn", "no live sound; files and pipes work", str(error))
    try:
        ends = open_devices(portaudio.devices(), config.live)
    except DeviceError as error:
        fix = "plug it in, start the sound server, or name another: `edgesep devices`"
        return Finding("sound", "warn", str(error), fix)
    finally:
        portaudio.close()
    return Finding(
        "sound", "ok", f"{ends.source.name!r} at {ends.in_rate_hz} Hz to {ends.sink.name!r} at "
        f"{ends.out_rate_hz} Hz",
    )  # fmt: skip


def _priority(_: Config) -> Finding:
    from edgesep.audio.priority import realtime_allowed

    if realtime_allowed():
        return Finding("priority", "ok", "real-time priority is granted")
    fix = 'put "@audio - rtprio 20" into /etc/security/limits.d/audio.conf, join group audio'
    return Finding("priority", "warn", "no real-time priority: other programs may interrupt", fix)


def _service(_: Config) -> Finding:
    from edgesep.service import status

    state = status()
    if state == "failed":
        return Finding("service", "fail", state, "journalctl --user -u edgesep")
    return Finding("service", "ok", state)
