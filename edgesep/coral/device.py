"""See whether an Edge TPU can be used here, without letting it take this process down.

A libedgetpu that was built for another TensorFlow than the runtime does not raise an error, it
crashes: the two exchange C structures by value, which have grown since. So all that touches the
library happens in a child process first (`edgesep.coral.child`), with a time limit.
"""

from __future__ import annotations

import ctypes.util
import functools
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIBRARY_VARIABLE", "Probe", "find_library", "list_devices", "probe", "try_delegate"]

LIBRARY_VARIABLE = "EDGESEP_LIBEDGETPU"
"""Environment variable with the path of the library, where it is not the system's."""

PROBE_LIMIT_S = 30.0  # a USB Accelerator that is asked for the first time loads its firmware
MARK = "edgesep-probe:"  # in front of what the child reports; libraries print what they like

USB_IDS = {("1a6e", "089a"): "usb, firmware not loaded yet", ("18d1", "9302"): "usb"}
_STAGES = {
    "start": "starting Python",
    "runtime": "importing the runtime",
    "library": "loading the library",
    "devices": "listing the devices",
    "delegate": "opening the Edge TPU",
    "model": "preparing the model",
    "invoke": "running the model",
}


@dataclass(frozen=True)
class Probe:
    """What was found of an Edge TPU."""

    library: str | None
    """Name or path of libedgetpu, None when there is none."""
    version: str
    """What libedgetpu says of itself; empty when it could not be asked."""
    runtime: str
    """Runtime and its version, such as "ai-edge-litert 2.3.0"; empty when it was not asked."""
    devices: tuple[str, ...]
    """Edge TPUs in sight, such as "usb" or "pci /dev/apex_0"."""
    works: bool
    """True when the library opened an Edge TPU and the runtime took it."""
    reason: str
    """One line: why it does not work; empty when it does."""


def probe(limit_s: float = PROBE_LIMIT_S, device: str = "") -> Probe:
    """Say what there is of an Edge TPU; takes milliseconds where no libedgetpu is installed.

    Where one is, a child process opens the device, for at most `limit_s` seconds; device: which,
    as in `try_delegate`. Never raises.
    """
    library = find_library()
    if library is None:
        devices = tuple(list_devices())
        return Probe(None, "", "", devices, False, _no_library())
    return try_delegate(library, device, limit_s=limit_s)


def find_library() -> str | None:
    """Return what to load libedgetpu by, or None; EDGESEP_LIBEDGETPU wins, there or not."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    return chosen or _system_library()


@functools.cache
def _system_library() -> str | None:
    # find_library may ask the linker and the compiler, 50 ms each: once is enough.
    return ctypes.util.find_library("edgetpu")


def _no_library() -> str:
    return "libedgetpu.so.1 is not installed: apt install libedgetpu1-std (see docs/coral.md)"


def list_devices(root: Path = Path("/")) -> list[str]:
    """Return the Edge TPUs that Linux shows, without opening them; root: of the file system."""
    found = [f"pci {path}" for path in sorted((root / "dev").glob("apex_*"))]
    for vendor in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        try:
            ids = vendor.read_text().strip(), (vendor.parent / "idProduct").read_text().strip()
        except OSError:
            continue  # unplugged meanwhile
        if ids in USB_IDS:
            found.append(USB_IDS[ids])
    return found


def try_delegate(
    library: str, device: str = "", model: Path | None = None, limit_s: float = PROBE_LIMIT_S
) -> Probe:
    """Open the Edge TPU in a child process; with a compiled model, run it once too.

    device: "" (any), "usb", "pci", "usb:0", "pci:1", ":0" .. as libedgetpu takes it.
    Never raises; a crash, a refusal and a time-out are the `reason` of the result.
    """
    found, ending = _run_child([library, device, str(model or "")], limit_s)
    stage = found.get("stage", "start")
    works = ending == "" and stage == "done"
    reason = "" if works else _reason(library, found, ending)
    devices = tuple(found.get("devices", "").split("\n")) if found.get("devices") else ()
    return Probe(
        library=library,
        version=found.get("version", ""),
        runtime=found.get("runtime", ""),
        devices=devices or tuple(list_devices()),
        works=works,
        reason=reason,
    )


def _run_child(arguments: list[str], limit_s: float) -> tuple[dict[str, str], str]:
    """Return what the child reported last of everything, and how it ended ("": well)."""
    if not sys.executable:
        return {}, "there is no Python to try it with"
    package = Path(__file__).parents[2]
    code = "import sys; sys.path[0] = sys.argv.pop(1); import edgesep.coral.child as c; c.main()"
    command = [sys.executable, "-c", code, str(package), *arguments]
    ending = ""
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
        )
        output, status = child.stdout, child.returncode
    except subprocess.TimeoutExpired as error:
        output, status = error.stdout or b"", 0
        ending = f"no answer within {limit_s:g} s"
    except OSError as error:
        return {}, f"cannot start {sys.executable} ({error.strerror})"
    found = _reports(output)
    if status < 0:
        ending = f"crashed with {_signal_name(-status)}"
    elif status > 0:
        ending = found.get("error") or f"ended with status {status}"
    return found, ending


def _reports(output: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        _, mark, report = line.partition(MARK)
        if mark:
            try:
                found.update(json.loads(report))
            except (ValueError, TypeError):
                continue  # cut off by the crash
    return found


def _reason(library: str, found: dict[str, str], ending: str) -> str:
    stage = found.get("stage", "start")
    doing = _STAGES.get(stage, stage)
    pair = f"{found.get('runtime') or 'the runtime'} with {library}"
    if found.get("version"):
        pair += f" ({found['version']})"
    text = f"{pair}: {ending or 'it ended early'} while {doing}"
    if ending.startswith("crashed"):
        text += "; they are probably built for different TensorFlows (see docs/coral.md)"
    elif stage == "delegate" and not list_devices():
        text += "; no Edge TPU is in sight: plug it in"
    return re.sub(r"\s+", " ", text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
