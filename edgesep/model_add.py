"""Copy a user's own model and its card to where every command finds it by name."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from edgesep.card import read_card
from edgesep.errors import ModelError
from edgesep.model_facts import verify
from edgesep.models import find_model, list_models, read_model, user_folder

__all__ = ["add_model"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def add_model(model: Path, card: Path | None = None, *, replace: bool = False) -> tuple[str, Path]:
    """Check a model and its card and copy both into `user_folder()`; return its name and path.

    model: a .tflite file. card: its card; None for the .json file beside it. The card says the
    name. replace: a model of the user's with this name may be overwritten.
    Whatever happens, the folder holds the whole model under that name, the one that was there, or
    none. Raises ModelError for a model that fails a check of `verify`, for a name that is taken or
    is no file name, and for a folder that cannot be written.
    """
    if model.suffix != ".tflite":
        raise ModelError(f"{model}: not a .tflite file")
    if not model.is_file():
        raise ModelError(f"{model}: no such model file")
    card_path = card or model.with_suffix(".json")
    name = read_card(card_path).name
    _check_name(name, card_path)
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=folder) as name_of_copy:
            copy = Path(name_of_copy, f"{name}.tflite")
            shutil.copyfile(model, copy)
            shutil.copyfile(card_path, copy.with_suffix(".json"))
            _check_copy(copy, model)  # what was checked is what becomes visible
            _publish(copy, folder, replace=replace)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{folder}: cannot add the model there ({reason})") from error
    return name, folder / f"{name}.tflite"


def _check_name(name: str, card_path: Path) -> None:
    if not _NAME.fullmatch(name) or name.endswith((".tflite", ".json")):
        raise ModelError(
            f"{card_path}: name is {name!r}: use letters, digits, '.', '_' and '-', 64 at most"
        )
    if name in list_models():
        raise ModelError(
            f"{card_path}: name is {name!r}, which is a shipped model: give the card another name"
        )


def _check_copy(copy: Path, original: Path) -> None:
    for check in verify(str(copy)):
        if not check.ok:
            found = check.found.replace(str(copy), str(original))
            where = "" if str(original) in found else f"{original}: {check.what}: "
            raise ModelError(f"{where}{found}")


def _publish(copy: Path, folder: Path, *, replace: bool) -> None:
    """Move the pair into the folder: the card first, since a model is there when its file is."""
    target = folder / copy.name
    if target.exists():
        if _same(copy, target):
            return
        if not replace:
            raise ModelError(
                f"{target}: there is another model of this name: --force replaces it, "
                "or give the card another name"
            )
        target.unlink()
    for path in (copy.with_suffix(".json"), copy):
        with path.open("r+b") as file:  # Windows syncs no file that is open for reading
            os.fsync(file.fileno())
        path.replace(folder / path.name)


def _same(copy: Path, target: Path) -> bool:
    try:
        content = read_model(*find_model(target))
    except ModelError:
        return False  # damaged: --force repairs it
    card, other = copy.with_suffix(".json"), target.with_suffix(".json")
    return content == copy.read_bytes() and card.read_bytes() == other.read_bytes()
