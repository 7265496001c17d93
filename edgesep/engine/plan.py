"""Compile a graph into the constant tables that the C core runs: steps, weights, memory.

The dataclasses are the structs of core/edgesep_network.h, field by field, and the name of
the tensor that a step makes. Zero points,
multipliers and tables are worked out here once, memory is laid out, and what could overflow is
refused: the core trusts the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgesep.card import FEATURES, StateSpec
from edgesep.engine.gemmlowp import logistic_table, multiplier_and_shift
from edgesep.engine.graph import Graph, Operation, Tensor
from edgesep.engine.memory import ALIGNMENT, Lifetime, place
from edgesep.errors import ModelError

__all__ = ["MASK", "Copy", "Filter", "Lookup", "Plan", "Recall", "Scale", "Sum", "make_plan"]

MASK = "mask"
ROW_ALIGN = 16  # EDGESEP_ROW_ALIGN
KERNEL_ROW_ALIGN = 4
"""Values of a kernel's row are filled up to words, so that each begins one."""
SLACK = 16
"""Zeros behind the weights of a depthwise convolution: vectors read over its last channel."""
CONV, DEPTHWISE, SUM, COPY, RECALL, LOOKUP = range(6)  # edgesep_step_kind
_SUM_LEFT_SHIFT = 20
_SUM_LIMIT = 1 << 30

Step = TypeVar("Step")


@dataclass(frozen=True)
class Scale:
    """struct edgesep_scale: multiplier / 2^31 / 2^shift."""

    multiplier: int
    shift: int


@dataclass(frozen=True)
class Filter:
    """struct edgesep_filter."""

    name: str
    input: int
    output: int
    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_top: int
    pad_left: int
    in_zero: int
    out_zero: int
    low: int
    right_only: int
    row_bytes: int
    weights: NDArray[
        np.int8
    ]  # (out_channels, row_bytes); depthwise (kernel * out_channels + SLACK,)
    bias: NDArray[np.int32]  # (out_channels,)
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]


@dataclass(frozen=True)
class Sum:
    """struct edgesep_sum."""

    name: str
    first: int
    second: int
    output: int
    count: int
    first_zero: int
    second_zero: int
    out_zero: int
    low: int
    first_scale: Scale
    second_scale: Scale
    out_scale: Scale


@dataclass(frozen=True)
class Copy:
    """struct edgesep_copy."""

    name: str
    input: int
    output: int
    rows: int
    row_bytes: int
    output_stride: int


@dataclass(frozen=True)
class Recall:
    """struct edgesep_recall."""

    name: str
    column: int
    output: int
    ring: int
    taps: int
    dilation: int
    column_bytes: int
    zero: int


@dataclass(frozen=True)
class Lookup:
    """struct edgesep_lookup."""

    name: str
    input: int
    output: int
    count: int
    table: NDArray[np.int8]  # (256,)


@dataclass(frozen=True)
class Plan:
    """struct edgesep_network; steps are (kind, index in the tuple of that kind)."""

    features: int
    features_bytes: int
    mask: int
    mask_bytes: int
    arena_bytes: int
    rings_bytes: int
    patch_values: int
    steps: tuple[tuple[int, int], ...]
    filters: tuple[Filter, ...]
    sums: tuple[Sum, ...]
    copies: tuple[Copy, ...]
    recalls: tuple[Recall, ...]
    lookups: tuple[Lookup, ...]


def make_plan(graph: Graph, states: Sequence[StateSpec]) -> Plan:
    """Compile `graph`, whose ends have been checked against the card that `states` come from.

    Raises ModelError naming the operation and the tensor for a state that is used in another way
    than concat(taps, column), and for factors and sums that the core's arithmetic does not hold.
    """
    return _Compiler(graph, states).plan()


class _Compiler:
    def __init__(self, graph: Graph, states: Sequence[StateSpec]) -> None:
        self._graph = graph
        self._states = {state.taps_tensor: state for state in states}
        for name, state in self._states.items():
            _check_state(graph, name, state)
        self._offsets, self._arena_bytes = _lay_out(graph, set(self._states))
        self._rings_bytes = 0
        self._steps: list[tuple[int, int]] = []
        self._filters: list[Filter] = []
        self._sums: list[Sum] = []
        self._copies: list[Copy] = []
        self._recalls: list[Recall] = []
        self._lookups: list[Lookup] = []

    def plan(self) -> Plan:
        for operation in self._graph.operations:
            self._compile(operation)
        features = next(t for t in self._graph.inputs if t.name == FEATURES)
        mask = next(t for t in self._graph.outputs if t.name == MASK)
        return Plan(
            features=self._offsets[features.index],
            features_bytes=features.size,
            mask=self._offsets[mask.index],
            mask_bytes=mask.size,
            arena_bytes=self._arena_bytes,
            rings_bytes=self._rings_bytes,
            patch_values=max(map(_patch_values, self._filters), default=0),
            steps=tuple(self._steps),
            filters=tuple(self._filters),
            sums=tuple(self._sums),
            copies=tuple(self._copies),
            recalls=tuple(self._recalls),
            lookups=tuple(self._lookups),
        )

    def _compile(self, operation: Operation) -> None:
        if operation.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kind = CONV if operation.kind == "CONV_2D" else DEPTHWISE
            self._append(kind, self._filters, self._filter(operation))
        elif operation.kind == "ADD":
            self._append(SUM, self._sums, self._sum(operation))
        elif operation.kind == "LOGISTIC":
            self._append(LOOKUP, self._lookups, self._lookup(operation))
        elif operation.kind == "CONCATENATION":
            if operation.inputs[0].name in self._states:
                self._append(RECALL, self._recalls, self._recall(operation))
            else:
                for copy in self._parts(operation):
                    self._append(COPY, self._copies, copy)
        # RESHAPE moves nothing: its output lies where its input does.

    def _append(self, kind: int, steps: list[Step], step: Step) -> None:
        self._steps.append((kind, len(steps)))
        steps.append(step)

    def _filter(self, operation: Operation) -> Filter:
        x, weights, _ = operation.inputs
        output = operation.output
        is_conv = operation.kind == "CONV_2D"
        values, bias = _conv_weights(operation) if is_conv else _depthwise_weights(operation)
        multiplier, shift = _multipliers(operation)
        _check_sums(operation, values, bias, shift)
        return Filter(
            name=output.name,
            input=self._offsets[x.index],
            output=self._offsets[output.index],
            in_height=x.shape[1],
            in_width=x.shape[2],
            in_channels=x.shape[3],
            out_height=output.shape[1],
            out_width=output.shape[2],
            out_channels=output.shape[3],
            kernel_height=weights.shape[1],
            kernel_width=weights.shape[2],
            stride_height=operation.strides[0],
            stride_width=operation.strides[1],
            pad_top=operation.pads[0],
            pad_left=operation.pads[1],
            in_zero=x.zero_point,
            out_zero=output.zero_point,
            low=_low(operation),
            right_only=int(shift.min() > 0),
            row_bytes=values.shape[1] if is_conv else 0,
            weights=values if is_conv else np.append(values, np.zeros(SLACK, np.int8)),
            bias=bias.astype(np.int32),
            multiplier=multiplier,
            shift=shift,
        )

    def _sum(self, operation: Operation) -> Sum:
        first, second = operation.inputs
        output = operation.output
        twice = 2.0 * max(first.scale, second.scale)
        return Sum(
            name=output.name,
            first=self._offsets[first.index],
            second=self._offsets[second.index],
            output=self._offsets[output.index],
            count=output.size,
            first_zero=first.zero_point,
            second_zero=second.zero_point,
            out_zero=output.zero_point,
            low=_low(operation),
            first_scale=_below_one(operation, first.scale / twice),
            second_scale=_below_one(operation, second.scale / twice),
            out_scale=_below_one(operation, twice / ((1 << _SUM_LEFT_SHIFT) * output.scale)),
        )

    def _parts(self, operation: Operation) -> list[Copy]:
        """Return a copy for each input of a concatenation."""
        output, axis = operation.output, operation.axis
        rows = int(np.prod(output.shape[:axis], dtype=np.int64))
        stride, offset, copies = output.size // rows, self._offsets[output.index], []
        for tensor in operation.inputs:
            row_bytes = tensor.size // rows
            source = self._offsets[tensor.index]
            copies.append(Copy(output.name, source, offset, rows, row_bytes, stride))
            offset += row_bytes
        return copies

    def _recall(self, operation: Operation) -> Recall:
        taps, column = operation.inputs
        state = self._states[taps.name]
        ring = self._rings_bytes
        self._rings_bytes += -(-state.state_bytes // ALIGNMENT) * ALIGNMENT
        return Recall(
            name=operation.output.name,
            column=self._offsets[column.index],
            output=self._offsets[operation.output.index],
            ring=ring,
            taps=state.taps,
            dilation=state.dilation,
            column_bytes=column.size,
            zero=taps.zero_point,
        )

    def _lookup(self, operation: Operation) -> Lookup:
        (x,), output = operation.inputs, operation.output
        table = np.array(logistic_table(x.scale, x.zero_point), np.int8)
        source, target = self._offsets[x.index], self._offsets[output.index]
        return Lookup(output.name, source, target, output.size, table)


def _patch_values(step: Filter) -> int:
    """Return what one of the two halves of the kernels' scratch must hold, in int16 values."""
    taps = step.kernel_height * step.kernel_width
    return step.row_bytes or _round_up(-(-taps * step.in_channels // 4), ROW_ALIGN)


def _check_state(graph: Graph, name: str, state: StateSpec) -> None:
    """Every state goes into one concat along time, behind it the column that the card names."""
    users = [op for op in graph.operations if any(t.name == name for t in op.inputs)]
    wanted = f"{name!r} must go into one CONCATENATION along time, before {state.column!r}"
    if len(users) != 1:
        raise ModelError(f"{wanted}; {len(users)} operations use it")
    (user,) = users
    names = [tensor.name for tensor in user.inputs]
    if user.kind != "CONCATENATION" or user.axis != 1 or names != [name, state.column]:
        raise ModelError(f"{wanted}; {user.kind} makes {user.output.name!r} of {names}")


def _lay_out(graph: Graph, states: set[str]) -> tuple[dict[int, int], int]:
    """Return each activation's offset in the arena, by tensor index, and the arena's size."""
    end = len(graph.operations)
    home: dict[int, int] = {}  # a tensor -> the one whose bytes it lies in
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    size: dict[int, int] = {}

    def born(tensor: Tensor, step: int) -> None:
        home[tensor.index] = tensor.index
        first[tensor.index] = last[tensor.index] = step
        size[tensor.index] = tensor.size

    for tensor in graph.inputs:
        if tensor.name not in states:
            born(tensor, -1)
    for step, operation in enumerate(graph.operations):
        for tensor in operation.inputs:
            if tensor.index in home:
                last[home[tensor.index]] = step
        if operation.kind == "RESHAPE":
            home[operation.output.index] = home[operation.inputs[0].index]
        else:
            born(operation.output, step)
    for tensor in graph.outputs:
        if tensor.name == MASK:  # the rings have kept the columns
            last[home[tensor.index]] = end
    homes = sorted(size)
    offsets, arena_bytes = place([Lifetime(size[i], first[i], last[i]) for i in homes])
    of_home = dict(zip(homes, offsets, strict=True))
    return {index: of_home[i] for index, i in home.items()}, arena_bytes


def _low(operation: Operation) -> int:
    return max(-128, operation.output.zero_point) if operation.relu else -128


def _conv_weights(operation: Operation) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return rows of weights filled up with zeros, and the bias that stands in for the zero point.

    A row is the kernel's rows, each filled up to words. The kernels multiply the input's bytes as
    they are: sum w (x - z) = sum w x - z sum w.
    """
    x, weights, bias = operation.inputs
    assert weights.data is not None and bias.data is not None
    channels, height = weights.shape[:2]
    rows = weights.data.reshape(channels, height, -1)
    row_values = _round_up(rows.shape[2], KERNEL_ROW_ALIGN)
    padded = np.zeros((channels, _round_up(height * row_values, ROW_ALIGN)), np.int8)
    inner = padded[:, : height * row_values].reshape(channels, height, row_values)
    inner[:, :, : rows.shape[2]] = rows
    return padded, _folded(bias.data, x.zero_point, rows.sum(axis=(1, 2), dtype=np.int64))


def _depthwise_weights(operation: Operation) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return weights (kernel, out_channels), and the bias that stands in for the zero point."""
    x, weights, bias = operation.inputs
    assert weights.data is not None and bias.data is not None
    values = np.ascontiguousarray(weights.data.reshape(-1, weights.shape[3]), np.int8)
    return values, _folded(bias.data, x.zero_point, values.sum(axis=0, dtype=np.int64))


def _folded(
    bias: NDArray[Any], zero_point: int, weight_sums: NDArray[np.int64]
) -> NDArray[np.int64]:
    return bias.astype(np.int64) - zero_point * weight_sums


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _multipliers(operation: Operation) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Return multiplier and shift of each output channel."""
    x, weights, _ = operation.inputs
    scales = np.broadcast_to(weights.scales, operation.output.shape[3])
    factors = [x.scale * float(scale) / operation.output.scale for scale in scales]
    pairs = [multiplier_and_shift(factor) for factor in factors]
    if any(shift < -30 for _, shift in pairs):
        raise ModelError(f"{operation.kind}: {weights.name!r} has a scale above 2^30 steps")
    multiplier, shift = np.array(pairs).T
    return multiplier.astype(np.int32), shift.astype(np.int8)


def _check_sums(
    operation: Operation,
    weights: NDArray[np.int8],
    bias: NDArray[np.int64],
    shift: NDArray[np.int8],
) -> None:
    """Refuse sums that could leave the range in which the core rounds as the reference does."""
    is_conv = operation.kind == "CONV_2D"
    total = np.abs(weights.astype(np.int64)).sum(axis=1 if is_conv else 0)
    left = np.maximum(-shift.astype(np.int64), 0)
    if np.any((np.abs(bias) + 128 * total) << left >= _SUM_LIMIT):
        name = operation.inputs[2].name
        raise ModelError(f"{operation.kind}: with {name!r} a sum may leave 2^30 steps")


def _below_one(operation: Operation, factor: float) -> Scale:
    multiplier, shift = multiplier_and_shift(factor)
    if shift < 0 or multiplier == 0:
        raise ModelError(
            f"{operation.kind}: {operation.output.name!r} is rescaled by {factor:g}, "
            "which is not between 2^-32 and 1"
        )
    return Scale(multiplier, shift)
