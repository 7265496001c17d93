"""Say whether any .tflite file keeps the model contract, and which tensor breaks it.

What is proven for the files that `convert` writes is asked of foreign ones, by the same code: the
operations whose int8 kernels give the same bytes everywhere (`edgesep.engine.graph`), the ends, the
states and their scales (`qgraph.check_graph`), the Edge TPU's rules (`edgesep.coral.check`), the
bounds of the core's sums (`edgesep.engine.plan`), and the card where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesep.card import StateSpec
from edgesep.coral.check import check_content
from edgesep.engine.graph import Graph, Operation, Tensor, read_graph
from edgesep.engine.plan import make_plan
from edgesep.errors import ModelError
from edgesep.model_facts import verify

from .qgraph import QGraph, QOp, QTensor, check_graph, state_columns

_KINDS = {
    "ADD": "add",
    "CONCATENATION": "concat",
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "depthwise",
    "LOGISTIC": "logistic",
    "RESHAPE": "reshape",
}


@dataclass(frozen=True)
class Finding:
    """One question asked of a file."""

    what: str
    """"operations", "contract", "sums", "Edge TPU", or "card: .."."""
    ok: bool
    found: str
    """What is there, or what is wrong and with which tensor, in one line."""


def check_file(path: Path) -> list[Finding]:
    """Return the findings about a .tflite file, all of them, whether it has a card or not.

    Raises ModelError where it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror})") from error
    findings = check_bytes(content)
    if path.with_suffix(".json").is_file():
        checks = verify(str(path))
        return findings + [Finding(f"card: {c.what}", c.ok, c.found) for c in checks]
    found = f"none beside it: write {path.stem}.json for `edgesep model add`"
    return [*findings, Finding("card", True, found)]


def check_bytes(content: bytes) -> list[Finding]:
    """Return the findings about the bytes of a .tflite file, without its card."""
    return [*_check_graph(content), *_check_edge_tpu(content)]


def _check_graph(content: bytes) -> list[Finding]:
    findings, what = [], "operations"
    try:
        graph = read_graph(content)
        found = f"{len(graph.operations)}, all of the proven kinds, int8"
        findings.append(Finding(what, True, found))
        what = "contract"
        qgraph = as_qgraph(graph)
        check_graph(qgraph)
        states = _states(qgraph)
        found = f"the ends and {len(states)} states are as they should be, scales equal in and out"
        findings.append(Finding(what, True, found))
        what = "sums"
        make_plan(graph, states)
        findings.append(Finding(what, True, "none can leave the core's range"))
    except ModelError as error:
        findings.append(Finding(what, False, str(error)))
    return findings


def _check_edge_tpu(content: bytes) -> list[Finding]:
    what = "Edge TPU"
    try:
        report = check_content(content, "model")
    except ModelError as error:
        return [Finding(what, False, str(error).removeprefix("model: "))]
    broken = [
        Finding(what, False, f"{v.kind}: {v.tensor!r} {v.reason}")
        for v in report.verdicts
        if v.reason
    ]
    found = f"{len(report.verdicts)} operations map by the published rules"
    return broken or [Finding(what, report.all_map, found)]


def _states(qgraph: QGraph) -> list[StateSpec]:
    """Return the states as a card would name them; only a card knows their dilation."""
    tensors = qgraph.by_name()
    states = []
    for name, column in state_columns(qgraph).items():
        _, taps, width, channels = tensors[f"taps.{name}"].shape
        states.append(StateSpec(name, taps, 1, width, channels, column))
    return states


def as_qgraph(graph: Graph) -> QGraph:
    """Return the quantized graph of a file that was read."""
    tensors: dict[int, Tensor] = {tensor.index: tensor for tensor in graph.inputs}
    constants: dict[int, QTensor] = {}
    for operation in graph.operations:
        tensors.update({t.index: t for t in (*operation.inputs, operation.output)})
        if operation.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            constants.update(_constants(operation))
    return QGraph(
        tensors=[constants.get(i) or _activation(tensor) for i, tensor in tensors.items()],
        ops=[_operation(operation) for operation in graph.operations],
        inputs=[tensor.name for tensor in graph.inputs],
        outputs=[tensor.name for tensor in graph.outputs],
    )


def _activation(tensor: Tensor) -> QTensor:
    return QTensor(
        tensor.name, tensor.shape, tensor.scales, tensor.zero_point, tensor.data,
        tensor.quantized_dimension,
    )  # fmt: skip


def _constants(operation: Operation) -> dict[int, QTensor]:
    """Return weights and bias; one scale for all channels, or none of a bias, is spelt out."""
    x, weights, bias = operation.inputs
    axis = 0 if operation.kind == "CONV_2D" else 3
    channels = weights.shape[axis]
    scales = np.broadcast_to(weights.scales, channels)
    wanted = x.scales * scales
    bias_scales = np.broadcast_to(bias.scales, channels) if bias.scales.size == 1 else bias.scales
    return {
        weights.index: QTensor(weights.name, weights.shape, scales, 0, weights.data, axis),
        bias.index: QTensor(
            bias.name,
            bias.shape,
            bias_scales if bias.scales.size else wanted,
            bias.zero_point,
            bias.data,
        ),
    }


def _operation(operation: Operation) -> QOp:
    kind, output = _KINDS[operation.kind], operation.output
    inputs = tuple(tensor.name for tensor in operation.inputs)
    activation = "relu" if operation.relu else "none"
    if kind not in ("conv", "depthwise"):
        return QOp(
            kind,
            inputs,
            output.name,
            activation=activation,
            axis=operation.axis,
            new_shape=output.shape if kind == "reshape" else (),
        )
    return QOp(
        kind,
        inputs,
        output.name,
        stride_h=operation.strides[0],
        stride_w=operation.strides[1],
        padding=_padding(operation),
        activation=activation,
        depth_multiplier=output.shape[3] // operation.inputs[0].shape[3]
        if kind == "depthwise"
        else 1,
    )


def _padding(operation: Operation) -> str:
    """Return the padding that gives the output's shape; where both do, they are the same."""
    x, weights, _ = operation.inputs
    valid = [
        (side - kernel) // stride + 1
        for side, kernel, stride in zip(
            x.shape[1:3], weights.shape[1:3], operation.strides, strict=True
        )
    ]
    return "VALID" if tuple(valid) == operation.output.shape[1:3] else "SAME"
