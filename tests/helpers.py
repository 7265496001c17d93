"""A small random model with its card, for tests that need some model and not a good one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgesep.card import Card, StateSpec, write_card
from edgesep.contract import FrameContract
from export.graph import Graph
from export.qgraph import QGraph, QOp, QTensor, state_columns
from export.tflite import write_tflite

BANDS = 64
SINGLE_BINS = 32


def write_random_model(directory: Path, hop: int = 128, seed: int = 0) -> Path:
    """Write random-HOP-SEED.tflite and its card into `directory`; return the path of the model.

    The model has all the operations and kinds of state that trained ones have, 64 bands, four
    states and about 10,000 parameters. Equal arguments give equal bytes.
    """
    pytest.importorskip("ai_edge_litert", reason="writing a .tflite needs ai-edge-litert")
    graph, dilations = random_graph(seed)
    content = write_tflite(graph)
    path = Path(directory) / f"random-{hop}-{seed}.tflite"
    path.write_bytes(content)
    write_card(random_card(graph, dilations, content, path.stem, hop), path.with_suffix(".json"))
    return path


def random_contract(hop: int = 128) -> FrameContract:
    """Return a frame contract with 64 bands: 32 single bins, then wider ones."""
    wide = np.geomspace(SINGLE_BINS, 256, BANDS - SINGLE_BINS + 1)
    edges = np.concatenate([np.arange(SINGLE_BINS), np.round(wide).astype(int)])
    return FrameContract(
        hop_samples=hop,
        fade_samples=min(hop, 128),
        band_edges=tuple(int(edge) for edge in edges),
        floor_rise_shift=8,
        floor_fall_shift=3,
    )


def random_card(
    graph: QGraph, dilations: dict[str, int], content: bytes, name: str, hop: int
) -> Card:
    """Return the card of a graph that was written as `content`."""
    return Card(
        name=name,
        version="0",
        sha256=hashlib.sha256(content).hexdigest(),
        contract=random_contract(hop),
        states=tuple(states_of(graph, dilations)),
        licence="Apache-2.0",
        parameters=sum(t.data.size for t in graph.tensors if t.data is not None),
        training={"data": "none: random weights"},
    )


def states_of(graph: QGraph, dilations: dict[str, int]) -> list[StateSpec]:
    """Return the states of a graph as its card describes them."""
    tensors = graph.by_name()
    states = []
    for state, column in state_columns(graph).items():
        _, taps, width, channels = tensors[f"taps.{state}"].shape
        states.append(StateSpec(state, taps, dilations[state], width, channels, column))
    return states


def random_graph(seed: int = 0) -> tuple[QGraph, dict[str, int]]:
    """Return a streaming network with random weights, and the dilation of each state."""
    net = NetBuilder(seed)
    x = net.recall("enc0", "features", taps=2)
    x = net.filter("conv", "column.enc1", x, 16, (3, 3), (3, 2), "SAME", "relu")
    skip = x
    x = net.recall("enc1", x, taps=2)
    x = net.filter("depthwise", "enc1.dw", x, 16, (3, 3), (3, 2), "SAME", "relu")
    x = net.filter("conv", "enc1.pw", x, 24, activation="relu")
    inner = x
    x = net.filter("conv", "column.ctx0", x, 16, (1, 16), activation="relu")
    residual = x
    x = net.recall("ctx0", x, taps=2, dilation=3)
    x = net.filter("depthwise", "ctx0.dw", x, 16, (3, 1), activation="relu")
    x = net.filter("conv", "ctx0.pw", x, 16)
    x = net.add("column.ctx1", residual, x)
    residual = x
    x = net.recall("ctx1", x, taps=1, dilation=2)
    x = net.filter("depthwise", "ctx1.dw", x, 16, (2, 1))
    x = net.filter("conv", "ctx1.pw", x, 16)
    x = net.add("ctx1.sum", residual, x)
    x = net.filter("conv", "expand.pw", x, 16 * 8)
    x = net.reshape("expand", x, 16)
    x = net.filter("conv", "dec1.in", x, 24)
    x = net.add("dec1.skip", x, inner)
    x = net.filter("conv", "dec1.pw", x, 2 * 16)
    x = net.reshape("dec1", x, 32)
    x = net.add("dec0.skip", x, skip)
    x = net.filter("conv", "dec0.pw", x, 2, (1, 3), (1, 1), "SAME")
    x = net.reshape("logits", x, BANDS)
    return net.finish(x), net.dilations


class NetBuilder:
    """Appends operations; scales are guesses that keep random activations inside int8."""

    def __init__(self, seed: int, bands: int = BANDS) -> None:
        self._rng = np.random.default_rng(seed)
        self._tensors: dict[str, QTensor] = {}
        self._ops: list[QOp] = []
        self.dilations: dict[str, int] = {}
        self._tensor("features", (1, 1, bands, 2), 1 / 32, 0)

    def _tensor(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        self._tensors[name] = QTensor(name, shape, scale, zero_point)
        return name

    def recall(self, state: str, column: str, taps: int, dilation: int = 1) -> str:
        """Put the state's columns in front of the new one."""
        old = self._tensors[column]
        shape = old.shape[2:]
        scale, zero_point = float(old.scales[0]), old.zero_point
        self._tensor(f"taps.{state}", (1, taps, *shape), scale, zero_point)
        output = self._tensor(f"{state}.frames", (1, taps + 1, *shape), scale, zero_point)
        self._ops.append(QOp("concat", (f"taps.{state}", column), output, axis=1))
        self.dilations[state] = dilation
        return output

    def width(self, x: str) -> int:
        """Return the number of positions that a tensor has side by side."""
        return self._tensors[x].shape[2]

    def filter(
        self,
        kind: str,
        output: str,
        x: str,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: str = "VALID",
        activation: str = "none",
        gain: float = 1.0,
    ) -> str:
        """Append a convolution with random weights of about that gain."""
        source = self._tensors[x]
        _, height, width, depth = source.shape
        if kind == "conv":
            shape, axes, axis = (channels, *kernel, depth), (1, 2, 3), 0
        else:
            shape, axes, axis = (1, *kernel, channels), (0, 1, 2), 3
        fan_in = kernel[0] * kernel[1] * (depth if kind == "conv" else 1)
        weights = gain * self._rng.normal(0, np.sqrt(1.5 / fan_in), shape)
        w_scale = (np.abs(weights).max(axis=axes) / 127).astype(np.float32)
        steps = weights / np.expand_dims(w_scale, axes)
        b_scale = source.scales * w_scale
        bias = np.round(self._rng.normal(0, 0.2, channels) / b_scale)
        w_name, b_name = f"{output}.weights", f"{output}.bias"
        data = np.clip(np.round(steps), -127, 127).astype(np.int8)
        self._tensors[w_name] = QTensor(w_name, shape, w_scale, 0, data, axis)
        self._tensors[b_name] = QTensor(b_name, (channels,), b_scale, 0, bias.astype(np.int32))
        sizes = [
            -(-side // s) if padding == "SAME" else (side - k) // s + 1
            for side, k, s in zip((height, width), kernel, stride, strict=True)
        ]
        scale, zero_point = (10 / 255, -128) if activation == "relu" else (8 / 127, 3)
        self._tensor(output, (1, *sizes, channels), scale, zero_point)
        copies = channels // depth if kind == "depthwise" else 1
        inputs = (x, w_name, b_name)
        self._ops.append(QOp(kind, inputs, output, *stride, padding, activation, copies))
        return output

    def add(self, output: str, a: str, b: str) -> str:
        """Append a sum."""
        self._tensor(output, self._tensors[a].shape, 10 / 127, -7)
        self._ops.append(QOp("add", (a, b), output))
        return output

    def reshape(self, output: str, x: str, width: int) -> str:
        """Append a reshape of channels into bands."""
        old = self._tensors[x]
        shape = (1, 1, width, old.shape[2] * old.shape[3] // width)
        self._tensor(output, shape, float(old.scales[0]), old.zero_point)
        self._ops.append(QOp("reshape", (x,), output, new_shape=shape))
        return output

    def finish(self, logits: str) -> QGraph:
        """Append the logistic and return the graph."""
        self._tensor("mask", self._tensors[logits].shape, 1 / 256, -128)
        self._ops.append(QOp("logistic", (logits,), "mask"))
        return QGraph(
            tensors=list(self._tensors.values()),
            ops=self._ops,
            inputs=[n for n in self._tensors if n == "features" or n.startswith("taps.")],
            outputs=["mask", *(n for n in self._tensors if n in _columns(self._ops))],
            metadata={"edgesep": "random weights"},
        )


def _columns(ops: list[QOp]) -> set[str]:
    names = {name for op in ops if op.kind == "concat" for name in op.inputs}
    return {name for name in names if name.startswith("column.")}


def random_weights(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Return folded weights for a network of export/, with gains near one."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in graph.layers.values():
        if layer.has_weights:
            fan = () if layer.kind == "depthwise" else (graph.shape(layer.inputs[0])[1],)
            shape = (layer.kernel_frames, layer.kernel_bands, *fan, layer.channels)
            scale = (2.0 / np.prod(shape[:-1])) ** 0.5
            weights[f"{layer.name}/kernel"] = rng.normal(0, scale, shape).astype(np.float32)
            weights[f"{layer.name}/bias"] = rng.normal(0, 0.1, layer.channels).astype(np.float32)
    return weights
