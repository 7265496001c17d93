"""Errors a user can cause and repair: one line with the value, the reason and the fix."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AudioFileError",
    "DeviceError",
    "EdgesepError",
    "EngineError",
    "ModelError",
    "SamplesError",
    "SettingsError",
    "one_line",
    "unknown_name",
]


class EdgesepError(Exception):
    """Base of every error that edgesep raises on purpose."""


class AudioFileError(EdgesepError):
    """An audio file cannot be read, decoded or written."""


class DeviceError(EdgesepError):
    """A sound device is missing, busy, or named so that several fit."""


class ModelError(EdgesepError):
    """A model or its card is missing, damaged, or the two do not fit each other."""


class EngineError(EdgesepError):
    """No inference runtime can run the model here."""


class SettingsError(EdgesepError):
    """A setting is unknown, of the wrong type or out of range."""


class SamplesError(EdgesepError):
    """Samples handed to the Python API have the wrong shape, type or values."""


def unknown_name(what: str, name: object, choices: Iterable[str]) -> str:
    """Say that `name` is not one of `choices`: the nearest first, then all of them.

    what: the kind of thing in the singular, such as "model" or "setting".
    """
    import difflib

    valid = sorted(choices)
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(valid) if valid else "none"
    return f"unknown {what} {str(name)!r}: {hint}available: {listed}"


def one_line(text: str) -> str:
    """Make one harmless line of a text, whatever a file name or a foreign message holds."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
