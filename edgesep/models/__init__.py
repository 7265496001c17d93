"""Models and their cards: find one by name or path, check the file, read it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgesep.card import Card, read_card
from edgesep.errors import ModelError, unknown_name

__all__ = ["DEFAULT_MODEL", "find_model", "list_models", "read_model"]

DEFAULT_MODEL = "small-16ms"
_SHIPPED = Path(__file__).parent
_IDENTIFIER = b"TFL3"  # at byte 4 of every .tflite flatbuffer


def list_models() -> list[str]:
    """Names of the models that are shipped with the package, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.tflite"))


def find_model(model: str | os.PathLike[str]) -> tuple[Path, Card]:
    """Return the .tflite path and the card of `model`, a shipped name or a path to a .tflite file.

    Raises ModelError for an unknown name, a missing file, or a card that is missing or invalid.
    """
    text = os.fspath(model)
    path = Path(text).expanduser() if _is_path(text) else _SHIPPED / f"{text}.tflite"
    if not path.is_file():
        raise ModelError(_not_found(text, path))
    if path.suffix != ".tflite":
        raise ModelError(f"{path}: not a .tflite file")
    return path, read_card(path.with_suffix(".json"))


def read_model(path: Path, card: Card) -> bytes:
    """Return the bytes of the model file once they have proved to be the ones the card describes.

    The runtimes may abort the process on a damaged file, so nothing else is handed to them.
    Raises ModelError when the file cannot be read, is no .tflite, or has another SHA-256.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror})") from error
    if content[4:8] != _IDENTIFIER:
        raise ModelError(f"{path}: not a .tflite model (no {_IDENTIFIER.decode()} identifier)")
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise ModelError(
            f"{path}: damaged, or not the model of its card: SHA-256 is {digest[:12]}..., "
            f"the card says {card.sha256[:12]}...; fetch both files again"
        )
    return content


def _is_path(text: str) -> bool:
    return text.endswith((".tflite", ".json")) or "/" in text or os.sep in text


def _not_found(text: str, path: Path) -> str:
    if _is_path(text):
        return f"{path}: no such model file"
    return unknown_name("model", text, list_models()) + "; or give a path to a .tflite file"
