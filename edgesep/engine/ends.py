"""Check that the ends of a model are what its card says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesep.card import FEATURES, Card, StateSpec
from edgesep.errors import ModelError

__all__ = ["End", "ModelEnds", "StateEnds", "check_ends"]

MASK = "mask"
FEATURES_QUANTIZATION = (1 / 32, 0)  # scale, zero point
MASK_QUANTIZATION = (1 / 256, -128)


@dataclass(frozen=True)
class End:
    """An input or output of the graph, whoever read it."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    """As NumPy names it."""
    scale: float
    zero_point: int


@dataclass(frozen=True)
class StateEnds:
    """A stateful layer: its input, and its output (None: the features)."""

    spec: StateSpec
    taps: End
    column: End | None


@dataclass(frozen=True)
class ModelEnds:
    """The ends that the frame path uses."""

    features: End
    mask: End
    states: tuple[StateEnds, ...]


def check_ends(path: Path, card: Card, inputs: Iterable[End], outputs: Iterable[End]) -> ModelEnds:
    """Return the ends by their roles. Raises ModelError where model and card do not fit."""
    checker = _Checker(path, inputs, outputs)
    bands = card.contract.bands
    features = checker.input(FEATURES, (1, 1, bands, 2), FEATURES_QUANTIZATION)
    mask = checker.output(MASK, (1, 1, bands, 1), MASK_QUANTIZATION)
    states = tuple(checker.state(state) for state in card.states)
    checker.check_all_used()
    return ModelEnds(features, mask, states)


class _Checker:
    """The ends by name."""

    def __init__(self, path: Path, inputs: Iterable[End], outputs: Iterable[End]) -> None:
        self._path = path
        self._inputs = {end.name: end for end in inputs}
        self._outputs = {end.name: end for end in outputs}
        self._used: set[str] = set()

    def state(self, spec: StateSpec) -> StateEnds:
        """Check the ends of a stateful layer."""
        taps = self._find(self._inputs, "input", spec.taps_tensor)
        quantization = (taps.scale, taps.zero_point)
        column_shape = (1, 1, spec.width, spec.channels)
        self.input(taps.name, (1, spec.taps, spec.width, spec.channels), quantization)
        if spec.column == FEATURES:
            self.input(FEATURES, column_shape, quantization)
            return StateEnds(spec, taps, None)
        return StateEnds(spec, taps, self.output(spec.column, column_shape, quantization))

    def input(self, name: str, shape: tuple[int, ...], quantization: tuple[float, int]) -> End:
        """Check an input and return it."""
        return self._check(self._find(self._inputs, "input", name), shape, quantization)

    def output(self, name: str, shape: tuple[int, ...], quantization: tuple[float, int]) -> End:
        """Check an output and return it."""
        return self._check(self._find(self._outputs, "output", name), shape, quantization)

    def check_all_used(self) -> None:
        """Refuse inputs the card does not know: nothing would feed them."""
        for name in sorted(set(self._inputs) - self._used):
            raise self._error(f"the model has an input {name!r} that its card does not list")

    def _find(self, ends: dict[str, End], kind: str, name: str) -> End:
        if name not in ends:
            raise self._error(f"the card needs an {kind} {name!r}, the model has {sorted(ends)}")
        return ends[name]

    def _check(self, end: End, shape: tuple[int, ...], quantization: tuple[float, int]) -> End:
        self._used.add(end.name)
        if end.dtype != "int8":
            raise self._error(f"{end.name} is {end.dtype}, not int8")
        if end.shape != shape:
            raise self._error(f"{end.name} has shape {end.shape}, expected {shape}")
        scale, zero_point = quantization
        if (np.float32(end.scale), end.zero_point) != (np.float32(scale), zero_point):
            raise self._error(
                f"{end.name} has scale {end.scale:g} and zero point {end.zero_point}, "
                f"expected {scale:g} and {zero_point}"
            )
        return end

    def _error(self, reason: str) -> ModelError:
        return ModelError(f"{self._path}: model and card do not fit: {reason}")
