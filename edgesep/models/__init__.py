"""Models and their cards: find one by name or path, check the file, read it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgesep.card import Card, read_card
from edgesep.errors import ModelError, unknown_name
from edgesep.keys import DEFAULT_MODEL
from edgesep.small_file import NotSmall, read_small
from edgesep.user_folders import data_folder

__all__ = [
    "DEFAULT_MODEL",
    "find_model",
    "list_models",
    "read_model",
    "user_folder",
    "user_models",
]

FOLDER_VARIABLE = "EDGESEP_MODELS"
"""Environment variable that names the folder of the user's own models."""
MAX_MODEL_BYTES = 1 << 28
_SHIPPED = Path(__file__).parent
_IDENTIFIER = b"TFL3"  # at byte 4 of every .tflite flatbuffer


def list_models() -> list[str]:
    """Names of the models that are shipped with the package, sorted."""
    return _names(_SHIPPED)


def user_models() -> list[str]:
    """Names of the models that the user has added, sorted."""
    return _names(user_folder())


def user_folder() -> Path:
    """Return where the user's own models are; it need not exist.

    EDGESEP_MODELS, else edgesep/models in XDG_DATA_HOME, which is ~/.local/share by default.
    """
    return data_folder("models", FOLDER_VARIABLE)


def find_model(model: str | os.PathLike[str]) -> tuple[Path, Card]:
    """Return the .tflite path and the card of `model`: a name, or a path to a .tflite file.

    Raises ModelError for an unknown name, a name that is both a shipped model's and one of the
    user's, a missing file, or a card that is missing or invalid.
    """
    text = os.fspath(model)
    path = Path(text).expanduser() if _is_path(text) else _by_name(text)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    if path.suffix != ".tflite":
        raise ModelError(f"{path}: not a .tflite file")
    return path, read_card(path.with_suffix(".json"))


def read_model(path: Path, card: Card) -> bytes:
    """Return the bytes of the model file once they have proved to be the ones the card describes.

    The runtimes may abort the process on a damaged file, so nothing else is handed to them.
    Raises ModelError when the file cannot be read, is no .tflite, or has another SHA-256.
    """
    try:
        content = read_small(path, MAX_MODEL_BYTES)
    except NotSmall as error:
        raise ModelError(f"{path}: not a model for this: {error}") from error
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


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.stem for path in folder.glob("*.tflite"))
    except OSError:  # a folder that may not be listed: its models cannot be used either
        return []


def _is_path(text: str) -> bool:
    return text.endswith((".tflite", ".json")) or "/" in text or os.sep in text


def _by_name(name: str) -> Path:
    own = user_folder() / f"{name}.tflite"
    if name in list_models():
        if name in user_models():
            raise ModelError(
                f"model {name!r} is shipped with edgesep and also stands in {own.parent}: "
                "rename the latter, or say which by its path"
            )
        return _SHIPPED / own.name
    if name in user_models():
        return own
    known = unknown_name("model", name, [*list_models(), *user_models()])
    raise ModelError(f"{known}; or give a path to a .tflite file, or `edgesep model add` one")
