"""Settings from board files, a YAML file and `--set key=value`: the same keys and checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesep.errors import SettingsError, unknown_name
from edgesep.keys import ALL_KEYS, DEFAULT_MODEL
from edgesep.live_settings import LiveSettings
from edgesep.settings import Settings
from edgesep.yaml_file import read_keys

__all__ = [
    "DEFAULT_MODEL",
    "KEYS",
    "Config",
    "board_file",
    "board_files",
    "is_firmware_board",
    "list_boards",
    "origins",
    "parse_assignments",
    "read_yaml",
    "show_yaml",
]

# Key in YAML and for --set -> field of Settings, or "model" for the model itself.
KEYS = {key.name: key.field for key in ALL_KEYS.values() if key.owner != "live"}
FIRMWARE_SECTION = "firmware"
"""The one section of files that describe a board for `edgesep firmware`."""
_PACKAGE = Path(__file__).parent
_BOARD_FOLDERS = (_PACKAGE / "firmware_configs", _PACKAGE.parent / "firmware_configs")
_YES_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Config:
    """What to isolate with, and, for live sound, where it comes from and goes to."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or path of a .tflite file."""
    settings: Settings = field(default_factory=Settings)
    """See `Settings`."""
    live: LiveSettings = field(default_factory=LiveSettings)
    """See `LiveSettings`; only `edgesep run` reads them."""

    @classmethod
    def from_keys(cls, *layers: Mapping[str, object]) -> Config:
        """Build a configuration from layers of full keys (`ALL_KEYS`); later layers win.

        Values may be strings, as they stand on a command line; None means: not given.
        Raises SettingsError with the key, the value and what is allowed.
        """
        owners: dict[str, dict[str, Any]] = {"model": {}, "settings": {}, "live": {}}
        for layer in layers:
            for name, value in layer.items():
                if value is not None:
                    key = ALL_KEYS[name]
                    owners[key.owner][key.field] = _value(name, value)
        model = owners["model"].get("model", DEFAULT_MODEL)
        return cls(model, Settings(**owners["settings"]), LiveSettings(**owners["live"]))

    def value(self, name: str) -> object:
        """Return what key `name` of `ALL_KEYS` is set to."""
        key = ALL_KEYS[name]
        owner = {"model": self, "settings": self.settings, "live": self.live}[key.owner]
        value: object = getattr(owner, key.field)
        return value


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """Parse `key=value` texts; the key is one of `ALL_KEYS`, or its part after the first dot.

    Raises SettingsError that names the nearest valid key.
    """
    parsed: dict[str, object] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise SettingsError(f"--set {text}: write it as key=value, such as wet=0.8")
        parsed[_full_key(key.strip())] = value.strip()
    return parsed


def list_boards() -> list[str]:
    """Names that `--board` takes, sorted: the files of firmware_configs/ with settings."""
    return sorted(name for name, path in board_files().items() if not is_firmware_board(path))


def board_file(name: str) -> Path:
    """Return the settings file of a board. Raises SettingsError that names the nearest one."""
    path = board_files().get(name)
    if path is None:
        raise SettingsError(unknown_name("board", name, list_boards()))
    if is_firmware_board(path):
        raise SettingsError(_firmware_hint(name))
    return path


def origins(**layers: Mapping[str, object]) -> dict[str, str]:
    """Return for each key the name of the last layer that sets it, or "default"."""
    found = dict.fromkeys(ALL_KEYS, "default")
    for origin, layer in layers.items():
        found.update({key: origin for key, value in layer.items() if value is not None})
    return found


def show_yaml(config: Config, notes: Mapping[str, str]) -> str:
    """Return all settings as a YAML file; `notes` holds a remark for each key.

    Settings that are None stand in a comment.
    """
    lines: list[str] = []
    open_sections: list[str] = []
    for name in ALL_KEYS:
        *sections, last = name.split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != sections[: depth + 1]:
                lines.append(f"{'  ' * depth}{section}:")
                open_sections = sections[: depth + 1]
        open_sections = sections
        value = config.value(name)
        mark = "# " if value is None else ""
        entry = f"{'  ' * len(sections)}{mark}{last}: {_yaml_scalar(value)}"
        lines.append(f"{entry} # {notes[name]}" if notes.get(name) else entry)
    return "\n".join(lines) + "\n"


def read_yaml(path: Path) -> dict[str, object]:
    """Read the sections of a YAML file into full keys.

    Raises SettingsError for a file that cannot be read or parsed and, with line and column, for
    an unknown or repeated key and for a firmware board.
    """
    return read_keys(path, ALL_KEYS, _checked, {FIRMWARE_SECTION: _firmware_hint(path.stem)})


def is_firmware_board(path: Path) -> bool:
    """Tell whether a file of firmware_configs/ describes a board for `edgesep firmware`."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(line.startswith(f"{FIRMWARE_SECTION}:") for line in text.splitlines())


def board_files() -> dict[str, Path]:
    """Return the files of firmware_configs/ by name, of both kinds."""
    folders = reversed(_BOARD_FOLDERS)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def _firmware_hint(name: str) -> str:
    return (
        f"{name} is a board for firmware: `edgesep firmware --board {name}` writes a C project "
        f"for it; live sound runs on {', '.join(list_boards())}"
    )


def _checked(key: str, value: object) -> object:
    digits = isinstance(value, int) and not isinstance(value, bool)
    value = str(value) if digits and key == "audio.input.channel" else value
    if key == "overload.step_down" and value is False:  # `off` is a flag in YAML
        value = "off"
    Config.from_keys({key: value})
    return value


def _yaml_scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:g}"
    import yaml

    return yaml.safe_dump(value).splitlines()[0]


def _full_key(key: str) -> str:
    name = key.replace("-", "_")
    matches = [key.name for key in ALL_KEYS.values() if name in (key.name, key.short)]
    if len(matches) == 1:
        return matches[0]
    choices = list(ALL_KEYS) if "." in key else [key.short for key in ALL_KEYS.values()]
    raise SettingsError(unknown_name("setting", key, choices))


def _value(name: str, value: object) -> object:
    key = ALL_KEYS[name]
    if key.kind == "number" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise SettingsError(f"{key.field} is {value!r}: give a number") from None
    if key.kind == "flag" and isinstance(value, str):
        if value.lower() not in _YES_NO:
            raise SettingsError(f"{key.field} is {value!r}: give true or false")
        return _YES_NO[value.lower()]
    if key.kind == "text" and not isinstance(value, str):
        raise SettingsError(f"{name} is {value!r}: give a text")
    return value
