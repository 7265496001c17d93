"""Int8 inference behind one small interface: features of a frame in, mask of the frame out."""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgesep.errors import EngineError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgesep.card import Card

__all__ = ["AUTO", "EDGETPU", "ENGINE_NAMES", "Engine", "engine_problem", "open_engine"]

ENGINE_NAMES = ("fast", "exact")
"""Engines that run on every board."""
AUTO = "auto"
"""The default: "fast" where a TFLite runtime is installed, else "exact", and a line says so."""
EDGETPU = "edgetpu"
"""The engine for a Coral Edge TPU, which may be followed by ":" and libedgetpu's device."""

_DEVICE = re.compile(r"(usb|pci)?(:\d+)?")


class Engine(Protocol):
    """A model with its stream state."""

    name: str
    """The name it was opened with; another where an Edge TPU was asked for in vain."""
    description: str
    """What runs, for people: runtime, version, kernels."""

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame.

        features: int8 (bands, 2), scale 1/32, zero point 0.
        Returns the mask, int8 (bands,), scale 1/256, zero point -128; a fresh array.
        """
        ...

    def reset(self) -> None:
        """Forget the stream: the next step gives the bytes that the first one gave."""
        ...


def engine_problem(name: object) -> str | None:
    """Return what is wrong with the name of an engine, in one line, or None."""
    kind, colon, device = str(name).partition(":")
    if kind == EDGETPU and _DEVICE.fullmatch(device) and (device or not colon):
        return None
    if kind == EDGETPU:
        return f"unknown device {device!r} of engine {EDGETPU}: give usb, pci, usb:0, pci:1 or :0"
    valid = (AUTO, *ENGINE_NAMES, EDGETPU)
    return None if name in valid else unknown_name("engine", name, valid)


def open_engine(name: str, model_path: Path, card: Card) -> Engine:
    """Open the model file with the engine `name`: "auto", "fast", "exact" or "edgetpu".

    fast: LiteRT with XNNPACK, the quickest; its rounding may differ between versions.
    exact: the C core's kernels, which give the bytes of LiteRT's reference kernels on every
        board; where the core is not built, LiteRT's reference kernels themselves.
    auto: fast where a TFLite runtime is installed; else exact, with one logged line a process.
    edgetpu: its compiled twin on a Coral Edge TPU, with the bits of that; "auto" and a line on
        standard error where that is not possible. edgetpu:usb, edgetpu:pci:1 .. choose a device.

    Raises ModelError when the file is damaged or does not fit the card, EngineError for an
    unknown engine or when no runtime is installed that works.
    """
    problem = engine_problem(name)
    if problem:
        raise EngineError(problem)
    if name == AUTO:
        name = _default_engine()
    if name not in ENGINE_NAMES:
        from edgesep.engine.edgetpu import open_edgetpu

        return open_edgetpu(name, model_path, card)
    from edgesep import native

    if name == "exact" and native.available():
        from edgesep.engine.exact import ExactEngine

        return ExactEngine(model_path, card)
    from edgesep.engine.litert import LiteRTEngine

    return LiteRTEngine(name, model_path, card)


def _default_engine() -> str:
    """Return "exact" where it is all that can run: without a TFLite runtime, with the C core."""
    from edgesep import native

    packages = ("ai_edge_litert", "tflite_runtime")
    if any(importlib.util.find_spec(package) for package in packages) or not native.available():
        return "fast"  # without both, its error says what to install
    _say_once_that_exact_runs()
    return "exact"


@functools.cache
def _say_once_that_exact_runs() -> None:
    logging.getLogger("edgesep").warning(
        "edgesep: no TFLite runtime is installed: the engine 'exact' runs; --engine exact, or "
        "pip install ai-edge-litert where it has a wheel, silences this"
    )
