"""The one place that imports a TFLite runtime: ai-edge-litert, or tflite-runtime without it."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.engine.quiet import without_info_lines
from edgesep.errors import EngineError, unknown_name

__all__ = ["kernels", "load_delegate", "make_interpreter", "runtime_version", "tensor_memory"]

RUNTIME_VARIABLE = "EDGESEP_RUNTIME"
"""Environment variable that names the runtime to use, where both are installed."""
_RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}


def make_interpreter(content: bytes, *, reference: bool, delegate: Any = None) -> Any:
    """Return an interpreter for the model with its tensors allocated, on one thread.

    content: bytes of a .tflite file that is known to be intact.
    reference: the reference kernels and no delegate, instead of optimised ones and XNNPACK.
    delegate: from `load_delegate`, asked before XNNPACK is.

    Raises EngineError when no runtime is installed or it does not work here, ValueError or
    RuntimeError as the runtime does when it refuses the model.
    """
    name, module = _import_runtime()
    resolver = module.OpResolverType.BUILTIN_REF if reference else module.OpResolverType.AUTO
    try:
        with without_info_lines():
            interpreter = module.Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=resolver,
                experimental_delegates=None if delegate is None else [delegate],
            )
            interpreter.allocate_tensors()
    except (SystemError, ImportError, AttributeError) as error:
        raise _unusable(name, error) from error
    return interpreter


def load_delegate(library: str, device: str) -> Any:
    """Return the delegate of an external library, such as libedgetpu.so.1.

    device: its option "device", left out when it is empty. A library that was not built for this
    runtime may end the process: see `edgesep.coral.device`.

    Raises EngineError when no runtime is installed, OSError when the library cannot be loaded,
    ValueError when it refuses, AttributeError when it is no delegate.
    """
    name, module = _import_runtime()
    if not hasattr(module, "load_delegate"):
        raise EngineError(f"{name} has no load_delegate: install a newer one")
    return module.load_delegate(library, {"device": device} if device else {})


def tensor_memory(interpreter: Any, index: int) -> NDArray[np.int8]:
    """Return a writable view of an int8 end of the graph, which shares the runtime's own memory.

    Writing and reading it costs a tenth of what `set_tensor` and `get_tensor` do. The runtime's own
    view may not be kept, since it forbids every later `invoke`; the address may: tensors move only
    when they are allocated again, which `make_interpreter` does once and for all. The caller keeps
    the interpreter alive as long as the view.
    """
    memory = interpreter.tensor(index)()
    values = (ctypes.c_int8 * memory.size).from_address(memory.ctypes.data)
    return np.ctypeslib.as_array(values).reshape(memory.shape)


def kernels(interpreter: Any, *, reference: bool) -> str:
    """Say which kernels an interpreter from `make_interpreter` runs, for people."""
    if reference:
        return "reference kernels"
    # No public way to ask: a runtime without this method leaves the question open.
    nodes: list[Any] = getattr(interpreter, "_get_ops_details", list)()
    delegated = any(node["op_name"] == "DELEGATE" for node in nodes)
    return "XNNPACK" if delegated else "optimised kernels, no delegate seen"


def runtime_version() -> str:
    """Return the name and version of the runtime in use, such as "ai-edge-litert 2.3.0".

    Raises EngineError when none is installed.
    """
    name, _ = _import_runtime()
    version = getattr(sys.modules.get(_RUNTIMES[name]), "__version__", None)
    if version:
        return f"{name} {version}"
    from importlib import metadata  # takes as long as the runtime itself

    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name  # built by hand, without package data


def _import_runtime() -> tuple[str, ModuleType]:
    """Return the first runtime that is installed; one that is but does not import is an error."""
    chosen = os.environ.get(RUNTIME_VARIABLE)
    if chosen and chosen not in _RUNTIMES:
        raise EngineError(f"{RUNTIME_VARIABLE}: {unknown_name('runtime', chosen, _RUNTIMES)}")
    for name, package in _RUNTIMES.items():
        if chosen and chosen != name:
            continue
        try:
            _check_numpy(name)
            return name, importlib.import_module(f"{package}.interpreter")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.interpreter"):
                raise _unusable(name, error) from error
        except (ImportError, AttributeError, SystemError) as error:
            raise _unusable(name, error) from error
    raise EngineError(
        "no TFLite runtime is installed: run `pip install ai-edge-litert`, "
        "or `pip install tflite-runtime 'numpy<2'` on 32-bit Arm; the engine 'exact' needs none "
        "where the C core is built"
    )


def _check_numpy(name: str) -> None:
    """Refuse tflite-runtime's last release with NumPy 2, which prints pages before it fails."""
    if name != "tflite-runtime" or _version_tuple(np.__version__) < (2,):
        return
    from importlib import metadata

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return  # not installed, or built by hand: let the import say
    if _version_tuple(version) <= (2, 14, 0):
        raise EngineError(
            f"tflite-runtime {version} does not work with NumPy {np.__version__}: run "
            "`pip install 'numpy<2'`, or `pip install ai-edge-litert` where it has a wheel"
        )


def _version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _unusable(name: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return EngineError(f"{name} is installed but does not work here ({reason}): reinstall it")
