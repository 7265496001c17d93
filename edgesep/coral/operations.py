"""Read the operations of any .tflite file, known to edgesep or not, for the Edge TPU's rules.

Every access is bounds-checked (`edgesep.engine.flatbuffer`). Field numbers and names are those of
TensorFlow Lite's schema.fbs, version 3.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesep.engine.flatbuffer import Table, root
from edgesep.errors import ModelError

__all__ = ["EDGETPU_CUSTOM_OP", "Operation", "Tensor", "read_operations"]

EDGETPU_CUSTOM_OP = "edgetpu-custom-op"
"""What the compiler leaves in place of the operations that it mapped."""

_MOST_OPERATIONS = 100_000
_TYPES = (  # noqa: SIM905
    "FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64 "
    "RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2"
).split()
_DTYPES = {"INT8": "i1", "UINT8": "u1", "INT32": "<i4", "INT64": "<i8"}
_KINDS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
    RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
    CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
    SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
    CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
    SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
    ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
    REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
    LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
    WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
    REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
    RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Tensor:
    """An activation, or a constant.

    shape: -1 where the size is known only at run time.
    dtype: the schema's name, such as INT8.
    data: the values of a constant of a type that the rules look into; else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_quantized: bool
    zero_point: int
    is_constant: bool
    is_variable: bool
    data: NDArray[Any] | None

    def long_axes(self) -> list[int]:
        """Return the axes that are not 1 long, counted from the innermost: 0, 1, .."""
        return [i for i, length in enumerate(reversed(self.shape)) if length != 1]


@dataclass(frozen=True)
class Operation:
    """One operation, as the file has it.

    kind: the schema's name, such as CONV_2D; the custom name of a CUSTOM one.
    inputs: None for an optional input that is left out.
    options: the table of options, whose fields the rules read by number.
    """

    index: int
    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Table | None

    def option(self, field: int, form: str, default: int = 0) -> int:
        """Return a number of the options; form: a format letter of `struct`."""
        return default if self.options is None else self.options.number(field, form, default)


def read_operations(content: bytes) -> list[Operation]:
    """Return the operations of a .tflite file in the order they run.

    Raises ModelError when the file is damaged or has several subgraphs, which are control flow.
    """
    if content[4:8] != b"TFL3":
        raise ModelError("not a .tflite model (no TFL3 identifier)")
    model = root(content)
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ModelError(
            f"the model has {len(subgraphs)} subgraphs; the Edge TPU's compiler takes one"
        )
    return _Reader(model, subgraphs[0]).operations()


class _Reader:
    def __init__(self, model: Table, subgraph: Table) -> None:
        self._subgraph = subgraph
        self._buffers = model.tables(4)
        self._kinds = [_kind(table) for table in model.tables(1)]
        self._tensors = [self._tensor(i, t) for i, t in enumerate(subgraph.tables(0))]

    def operations(self) -> list[Operation]:
        tables = self._subgraph.tables(3)
        if len(tables) > _MOST_OPERATIONS:
            raise ModelError(f"{len(tables)} operations are more than {_MOST_OPERATIONS}")
        return [self._operation(i, table) for i, table in enumerate(tables)]

    def _operation(self, index: int, table: Table) -> Operation:
        code = table.number(0, "I")
        if code >= len(self._kinds):
            raise ModelError(f"damaged: operation {index} has code {code}")
        inputs = tuple(self._at(int(i)) if i != -1 else None for i in table.array(1, "<i4"))
        outputs = tuple(self._at(int(i)) for i in table.array(2, "<i4"))
        return Operation(index, self._kinds[code], inputs, outputs, table.table(4))

    def _at(self, index: int) -> Tensor:
        if not 0 <= index < len(self._tensors):
            raise ModelError(f"damaged: an operation names tensor {index}")
        return self._tensors[index]

    def _tensor(self, index: int, table: Table) -> Tensor:
        kind = table.number(1, "b")
        dtype = _TYPES[kind] if 0 <= kind < len(_TYPES) else f"type {kind}"
        shape = tuple(int(n) for n in table.array(0, "<i4"))
        signature = [int(n) for n in table.array(7, "<i4")]
        quantization = table.table(4)
        scales, zeros = np.empty(0, "<f4"), np.empty(0, "<i8")
        if quantization is not None:
            scales, zeros = quantization.array(2, "<f4"), quantization.array(3, "<i8")
        content = self._content(table.number(2, "I"))
        return Tensor(
            name=table.text(3) or f"tensor {index}",
            shape=_fixed(shape, signature),
            dtype=dtype,
            is_quantized=scales.size > 0,
            zero_point=int(zeros[0]) if zeros.size else 0,
            is_constant=content.size > 0,
            is_variable=bool(table.number(5, "b")),
            data=_values(content, dtype),
        )

    def _content(self, buffer: int) -> NDArray[np.uint8]:
        if buffer >= len(self._buffers):
            raise ModelError(f"damaged: a tensor names buffer {buffer}")
        return self._buffers[buffer].array(0, "u1")


def _fixed(shape: tuple[int, ...], signature: list[int]) -> tuple[int, ...]:
    """Return the shape with -1 where the signature leaves a size open.

    But for the batch: Keras leaves that open, the file says 1, and Google's own tutorials compile
    such models.
    """
    if len(signature) != len(shape):
        return shape
    pairs = enumerate(zip(shape, signature, strict=True))
    return tuple(-1 if i > 0 and wanted == -1 else n for i, (n, wanted) in pairs)


def _values(content: NDArray[np.uint8], dtype: str) -> NDArray[Any] | None:
    form = _DTYPES.get(dtype)
    if form is None or not content.size or content.size % np.dtype(form).itemsize:
        return None
    return np.frombuffer(content.tobytes(), form)


def _kind(table: Table) -> str:
    # Readers take the larger one: old writers fill only the one-byte field.
    code = max(table.number(0, "b"), table.number(3, "i"))
    kind = _KINDS[code] if 0 <= code < len(_KINDS) else f"operator {code}"
    if kind != "CUSTOM":
        return kind
    return textwrap.shorten(table.text(1), 60) or kind
