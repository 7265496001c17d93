"""Python, its packages, and the engine that runs."""

from __future__ import annotations

import re
import struct
import sys
import time
from collections.abc import Mapping
from importlib import metadata

from edgesep import native
from edgesep.config import Config
from edgesep.doctor.finding import Finding, System
from edgesep.engine.runtime import RUNTIME_VARIABLE
from edgesep.machine import read_machine

__all__ = [
    "check_core",
    "check_edge_tpu",
    "check_model",
    "check_python",
    "check_runtime",
    "check_speed",
    "judge_python",
    "judge_runtime",
    "judge_speed",
    "versions",
]

SHARE_OK, SHARE_MOST = 0.25, 0.8  # of a hop's time, for the isolation of one
TRIAL_HOPS = 300
BUSY = 0.05  # share of the trial that other programs took, from which on they are the reason
PYTHONS = (3, 10), (3, 13)
NUMPYS = (1, 26), (3,)
LAST_TFLITE_RUNTIME = (2, 14, 0)
_RUNTIMES = ("ai-edge-litert", "tflite-runtime")  # in the order in which they are tried
_PACKAGES = ("numpy", *_RUNTIMES, "pycoral")
_ARM32 = ("armv6l", "armv7l", "armv8l")


def versions() -> dict[str, str]:
    """Return the versions of installed packages that are known to matter, and Python's."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check_python(_: Config, system: System) -> Finding:
    """Check the interpreter, and how many bits it has."""
    return judge_python(versions()["python"], read_machine(system.root).architecture, _bits())


def judge_python(version: str, machine: str, bits: int) -> Finding:
    """See `check_python`. machine: as the kernel says; bits: of a pointer."""
    found = f"Python {version}, {bits} bits"
    if not PYTHONS[0] <= _numbers(version)[:2] <= PYTHONS[1]:
        return Finding("Python", "warn", found, "edgesep is tested with Python 3.10 to 3.13")
    if bits == 32 and machine == "aarch64":
        fix = "a 64-bit system runs the engine 'fast'; here `--engine exact` does"
        return Finding("Python", "warn", f"{found}, on a 64-bit kernel", fix)
    return Finding("Python", "ok", found)


def check_runtime(config: Config, system: System) -> Finding:
    """Check NumPy, the TFLite runtime, and pairings that are known to fail."""
    machine = read_machine(system.root).architecture
    core = native.available()
    chosen = system.environment.get(RUNTIME_VARIABLE, "")
    return judge_runtime(versions(), machine, config.settings.engine, core=core, chosen=chosen)


def judge_runtime(
    found: Mapping[str, str], machine: str, engine: str, *, core: bool = True, chosen: str = ""
) -> Finding:
    """See `check_runtime`.

    found: versions by package. core: whether the C core is built. chosen: the runtime that
    EDGESEP_RUNTIME names; empty: the first that is installed.
    """
    runtimes = [name for name in _RUNTIMES if name in found and chosen in ("", name)]
    text = ", ".join(f"{name} {found[name]}" for name in ("numpy", *runtimes) if name in found)
    exact = engine == "exact" and core
    numpy = _numbers(found.get("numpy", "0"))
    if not NUMPYS[0] <= numpy < NUMPYS[1]:
        return Finding("packages", "fail", text, "pip install 'numpy>=1.26,<3'")
    if not runtimes:
        fix = "pip install ai-edge-litert"
        if chosen:
            fix = f"unset {RUNTIME_VARIABLE}, or pip install {chosen}"
        elif machine in _ARM32:
            fix = "--engine exact; or pip install tflite-runtime 'numpy<2' (Python 3.10, 3.11)"
        if exact or (engine == "auto" and core):
            return Finding("packages", "ok", f"{text}, no TFLite runtime: exact needs none")
        return Finding("packages", "fail", f"{text}, no TFLite runtime", fix)
    old = runtimes == ["tflite-runtime"] and _numbers(found[runtimes[0]]) <= LAST_TFLITE_RUNTIME
    if old and numpy >= (2,):
        fix = "pip install 'numpy<2', or pip install ai-edge-litert where it has a wheel"
        verdict = "warn" if exact else "fail"
        return Finding("packages", verdict, f"{text}: these two do not work together", fix)
    if "pycoral" in found:
        fix = "pip uninstall pycoral: PyPI's is not Google's, and edgesep needs neither"
        return Finding("packages", "warn", f"{text}, pycoral {found['pycoral']}", fix)
    return Finding("packages", "ok", text)


def check_core(_: Config, __: System) -> Finding:
    """Check whether the compiled core is there."""
    if not native.available():
        fix = "apt install gcc python3-dev, then install edgesep again"
        return Finding("C core", "warn", "not built: NumPy runs instead, slower", fix)
    return Finding("C core", "ok", "built")


def check_model(config: Config, _: System) -> Finding:
    """Open the model with the engine that the settings name, and say what runs."""
    from edgesep.engine import open_engine
    from edgesep.models import find_model

    path, card = find_model(config.model)
    wanted = config.settings.engine
    engine = open_engine(wanted, path, card)
    found = f"{card.name} {card.version}, {card.latency_ms:g} ms; {engine.description}"
    if wanted.startswith("edgetpu") and not engine.name.startswith("edgetpu"):
        return Finding("engine", "warn", found, f"engine {wanted!r} does not run: see Edge TPU")
    return Finding("engine", "ok", found)


def check_speed(config: Config, _: System) -> Finding:
    """Isolate some hops, and compare with the time there is."""
    import numpy as np

    from edgesep.isolator import Isolator

    isolator = Isolator(config.model, config.settings)
    noise = np.random.default_rng(0).normal(0, 2000, isolator.hop_samples).astype(np.int16)
    times_s = []
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _hop in range(TRIAL_HOPS):
        started = time.perf_counter()
        isolator.process(noise)
        times_s.append(time.perf_counter() - started)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    median_s, late_s = float(np.median(times_s)), float(np.percentile(times_s, 99))
    hop_s = isolator.hop_samples / isolator.rate_hz
    return judge_speed(median_s, late_s, hop_s, max(1 - cpu_s / wall_s, 0.0))


def judge_speed(median_s: float, late_s: float, hop_s: float, stolen: float = 0.0) -> Finding:
    """See `check_speed`. late_s: 99th percentile; stolen: share that other programs took."""
    found = f"a hop takes {1000 * median_s:.2f} ms (p99 {1000 * late_s:.2f}) of {1000 * hop_s:g}"
    if stolen > BUSY and median_s <= SHARE_OK * hop_s < late_s:
        found += f"; other programs had the core for {stolen:.0%} of the time"
        return Finding("speed", "warn", found, "end other programs, and look again")
    if late_s > SHARE_MOST * hop_s:
        return Finding("speed", "fail", found, "use a smaller model (`edgesep bench`), or end "
                       "other programs")  # fmt: skip
    if late_s > SHARE_OK * hop_s:
        return Finding("speed", "warn", found, "end other programs, or use a smaller model")
    return Finding("speed", "ok", found)


def check_edge_tpu(config: Config, system: System) -> Finding:
    """Look for a Coral Edge TPU; where there is one and its library, try the two in a child."""
    from edgesep.coral import probe
    from edgesep.coral.device import find_library, list_devices

    devices, library = list_devices(system.root), find_library()
    wanted = config.settings.engine.startswith("edgetpu")
    bad = "fail" if wanted else "warn"
    for path in sorted((system.root / "dev").glob("apex_*")):
        if not system.may_use(path):
            fix = "sudo usermod -aG apex $USER, then log in again"
            return Finding("Edge TPU", bad, f"no permission for {path}", fix)
    if not devices and library is None:
        return Finding("Edge TPU", bad if wanted else "ok", "none", "plug it in and install "
                       "libedgetpu1-std (docs/coral.md)" if wanted else "")  # fmt: skip
    if not devices:
        found = f"{library} is installed, no Edge TPU in sight"
        return Finding("Edge TPU", bad if wanted else "ok", found, "plug it in" if wanted else "")
    if library is None:
        fix = "apt install libedgetpu1-std: docs/coral.md says from where"
        return Finding("Edge TPU", bad, f"{', '.join(devices)}, no libedgetpu.so.1", fix)
    tried = probe()
    if not tried.works:
        fix = "a libedgetpu that was built for this runtime: docs/coral.md"
        return Finding("Edge TPU", bad, tried.reason, fix)
    found = f"{', '.join(devices)}, {library} {tried.version}, {tried.runtime}"
    return Finding("Edge TPU", "ok", found)


def _bits() -> int:
    return 8 * struct.calcsize("P")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
