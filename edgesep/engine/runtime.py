"""The one place that imports a TFLite runtime: ai-edge-litert, or tflite-runtime without it."""

from __future__ import annotations

import importlib
from importlib import metadata
from types import ModuleType
from typing import Any

from edgesep.engine.quiet import without_info_lines
from edgesep.errors import EngineError

__all__ = ["make_interpreter", "runtime_version"]

_RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
_NUMPY_FIX = (
    "tflite-runtime needs NumPy 1: run `pip install 'numpy<2'`, "
    "or `pip install ai-edge-litert` where it has a wheel"
)


def make_interpreter(content: bytes, *, reference: bool) -> Any:
    """Return an interpreter for the model with its tensors allocated, on one thread.

    content: bytes of a .tflite file that is known to be intact.
    reference: the reference kernels and no delegate, instead of optimised ones and XNNPACK.

    Raises EngineError when no runtime is installed or it does not work here, ValueError or
    RuntimeError as the runtime does when it refuses the model.
    """
    name, module = _import_runtime()
    resolver = module.OpResolverType.BUILTIN_REF if reference else module.OpResolverType.AUTO
    try:
        with without_info_lines():
            interpreter = module.Interpreter(
                model_content=content, num_threads=1, experimental_op_resolver_type=resolver
            )
            interpreter.allocate_tensors()
    except (SystemError, ImportError, AttributeError) as error:
        raise _unusable(name, error) from error
    return interpreter


def runtime_version() -> str:
    """Return the name and version of the runtime in use, such as "ai-edge-litert 2.3.0".

    Raises EngineError when none is installed.
    """
    name, _ = _import_runtime()
    return f"{name} {metadata.version(name)}"


def _import_runtime() -> tuple[str, ModuleType]:
    """Return the first runtime that is installed; one that is but does not import is an error."""
    for name, package in _RUNTIMES.items():
        try:
            return name, importlib.import_module(f"{package}.interpreter")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.interpreter"):
                raise _unusable(name, error) from error
        except (ImportError, AttributeError, SystemError) as error:
            raise _unusable(name, error) from error
    raise EngineError(
        "no TFLite runtime is installed: run `pip install ai-edge-litert`, "
        "or `pip install tflite-runtime 'numpy<2'` on 32-bit Arm"
    )


def _unusable(name: str, error: Exception) -> EngineError:
    import numpy as np

    if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        return EngineError(f"{name} does not work with NumPy {np.__version__}: {_NUMPY_FIX}")
    reason = " ".join(str(error).split()) or type(error).__name__
    return EngineError(f"{name} is installed but does not work ({reason}): reinstall it")
