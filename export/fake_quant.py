"""The float network with the values of chosen layers rounded to their int8 steps.

What a layer costs shows when it alone is rounded: weights and bias are the real values of their
integers, and the output is rounded to the steps of its tensor and clipped to its range.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .float_model import Weights, apply_layer
from .graph import Graph
from .qgraph import BIAS, WEIGHTS, QGraph, QTensor
from .quantize import tensor_names


class FakeQuant:
    """A network in float beside its quantized graph, of the same weights."""

    def __init__(self, graph: Graph, weights: Weights, qgraph: QGraph) -> None:
        self.graph, self.weights = graph, weights
        tensors, names = qgraph.by_name(), tensor_names(graph)
        self.outputs = {name: tensors[names[name]] for name in graph.layers}
        """The quantized output of each layer."""
        self.constants = {
            tensor.name: tensor for tensor in qgraph.tensors if tensor.data is not None
        }
        self.rounded = _real_weights(graph, tensors)
        """Folded weights as their integers say them."""

    def rerun(
        self, values: Mapping[str, np.ndarray], weighted: Collection[str], put_out: Collection[str]
    ) -> dict[str, np.ndarray]:
        """Return every layer's output where some are rounded.

        values: outputs of the float network, as `float_model.activations` returns them; what does
        not depend on a rounded layer is taken from there. weighted: layers whose weights are
        rounded. put_out: layers whose outputs are.
        """
        result, changed = dict(values), set[str]()
        for layer in self.graph.layers.values():
            is_weighted, is_put_out = layer.name in weighted, layer.name in put_out
            if not (is_weighted or is_put_out or changed & set(layer.inputs)):
                continue
            weights = self.rounded if is_weighted else self.weights
            y = apply_layer(layer, weights, [result[name] for name in layer.inputs])
            result[layer.name] = round_to(y, self.outputs[layer.name]) if is_put_out else y
            changed.add(layer.name)
        return result


def round_to(values: np.ndarray, tensor: QTensor) -> np.ndarray:
    """Return the values as an activation's int8 steps hold them, float32."""
    scale = tensor.scales[0]
    steps = np.clip(np.round(values / scale) + tensor.zero_point, -128, 127)
    return np.asarray((steps - tensor.zero_point) * scale, np.float32)


def _real_weights(graph: Graph, tensors: Mapping[str, QTensor]) -> dict[str, np.ndarray]:
    real = {}
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        kernel, bias = (tensors[layer.name + part] for part in (WEIGHTS, BIAS))
        assert kernel.data is not None and bias.data is not None
        if layer.kind == "conv":
            values = kernel.data.transpose(1, 2, 3, 0) * kernel.scales
        else:
            values = kernel.data[0] * kernel.scales
        real[f"{layer.name}/kernel"] = values.astype(np.float32)
        real[f"{layer.name}/bias"] = (bias.data * bias.scales).astype(np.float32)
    return real
