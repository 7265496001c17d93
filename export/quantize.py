"""Post-training quantization: folded float weights and calibration features to an int8 graph.

Weights are symmetric per output channel. An activation's range is what calibration saw, less the
outermost share `TAIL` of each clip's values and the `ODD_CLIPS` that reach farthest; what follows a
ReLU starts at zero. The ends are fixed by the frame contract: features at 1/32, mask at 1/256,
logits at 1/16.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .float_model import Weights, activations
from .graph import INPUT, OUTPUT, Graph, Layer
from .qgraph import (
    BIAS,
    FEATURES_SCALE,
    MASK_SCALE,
    MASK_ZERO_POINT,
    WEIGHTS,
    QGraph,
    QOp,
    QTensor,
)

LOGITS_SCALE = 1.0 / 16.0
TAIL = 2e-5
ODD_CLIPS = 0.1  # share of the clips: a few reach twice as far as all others
WEIGHT_STEPS = 127
SMALLEST_RANGE = 1e-3

Range = tuple[float, float]


def calibrate(graph: Graph, weights: Weights, clips: Iterable[np.ndarray]) -> dict[str, Range]:
    """Return each layer's output range over calibration clips, (frames, bands, 2) int8 features."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in graph.layers}
    for clip in clips:
        values = activations(graph, weights, clip.astype(np.float32) * np.float32(FEATURES_SCALE))
        for name, chunks in seen.items():
            chunks.append(_extremes(values[name]))
    return {name: _merge(chunks) for name, chunks in seen.items()}


def _extremes(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [TAIL, 1.0 - TAIL])


def _merge(chunks: list[np.ndarray]) -> Range:
    low, high = np.array(chunks).T
    return float(np.quantile(low, ODD_CLIPS)), float(np.quantile(high, 1.0 - ODD_CLIPS))


def quantize(graph: Graph, weights: Weights, ranges: dict[str, Range], name: str) -> QGraph:
    """Return the int8 graph of one frame, states as taps in and columns out."""
    builder = _Builder(graph, weights, ranges)
    for layer in graph.layers.values():
        builder.add_layer(layer)
    return builder.finish(name)


def tensor_names(graph: Graph) -> dict[str, str]:
    """Map the input and every layer to the tensor that it puts out.

    A stateful layer's input is an output of the model, the state's new column, and named so.
    """
    names = {INPUT: INPUT, OUTPUT: OUTPUT}
    for layer in graph.layers.values():
        if layer.stateful and layer.inputs[0] not in names:
            names[layer.inputs[0]] = f"column.{layer.name}"
    return {name: names.get(name, name) for name in (INPUT, *graph.layers)}


class _Builder:
    """Collects tensors and operations; `names` maps a layer to the tensor it puts out."""

    def __init__(self, graph: Graph, weights: Weights, ranges: dict[str, Range]) -> None:
        self.graph, self.weights, self.ranges = graph, weights, ranges
        self.tensors: dict[str, QTensor] = {}
        self.ops: list[QOp] = []
        self.states: list[str] = []
        self.names = tensor_names(graph)
        self._tensor(INPUT, (1, 1, graph.bands, graph.channels), FEATURES_SCALE, 0)

    def _tensor(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        self.tensors[name] = QTensor(name, shape, scale, zero_point)
        return name

    def _output(self, layer: Layer, scale: float, zero_point: int) -> str:
        return self._tensor(
            self.names[layer.name], (1, 1, layer.bands, layer.channels), scale, zero_point
        )

    def add_layer(self, layer: Layer) -> None:
        inputs = [self.names[name] for name in layer.inputs]
        if layer.kind == "reshape":
            source = self.tensors[inputs[0]]
            output = self._output(layer, float(source.scales[0]), source.zero_point)
            shape = (1, 1, layer.bands, layer.channels)
            self.ops.append(QOp("reshape", (inputs[0],), output, new_shape=shape))
        elif layer.kind == "sigmoid":
            output = self._output(layer, MASK_SCALE, MASK_ZERO_POINT)
            self.ops.append(QOp("logistic", (inputs[0],), output))
        elif layer.kind == "add":
            output = self._output(layer, *self._scale(layer))
            self.ops.append(QOp("add", (*inputs,), output, activation=_activation(layer)))
        else:
            self._add_filter(layer, inputs[0])

    def _add_filter(self, layer: Layer, source: str) -> None:
        if layer.stateful:
            source = self._recall(layer, source)
        weights, bias = self._constants(layer, float(self.tensors[source].scales[0]))
        output = self._output(layer, *self._scale(layer))
        self.ops.append(
            QOp(
                layer.kind,
                (source, weights, bias),
                output,
                stride_h=layer.kernel_frames,  # as high as the input: SAME pads no frames then
                stride_w=layer.stride_bands,
                padding="VALID" if layer.squeeze else "SAME",
                activation=_activation(layer),
            )
        )

    def _recall(self, layer: Layer, column: str) -> str:
        """Put the layer's past columns in front of the new one; return the stack's name."""
        old = self.tensors[column]
        scale, zero_point = float(old.scales[0]), old.zero_point
        bands, channels = old.shape[2:]
        taps = f"taps.{layer.name}"
        self._tensor(taps, (1, layer.kernel_frames - 1, bands, channels), scale, zero_point)
        stack = self._tensor(
            f"{layer.name}.frames", (1, layer.kernel_frames, bands, channels), scale, zero_point
        )
        self.ops.append(QOp("concat", (taps, column), stack, axis=1))
        self.states.append(taps)
        return stack

    def _constants(self, layer: Layer, input_scale: float) -> tuple[str, str]:
        kernel = self.weights[f"{layer.name}/kernel"]
        if layer.kind == "conv":
            kernel, axis = kernel.transpose(3, 0, 1, 2), 0
            peak = np.abs(kernel).max(axis=(1, 2, 3))
        else:
            kernel, axis = kernel[None], 3
            peak = np.abs(kernel).max(axis=(0, 1, 2))
        # a dead channel has a bias only: keep that within 24 bits
        bias = self.weights[f"{layer.name}/bias"].astype(np.float64)
        scale = np.maximum(peak / WEIGHT_STEPS, np.abs(bias) / (input_scale * 2.0**23))
        scale = np.maximum(scale, 1e-9).astype(np.float32)
        shape = [1] * 4
        shape[axis] = -1
        steps = np.clip(np.round(kernel / scale.reshape(shape)), -WEIGHT_STEPS, WEIGHT_STEPS)
        name = layer.name + WEIGHTS
        self.tensors[name] = QTensor(name, kernel.shape, scale, 0, steps.astype(np.int8), axis)
        bias_scale = (np.float32(input_scale) * scale).astype(np.float32)
        bias_name = layer.name + BIAS
        data = np.round(bias / bias_scale).astype(np.int32)
        self.tensors[bias_name] = QTensor(bias_name, data.shape, bias_scale, 0, data)
        return name, bias_name

    def _scale(self, layer: Layer) -> tuple[float, int]:
        """Return (scale, zero point) of a layer's output."""
        if self._feeds_mask(layer):
            return LOGITS_SCALE, 0
        low, high = self.ranges[layer.name]
        if layer.relu:
            return max(high, SMALLEST_RANGE) / 255.0, -128
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, SMALLEST_RANGE) / 255.0
        return scale, int(np.clip(np.round(-128.0 - low / scale), -128, 127))

    def _feeds_mask(self, layer: Layer) -> bool:
        """True for the logits, whether or not a reshape stands between them and the logistic."""
        users = [other for other in self.graph.layers.values() if layer.name in other.inputs]
        return len(users) == 1 and (
            users[0].kind == "sigmoid"
            or (users[0].kind == "reshape" and self._feeds_mask(users[0]))
        )

    def finish(self, name: str) -> QGraph:
        columns = [tensor for tensor in self.tensors if tensor.startswith("column.")]
        return QGraph(
            tensors=list(self.tensors.values()),
            ops=self.ops,
            inputs=[INPUT, *self.states],
            outputs=[OUTPUT, *columns],
            metadata={"edgesep": name},
        )


def _activation(layer: Layer) -> str:
    return "relu" if layer.relu else "none"
