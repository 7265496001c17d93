"""The record of a compiled model: NAME_edgetpu.json says which model and compiler it came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgesep.card import Card
from edgesep.errors import ModelError
from edgesep.user_folders import data_folder

__all__ = ["Record", "coral_folder", "find_compiled", "read_compiled", "record_path", "record_text"]

FOLDER_VARIABLE = "EDGESEP_CORAL"
"""Environment variable that names the folder of compiled models."""
SUFFIX = "_edgetpu"  # as the compiler names its output


@dataclass(frozen=True)
class Record:
    """What `edgesep coral compile` found out."""

    source_sha256: str
    """Of the .tflite file that was compiled."""
    sha256: str
    """Of the compiled file."""
    compiler: str
    """Its version, as it says itself."""
    mapped_operations: int


def coral_folder() -> Path:
    """Return where compiled models are kept; it need not exist.

    EDGESEP_CORAL, else edgesep/coral in XDG_DATA_HOME, which is ~/.local/share by default.
    """
    return data_folder("coral", FOLDER_VARIABLE)


def find_compiled(model_path: Path) -> Path:
    """Return the compiled twin of a .tflite file: beside it, or in the folder of compiled ones.

    Where there is none, the place in that folder.
    """
    name = f"{model_path.stem}{SUFFIX}.tflite"
    beside = model_path.with_name(name)
    return beside if beside.is_file() else coral_folder() / name


def record_path(compiled: Path) -> Path:
    """Return where the record of a compiled model lies."""
    return compiled.with_suffix(".json")


def record_text(record: Record) -> str:
    """Return the file's text."""
    return json.dumps(asdict(record), indent=2) + "\n"


def read_compiled(compiled: Path, card: Card) -> bytes:
    """Return the bytes of a compiled model once they proved to be made of the card's model.

    Raises ModelError when it is missing, damaged or was made of another model.
    """
    again = f"run `edgesep coral compile {card.name}`"
    if not compiled.is_file():
        raise ModelError(
            f"{compiled}: no such compiled model: {again} on a computer with Google's compiler"
        )
    try:
        content = compiled.read_bytes()
        record = Record(**json.loads(record_path(compiled).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{record_path(compiled)}: the record of the compiled model is missing or damaged "
            f"({type(error).__name__}): {again}"
        ) from error
    if record.source_sha256 != card.sha256:
        raise ModelError(f"{compiled}: made of another version of {card.name}: {again}")
    if record.sha256 != hashlib.sha256(content).hexdigest():
        raise ModelError(f"{compiled}: damaged, its SHA-256 is not that of its record: {again}")
    return content
