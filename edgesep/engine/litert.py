"""Run a model with LiteRT (or tflite-runtime), keeping its state between frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep import native
from edgesep.card import Card
from edgesep.engine.ends import End, StateEnds, check_ends
from edgesep.engine.graph import read_graph
from edgesep.engine.rings import ColumnRing
from edgesep.engine.runtime import kernels, make_interpreter, runtime_version, tensor_memory
from edgesep.errors import ModelError
from edgesep.models import read_model

__all__ = ["LiteRTEngine", "end_of"]


class LiteRTEngine:
    """An `Engine`: "fast" with the XNNPACK delegate, "exact" with the reference kernels.

    The latter have the bytes of `ExactEngine`, which is faster where the C core is built.

    Raises ModelError when the file is damaged, does not fit the card, or holds what `ExactEngine`
    does not run either; EngineError when no runtime works here.
    """

    def __init__(self, name: str, model_path: Path, card: Card) -> None:
        content = read_model(model_path, card)
        reference = name == "exact"
        try:
            read_graph(content)  # over a file that is not sound a runtime may end the process
            self._interpreter = make_interpreter(content, reference=reference)
            which = kernels(self._interpreter, reference=reference)
            inputs = [end_of(detail) for detail in self._interpreter.get_input_details()]
            outputs = [end_of(detail) for detail in self._interpreter.get_output_details()]
        except ModelError as error:
            raise ModelError(f"{model_path}: {error}") from error
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{model_path}: the runtime refuses the model: {reason}") from error
        self.name = name
        self.description = f"{name}: {runtime_version()}, {which}, 1 thread"
        if reference and not native.available():
            self.description += " (the C core is not built)"
        ends = check_ends(model_path, card, inputs, outputs)
        self._features = tensor_memory(self._interpreter, ends.features.index)
        self._mask = tensor_memory(self._interpreter, ends.mask.index).reshape(-1)
        self._states = [_open_state(self._interpreter, state) for state in ends.states]

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame; see `Engine.step`."""
        self._features[...] = features
        for state in self._states:
            state.taps[...] = state.ring.taps
        self._interpreter.invoke()
        for state in self._states:
            state.ring.push(features if state.column is None else state.column)
        return self._mask.copy()

    def reset(self) -> None:
        """Forget the stream; see `Engine.reset`."""
        for state in self._states:
            state.ring.reset()


@dataclass(frozen=True)
class _State:
    """A stateful layer: its ring, its input tensor, and its output (None: the features)."""

    ring: ColumnRing
    taps: NDArray[np.int8]
    column: NDArray[np.int8] | None


def _open_state(interpreter: Any, state: StateEnds) -> _State:
    ring = ColumnRing(state.spec, state.taps.zero_point)
    column = tensor_memory(interpreter, state.column.index) if state.column else None
    return _State(ring, tensor_memory(interpreter, state.taps.index), column)


def end_of(detail: dict[str, Any]) -> End:
    """Return an end of the graph from the runtime's details of it."""
    scale, zero_point = detail["quantization"]
    shape = tuple(int(n) for n in detail["shape"])
    dtype: str = detail["dtype"].__name__
    return End(detail["name"], int(detail["index"]), shape, dtype, float(scale), int(zero_point))
