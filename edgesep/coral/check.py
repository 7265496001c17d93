"""Say operation by operation what the Edge TPU's compiler would map of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgesep.coral.operations import Operation, read_operations
from edgesep.coral.rules import RULES, find_breach
from edgesep.errors import ModelError

__all__ = ["Report", "Verdict", "check_content", "check_model", "model_path"]

MAPS, STOPS, NOT_REACHED, ON_CPU = "maps", "stops", "not reached", "on the CPU"


@dataclass(frozen=True)
class Verdict:
    """What becomes of one operation."""

    index: int
    kind: str
    output: str
    """Name of its first output."""
    verdict: str
    """"maps"; "stops": what stops the mapping, with `tensor` and `reason`; "not reached": it could
    be mapped and comes after such a one; "on the CPU": it converts a float input before the part
    that is mapped."""
    tensor: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """The verdicts on a model, in the order its operations run."""

    path: str
    verdicts: tuple[Verdict, ...]

    @property
    def all_map(self) -> bool:
        """True when every operation should be mapped, and there is one."""
        return bool(self.verdicts) and all(v.verdict == MAPS for v in self.verdicts)

    @property
    def counts(self) -> dict[str, int]:
        """Number of operations by verdict."""
        return dict(Counter(v.verdict for v in self.verdicts))

    @property
    def notes(self) -> list[str]:
        """Limits that no number is published for, of the kinds of this model that map."""
        kinds = sorted({v.kind for v in self.verdicts if v.verdict == MAPS})
        rules = [(kind, RULES[kind]) for kind in kinds]
        notes = [f"{kind}: {rule.may_not} may not map" for kind, rule in rules if rule.may_not]
        doubtful = [kind for kind, rule in rules if not rule.confirmed]
        if doubtful:
            notes.append(f"{', '.join(doubtful)}: said to map, not seen in Google's table")
        return notes

    def as_json(self) -> dict[str, Any]:
        """Return the report as a tree for JSON."""
        return {
            "model": self.path,
            "all_map": self.all_map,
            "counts": self.counts,
            "notes": self.notes,
            "operations": [asdict(verdict) for verdict in self.verdicts],
        }


def check_model(model: str) -> Report:
    """Check a shipped model by name, or any .tflite file by path. Raises ModelError."""
    path = model_path(model)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror})") from error
    return check_content(content, str(path))


def check_content(content: bytes, name: str) -> Report:
    """Check the bytes of a .tflite file. Raises ModelError, with `name` in front, for damage."""
    try:
        return Report(name, tuple(_judge(read_operations(content))))
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def model_path(model: str) -> Path:
    """Return the .tflite file of a model's name, or of a path, which needs no card here."""
    path = Path(model).expanduser()
    if path.suffix == ".tflite" and path.is_file():
        return path
    from edgesep.models import find_model

    return find_model(model)[0]


def _judge(operations: Sequence[Operation]) -> list[Verdict]:
    """One unsupported operation ends the mapping: it and all that follow run on the CPU."""
    verdicts: list[Verdict] = []
    mapped = stopped = False
    for operation in operations:
        output = operation.outputs[0].name if operation.outputs else ""
        breach = find_breach(operation)
        if breach is None:
            mapped = True
            word, tensor, reason = (NOT_REACHED, "", "") if stopped else (MAPS, "", "")
        elif not mapped and not stopped and _converts_input(operation):
            word, tensor, reason = ON_CPU, breach.tensor, breach.reason
        else:
            stopped = True
            word, tensor, reason = STOPS, breach.tensor, breach.reason
        verdicts.append(Verdict(operation.index, operation.kind, output, word, tensor, reason))
    return verdicts


def _converts_input(operation: Operation) -> bool:
    """Return True of the QUANTIZE that converters put behind a float input."""
    sources = [tensor for tensor in operation.inputs if tensor is not None]
    return operation.kind == "QUANTIZE" and all(tensor.dtype == "FLOAT32" for tensor in sources)
