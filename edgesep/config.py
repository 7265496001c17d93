"""Settings from a YAML file and from `--set key=value`: the same keys, checked the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesep.errors import SettingsError, unknown_name
from edgesep.settings import Settings

__all__ = ["DEFAULT_MODEL", "KEYS", "Config", "parse_assignments", "read_yaml"]

DEFAULT_MODEL = "small-16ms"

# Key in YAML and for --set -> field of Settings, or "model" for the model itself.
KEYS = {
    "model.name": "model",
    "model.engine": "engine",
    "separation.max_attenuation_db": "max_attenuation_db",
    "separation.wet": "wet",
    "separation.output": "output",
    "separation.latency_ms": "latency_ms",
}
NUMBERS = frozenset({"max_attenuation_db", "wet", "latency_ms"})


@dataclass(frozen=True)
class Config:
    """What to isolate with."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or path of a .tflite file."""
    settings: Settings = field(default_factory=Settings)
    """See `Settings`."""

    @classmethod
    def from_keys(cls, *layers: Mapping[str, object]) -> Config:
        """Build a configuration from layers of full keys (`KEYS`); later layers win.

        Values may be strings, as they stand on a command line; None means: not given.
        Raises SettingsError with the key, the value and what is allowed.
        """
        fields: dict[str, Any] = {}
        for layer in layers:
            for key, value in layer.items():
                if value is not None:
                    fields[KEYS[key]] = _value(key, value)
        model = fields.pop("model", DEFAULT_MODEL)
        return cls(model, Settings(**fields))


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """Parse `key=value` texts; the key is one of `KEYS`, or its part after the dot.

    Raises SettingsError that names the nearest valid key.
    """
    parsed: dict[str, object] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise SettingsError(f"--set {text}: write it as key=value, such as wet=0.8")
        parsed[_full_key(key.strip())] = value.strip()
    return parsed


def read_yaml(path: Path) -> dict[str, object]:
    """Read the sections `model:` and `separation:` of a YAML file into full keys.

    Raises SettingsError for a file that cannot be read or parsed and for an unknown key.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: not YAML ({reason})") from error
    sections = {key.partition(".")[0] for key in KEYS}
    keys: dict[str, object] = {}
    for section, entries in _mapping(path, "the file", content).items():
        if section not in sections:
            raise SettingsError(f"{path}: {unknown_name('section', section, sections)}")
        names = {key.partition(".")[2] for key in KEYS if key.startswith(f"{section}.")}
        for name, value in _mapping(path, f"{section}:", entries).items():
            if name not in names:
                raise SettingsError(f"{path}: {unknown_name(f'key in {section}:', name, names)}")
            keys[f"{section}.{name}"] = value
    return keys


def _mapping(path: Path, what: str, value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: {what} holds {value!r}: write lines of key: value")
    return value


def _full_key(key: str) -> str:
    name = key.replace("-", "_")
    matches = [full for full in KEYS if name in (full, full.partition(".")[2])]
    if len(matches) == 1:
        return matches[0]
    choices = KEYS if "." in key else [full.partition(".")[2] for full in KEYS]
    raise SettingsError(unknown_name("setting", key, choices))


def _value(key: str, value: object) -> object:
    field = KEYS[key]
    if field in NUMBERS and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise SettingsError(f"{field} is {value!r}: give a number") from None
    if field not in NUMBERS and not isinstance(value, str):
        raise SettingsError(f"{key} is {value!r}: give a text")
    return value
