"""Run a model with LiteRT (or tflite-runtime), keeping its state between frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.card import FEATURES, Card, StateSpec
from edgesep.engine.rings import ColumnRing
from edgesep.engine.runtime import kernels, make_interpreter, runtime_version
from edgesep.errors import ModelError
from edgesep.models import read_model

__all__ = ["LiteRTEngine"]

MASK = "mask"
FEATURES_QUANTIZATION = (1 / 32, 0)  # scale, zero point
MASK_QUANTIZATION = (1 / 256, -128)


class LiteRTEngine:
    """An `Engine`: "fast" with the XNNPACK delegate, "exact" with the reference kernels.

    Raises ModelError when the file is damaged or does not fit the card, EngineError when no
    runtime works here.
    """

    def __init__(self, name: str, model_path: Path, card: Card) -> None:
        content = read_model(model_path, card)
        reference = name == "exact"
        try:
            self._interpreter = make_interpreter(content, reference=reference)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{model_path}: the runtime refuses the model: {reason}") from error
        which = kernels(self._interpreter, reference=reference)
        self.name = name
        self.description = f"{name}: {runtime_version()}, {which}, 1 thread"
        tensors = _Tensors(model_path, self._interpreter)
        bands = card.contract.bands
        self._frame_shape = (1, 1, bands, 2)
        self._features_index = tensors.input(FEATURES, self._frame_shape, FEATURES_QUANTIZATION)
        self._mask_index = tensors.output(MASK, (1, 1, bands, 1), MASK_QUANTIZATION)
        self._states = [_open_state(tensors, state) for state in card.states]
        tensors.check_all_used()

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame; see `Engine.step`."""
        interpreter = self._interpreter
        frame = features.reshape(self._frame_shape)
        interpreter.set_tensor(self._features_index, frame)
        for state in self._states:
            interpreter.set_tensor(state.taps_index, state.ring.taps)
        interpreter.invoke()
        for state in self._states:
            index = state.column_index
            state.ring.push(frame if index is None else interpreter.get_tensor(index))
        mask: NDArray[np.int8] = interpreter.get_tensor(self._mask_index)
        return mask.reshape(-1)

    def reset(self) -> None:
        """Forget the stream; see `Engine.reset`."""
        for state in self._states:
            state.ring.reset()


@dataclass(frozen=True)
class _State:
    """A stateful layer: its ring, its input tensor, and its output (None: the features)."""

    ring: ColumnRing
    taps_index: int
    column_index: int | None


def _open_state(tensors: _Tensors, state: StateSpec) -> _State:
    taps_shape = (1, state.taps, state.width, state.channels)
    column_shape = (1, 1, state.width, state.channels)
    quantization = tensors.quantization(state.taps_tensor)
    taps_index = tensors.input(state.taps_tensor, taps_shape, quantization)
    column_index = None
    if state.column == FEATURES:
        tensors.input(FEATURES, column_shape, quantization)
    else:
        column_index = tensors.output(state.column, column_shape, quantization)
    return _State(ColumnRing(state, quantization[1]), taps_index, column_index)


class _Tensors:
    """The ends of the graph by name; checks that they are what the card says."""

    def __init__(self, path: Path, interpreter: Any) -> None:
        self._path = path
        self._inputs = {d["name"]: d for d in interpreter.get_input_details()}
        self._outputs = {d["name"]: d for d in interpreter.get_output_details()}
        self._used: set[str] = set()

    def quantization(self, name: str) -> tuple[float, int]:
        """Scale and zero point of an input."""
        scale, zero_point = self._find(self._inputs, "input", name)["quantization"]
        return float(scale), int(zero_point)

    def input(self, name: str, shape: tuple[int, ...], quantization: tuple[float, int]) -> int:
        """Check an input and return its index."""
        return self._check(self._find(self._inputs, "input", name), shape, quantization)

    def output(self, name: str, shape: tuple[int, ...], quantization: tuple[float, int]) -> int:
        """Check an output and return its index."""
        return self._check(self._find(self._outputs, "output", name), shape, quantization)

    def check_all_used(self) -> None:
        """Refuse inputs the card does not know: nothing would feed them."""
        for name in sorted(set(self._inputs) - self._used):
            raise self._error(f"the model has an input {name!r} that its card does not list")

    def _find(self, ends: dict[str, Any], kind: str, name: str) -> Any:
        if name not in ends:
            raise self._error(f"the card needs an {kind} {name!r}, the model has {sorted(ends)}")
        return ends[name]

    def _check(self, end: Any, shape: tuple[int, ...], quantization: tuple[float, int]) -> int:
        name: str = end["name"]
        self._used.add(name)
        if end["dtype"] is not np.int8:
            raise self._error(f"{name} is {end['dtype'].__name__}, not int8")
        if tuple(end["shape"]) != shape:
            raise self._error(f"{name} has shape {tuple(map(int, end['shape']))}, expected {shape}")
        scale, zero_point = end["quantization"]
        if (np.float32(scale), zero_point) != (np.float32(quantization[0]), quantization[1]):
            raise self._error(
                f"{name} has scale {scale:g} and zero point {zero_point}, "
                f"expected {quantization[0]:g} and {quantization[1]}"
            )
        return int(end["index"])

    def _error(self, reason: str) -> ModelError:
        return ModelError(f"{self._path}: model and card do not fit: {reason}")
