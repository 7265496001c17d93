"""The child process that loads libedgetpu first: it may crash or hang, its parent may not.

Reports each step on standard output before it takes it, so that the last report says where it died.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

from edgesep.coral.device import MARK
from edgesep.errors import EngineError

__all__ = ["main"]

_DEVICE_TYPES = ("pci", "usb")  # enum edgetpu_device_type of libedgetpu's edgetpu_c.h


class _Device(ctypes.Structure):
    """`struct edgetpu_device` of libedgetpu's edgetpu_c.h."""

    _fields_ = (("type", ctypes.c_int), ("path", ctypes.c_char_p))


def main() -> None:
    """Open the Edge TPU; arguments: library, device, compiled model or an empty text."""
    library, device, model = sys.argv[1:]
    _without_core_dump()
    try:
        _try(library, device, model)
    except (OSError, ValueError, RuntimeError, AttributeError, EngineError) as error:
        _report(error=" ".join(str(error).split()) or type(error).__name__)
        sys.exit(1)


def _try(library: str, device: str, model: str) -> None:
    from edgesep.engine.runtime import load_delegate, make_interpreter, runtime_version

    _report(stage="runtime")
    _report(runtime=runtime_version())
    _report(stage="library")
    _ask_library(ctypes.CDLL(library))
    _report(stage="delegate")
    delegate = load_delegate(library, device)
    if model:
        _report(stage="model")
        content = Path(model).read_bytes()
        interpreter = make_interpreter(content, reference=False, delegate=delegate)
        _report(stage="invoke")
        interpreter.invoke()
    _report(stage="done")


def _ask_library(library: ctypes.CDLL) -> None:
    """Report version and devices where the library has libedgetpu's C interface."""
    if not hasattr(library, "edgetpu_version"):
        return
    library.edgetpu_version.restype = ctypes.c_char_p
    _report(version=_text(library.edgetpu_version()))
    _report(stage="devices")
    library.edgetpu_list_devices.restype = ctypes.POINTER(_Device)
    library.edgetpu_list_devices.argtypes = (ctypes.POINTER(ctypes.c_size_t),)
    library.edgetpu_free_devices.argtypes = (ctypes.POINTER(_Device),)
    count = ctypes.c_size_t()
    devices = library.edgetpu_list_devices(ctypes.byref(count))
    names = [f"{_device_type(d.type)} {_text(d.path)}".strip() for d in devices[: count.value]]
    if devices:
        library.edgetpu_free_devices(devices)
    _report(devices="\n".join(names))


def _device_type(number: int) -> str:
    return _DEVICE_TYPES[number] if 0 <= number < len(_DEVICE_TYPES) else f"type {number}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _report(**facts: str) -> None:
    print(f"\n{MARK}{json.dumps(facts)}", flush=True)


def _without_core_dump() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
