"""Int8 inference behind one small interface: features of a frame in, mask of the frame out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgesep.errors import EngineError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgesep.card import Card

__all__ = ["ENGINE_NAMES", "Engine", "open_engine"]

ENGINE_NAMES = ("fast", "exact")


class Engine(Protocol):
    """A model with its stream state."""

    name: str
    """The name it was opened with: one of ENGINE_NAMES."""
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


def open_engine(name: str, model_path: Path, card: Card) -> Engine:
    """Open the model file with the engine `name`: "fast" or "exact".

    fast: LiteRT with XNNPACK, the quickest; its rounding may differ between versions.
    exact: the C core's kernels, which give the bytes of LiteRT's reference kernels on every
        board; where the core is not built, LiteRT's reference kernels themselves.

    Raises ModelError when the file is damaged or does not fit the card, EngineError for an
    unknown engine or when no runtime is installed that works.
    """
    if name not in ENGINE_NAMES:
        raise EngineError(unknown_name("engine", name, ENGINE_NAMES))
    from edgesep import native

    if name == "exact" and native.available():
        from edgesep.engine.exact import ExactEngine

        return ExactEngine(model_path, card)
    from edgesep.engine.litert import LiteRTEngine

    return LiteRTEngine(name, model_path, card)
