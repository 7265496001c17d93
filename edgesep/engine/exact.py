"""Run a model with the C core's own int8 kernels: the bytes of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesep.card import Card
from edgesep.engine.ends import End, check_ends
from edgesep.engine.graph import Tensor, read_graph
from edgesep.engine.plan import Plan, make_plan
from edgesep.errors import ModelError
from edgesep.models import read_model
from edgesep.native import CNetwork

__all__ = ["ExactEngine", "compile_model"]


class ExactEngine:
    """An `Engine`: "exact" on the compiled core; needs no TFLite runtime.

    Raises ModelError when the file is damaged, does not fit the card, or holds what the kernels do
    not run; EngineError when the core is not built.
    """

    def __init__(self, model_path: Path, card: Card) -> None:
        self._network = CNetwork(compile_model(model_path, card))
        self.name = "exact"
        self.description = "exact: edgesep's C kernels, with the bits of LiteRT's reference kernels"

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame; see `Engine.step`."""
        return self._network.step(features)

    def reset(self) -> None:
        """Forget the stream; see `Engine.reset`."""
        self._network.reset()


def compile_model(model_path: Path, card: Card) -> Plan:
    """Return the tables of a model for the C core. Raises ModelError as ExactEngine does."""
    content = read_model(model_path, card)
    try:
        graph = read_graph(content)
        check_ends(model_path, card, map(_end, graph.inputs), map(_end, graph.outputs))
        return make_plan(graph, card.states)
    except ModelError as error:
        if str(error).startswith(f"{model_path}:"):
            raise
        raise ModelError(f"{model_path}: {error}") from error


def _end(tensor: Tensor) -> End:
    return End(tensor.name, tensor.index, tensor.shape, "int8", tensor.scale, tensor.zero_point)
