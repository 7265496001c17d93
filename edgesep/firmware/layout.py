"""What TensorFlow Lite for Microcontrollers has to know of a .tflite: operators, ends, memory.

Reads any file, compiled ones with an Ethos-U operator too; checks nothing beyond the format. How
much memory TFLM takes is worked out here, from its sources of August 2026.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgesep.engine.flatbuffer import Table, root
from edgesep.engine.memory import Lifetime, place
from edgesep.errors import ModelError

__all__ = ["CPU_METHODS", "NPU_METHODS", "Layout", "read_layout"]

CPU_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "ADD": "AddAdd",
        "CONCATENATION": "AddConcatenation",
        "CONV_2D": "AddConv2D",
        "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
        "LOGISTIC": "AddLogistic",
        "RESHAPE": "AddReshape",
    }
)
"""Methods of TFLM's MicroMutableOpResolver by the operator that they register."""
NPU_METHODS: Mapping[str, str] = MappingProxyType({"ethos-u": "AddEthosU"})
"""The one of a compiled model."""

_CUSTOM = 32
_CODES = {0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 14: "LOGISTIC",
          22: "RESHAPE"}  # fmt: skip
_ITEM_BYTES = {0: 4, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}  # by TensorType; others count as 8
_FILTERS = ("CONV_2D", "DEPTHWISE_CONV_2D")

# Bytes of TFLM's structures with 64-bit pointers, alignment included: more than a board's.
_FIXED = 1024  # allocators, planner, lists of ends
_PER_TENSOR = 24  # TfLiteEvalTensor
_PER_OPERATOR = 64 + 120  # NodeAndRegistration; parameters and the kernel's own data
_PER_END = 64 + 24 + 16  # TfLiteTensor and its quantization
_PER_CHANNEL = 8  # multiplier and shift of a filter
_PER_TENSOR_WHILE_PLANNING = 32 + 40  # AllocationInfo, and the planner's tables
_PER_SCRATCH = 16
_MARGIN = 1.02


@dataclass(frozen=True)
class _Operator:
    kind: str
    """As the schema names it, or the name of a custom one."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class _TensorSpace:
    name: str
    shape: tuple[int, ...]
    size: int
    """Bytes."""
    is_constant: bool


@dataclass(frozen=True)
class Layout:
    """Operators in their order, tensors, and which of them are the ends of the graph."""

    operators: tuple[_Operator, ...]
    tensors: tuple[_TensorSpace, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return how many operators of each kind there are, sorted by kind."""
        kinds = [operator.kind for operator in self.operators]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def makers(self, kinds: Sequence[str]) -> list[str]:
        """Return "KIND makes 'tensor'" for every operator that is none of `kinds`."""
        return [
            f"{operator.kind} makes {self.tensors[operator.outputs[0]].name!r}"
            if operator.outputs
            else operator.kind
            for operator in self.operators
            if operator.kind not in kinds
        ]

    def arena_bytes(self) -> int:
        """Return an arena that is large enough: for any of TFLM's kernels, CMSIS-NN's too.

        An upper bound: TFLM's greedy plan of the activations, the largest scratch buffer that a
        kernel asks for, and TFLM's structures as they are on a 64-bit machine.
        """
        channels = sum(
            self.tensors[op.outputs[0]].shape[-1] for op in self.operators if op.kind in _FILTERS
        )
        scratches = [self._scratch_bytes(operator) for operator in self.operators]
        ends = len(self.inputs) + len(self.outputs)
        kept = (
            _FIXED
            + _PER_TENSOR * len(self.tensors)
            + _PER_OPERATOR * len(self.operators)
            + _PER_END * ends
            + _PER_CHANNEL * channels
            + _PER_SCRATCH * sum(size > 0 for size in scratches)
        )
        planning = _PER_TENSOR_WHILE_PLANNING * (len(self.tensors) + len(scratches))
        total = _MARGIN * (kept + max(self._planned_bytes(scratches), planning))
        return math.ceil(total / 256) * 256

    def _planned_bytes(self, scratches: Sequence[int]) -> int:
        """Return what TFLM's planner takes for the activations, each in memory of its own."""
        first: dict[str, int] = dict.fromkeys(self.inputs, 0)
        last: dict[str, int] = dict.fromkeys(self.inputs, 0)
        by_index = {i: t.name for i, t in enumerate(self.tensors) if not t.is_constant}
        sizes = {t.name: t.size for t in self.tensors if not t.is_constant}
        for step, operator in enumerate(self.operators):
            for index in (*operator.inputs, *operator.outputs):
                name = by_index.get(index)
                if name is not None:
                    first.setdefault(name, step)
                    last[name] = step
        last.update(dict.fromkeys(self.outputs, len(self.operators)))
        lives = [Lifetime(sizes[name], first[name], last[name]) for name in first]
        lives += [Lifetime(size, step, step) for step, size in enumerate(scratches) if size]
        return place(lives)[1]

    def _scratch_bytes(self, operator: _Operator) -> int:
        """Return the largest buffer that a kernel of CMSIS-NN or the Ethos-U's asks for."""
        if operator.kind in NPU_METHODS:  # a 64-bit address and a size for each tensor
            return 16 * (len(operator.inputs) + len(operator.outputs))
        if operator.kind not in _FILTERS:
            return 0
        _, *kernel, depth = self.tensors[operator.inputs[1]].shape
        values = math.prod(kernel) * (-(-depth // 16) * 16)
        # Convolutions: up to four columns of bytes (Helium), two of 16 bits (DSP). Depthwise:
        # four blocks of 124 channels (Helium), the kernel in 16 bits (DSP).
        if operator.kind == "CONV_2D":
            return 4 * (values + 16)
        return max(4 * 124 * math.prod(kernel), 2 * values)


def read_layout(content: bytes) -> Layout:
    """Return the layout of a .tflite file. Raises ModelError for a damaged one."""
    model = root(content)
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ModelError(f"the file has {len(subgraphs)} subgraphs, one is expected")
    subgraph = subgraphs[0]
    filled = [table.array(0, "u1").size > 0 for table in model.tables(4)]
    kinds = [_kind(table) for table in model.tables(1)]
    tensors = tuple(_tensor(table, filled) for table in subgraph.tables(0))
    operators = tuple(_operator(table, kinds, len(tensors)) for table in subgraph.tables(3))
    inputs, outputs = (
        tuple(tensors[i].name for i in _indices(subgraph, field, len(tensors))) for field in (1, 2)
    )
    return Layout(operators, tensors, inputs, outputs)


def _kind(table: Table) -> str:
    code = max(table.number(0, "b"), table.number(3, "i"))
    if code == _CUSTOM:
        return table.text(1) or "CUSTOM"
    return _CODES.get(code, f"operator {code}")


def _tensor(table: Table, filled: Sequence[bool]) -> _TensorSpace:
    shape = tuple(int(n) for n in table.array(0, "<i4"))
    buffer = table.number(2, "I")
    size = math.prod(shape) * _ITEM_BYTES.get(table.number(1, "b"), 8)
    return _TensorSpace(table.text(3), shape, size, buffer < len(filled) and filled[buffer])


def _operator(table: Table, kinds: Sequence[str], tensor_count: int) -> _Operator:
    code = table.number(0, "I")
    if code >= len(kinds):
        raise ModelError(f"damaged: an operation has code {code}")
    inputs, outputs = (_indices(table, field, tensor_count) for field in (1, 2))
    return _Operator(kinds[code], inputs, outputs)


def _indices(table: Table, field: int, tensor_count: int) -> tuple[int, ...]:
    """Return indices of tensors; a missing optional one, -1, is left out."""
    indices = tuple(int(i) for i in table.array(field, "<i4") if i != -1)
    if any(not 0 <= i < tensor_count for i in indices):
        raise ModelError(f"damaged: it names tensors {indices} of {tensor_count}")
    return indices
