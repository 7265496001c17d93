"""The model card: everything the frame path must know about a model, read from NAME.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesep.contract import FrameContract
from edgesep.errors import EdgesepError, ModelError, unknown_name
from edgesep.small_file import NotSmall, read_small

__all__ = ["CARD_FORMAT", "FEATURES", "Card", "StateSpec", "read_card", "write_card"]

CARD_FORMAT = 1
MAX_CARD_BYTES = 1 << 22
MAX_STATE_BYTES = 1 << 26
"""Of all rings of a model; what is shipped has some kilobytes."""
FEATURES = "features"
"""Name of the feature input, and the `column` of a layer that reads the features themselves."""

_FRAME_KEYS = (
    "hop_samples",
    "fade_samples",
    "band_edges",
    "floor_rise_shift",
    "floor_fall_shift",
)
_STATE_KEYS = ("name", "taps", "dilation", "width", "channels", "column")


@dataclass(frozen=True)
class StateSpec:
    """One stateful layer: it sees its own input at frames t - taps * dilation .. t - dilation."""

    name: str
    taps: int
    """Past columns the layer needs: kernel height - 1, at least 1."""
    dilation: int
    """Frames between two of them, at least 1."""
    width: int
    """Frequency positions of a column."""
    channels: int
    column: str
    """Output tensor with the layer's input at frame t, or "features"."""

    @property
    def taps_tensor(self) -> str:
        """Name of the input tensor, int8 (1, taps, width, channels), oldest column first."""
        return f"taps.{self.name}"

    @property
    def ring_columns(self) -> int:
        """Columns the host keeps."""
        return self.taps * self.dilation

    @property
    def state_bytes(self) -> int:
        """Bytes of the layer's ring."""
        return self.ring_columns * self.width * self.channels


@dataclass(frozen=True)
class Card:
    """What stands in NAME.json beside NAME.tflite."""

    name: str
    version: str
    sha256: str
    """Of the .tflite file, 64 lower-case hex digits."""
    contract: FrameContract
    states: tuple[StateSpec, ...]
    licence: str = ""
    parameters: int | None = None
    macs_per_frame: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the file: documentation that the frame path does not read."""

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency with the card's own fade."""
        return self.contract.latency_samples / 16.0

    @property
    def state_bytes(self) -> int:
        """Bytes of all rings: the state a stream carries through the network."""
        return sum(state.state_bytes for state in self.states)

    def to_json(self) -> str:
        """Return the text of the card file; equal cards give equal bytes."""
        document: dict[str, Any] = {
            "format": CARD_FORMAT,
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "licence": self.licence,
            "frame": {key: _plain(getattr(self.contract, key)) for key in _FRAME_KEYS},
            "states": [{key: getattr(s, key) for key in _STATE_KEYS} for s in self.states],
            "parameters": self.parameters,
            "macs_per_frame": self.macs_per_frame,
            "training": dict(self.training),
            "scores": dict(self.scores),
            **dict(self.notes),
        }
        text = json.dumps({k: v for k, v in document.items() if v is not None}, indent=2)
        return _number_lists_on_one_line(text) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "card") -> Card:
        """Parse and check the text of a card file; `where` names it in errors.

        Raises ModelError for malformed JSON, a missing or mistyped key, or an invalid frame.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{where}: not a model card: {error}") from error
        if not isinstance(document, dict):
            raise ModelError(f"{where}: not a model card: expected a JSON object")
        return _Reader(where, document).card()


def read_card(path: Path) -> Card:
    """Read the card file at `path`. Raises ModelError when it is missing or invalid."""
    try:
        text = read_small(path, MAX_CARD_BYTES).decode("utf-8")
    except NotSmall as error:
        raise ModelError(f"{path}: not a model card: {error}") from error
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read the model card ({error.strerror}); "
            "a model NAME.tflite needs its card NAME.json beside it"
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a model card: not UTF-8 text") from error
    return Card.from_json(text, str(path))


def write_card(card: Card, path: Path) -> None:
    """Write `card` to `path`."""
    path.write_text(card.to_json(), encoding="utf-8")


class _Reader:
    """Takes typed values out of the parsed JSON; knows where it stands for the error messages."""

    def __init__(self, where: str, document: dict[str, Any]) -> None:
        self._where = where
        self._document = document

    def card(self) -> Card:
        document = self._document
        if document.get("format") != CARD_FORMAT:
            raise self._error(
                f"format is {_shortened(document.get('format'))}, this edgesep reads {CARD_FORMAT}"
            )
        known = {f for f in Card.__dataclass_fields__ if f not in ("contract", "notes")}
        known |= {"format", "frame"}
        return Card(
            name=self._get(document, "name", str),
            version=self._get(document, "version", str),
            sha256=self._sha256(),
            contract=self._contract(),
            states=self._states(),
            licence=self._get(document, "licence", str, ""),
            parameters=self._get(document, "parameters", int, None),
            macs_per_frame=self._get(document, "macs_per_frame", int, None),
            training=self._get(document, "training", dict, {}),
            scores=self._get(document, "scores", dict, {}),
            notes={key: value for key, value in document.items() if key not in known},
        )

    def _error(self, reason: str) -> ModelError:
        return ModelError(f"{self._where}: {reason}")

    def _get(self, table: dict[str, Any], key: str, kind: type, *default: Any) -> Any:
        if key not in table:
            if default:
                return default[0]
            raise self._error(f"the card has no {key!r}")
        value = table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._error(f"{key} is {_shortened(value)}, expected {kind.__name__}")
        return value

    def _only(self, table: dict[str, Any], keys: tuple[str, ...], what: str) -> None:
        for key in table:
            if key not in keys:
                raise self._error(unknown_name(f"{what} key", key, keys))

    def _sha256(self) -> str:
        value: str = self._get(self._document, "sha256", str)
        if not re.fullmatch("[0-9a-f]{64}", value):
            raise self._error(f"sha256 is {_shortened(value)}, expected 64 lower-case hex digits")
        return value

    def _contract(self) -> FrameContract:
        frame = self._get(self._document, "frame", dict)
        self._only(frame, _FRAME_KEYS, "frame")
        edges = self._get(frame, "band_edges", list)
        if not all(isinstance(edge, int) and not isinstance(edge, bool) for edge in edges):
            raise self._error("band_edges must be whole numbers")
        try:
            return FrameContract(
                hop_samples=self._get(frame, "hop_samples", int),
                fade_samples=self._get(frame, "fade_samples", int),
                band_edges=tuple(edges),
                floor_rise_shift=self._get(frame, "floor_rise_shift", int),
                floor_fall_shift=self._get(frame, "floor_fall_shift", int),
            )
        except ModelError:
            raise
        except EdgesepError as error:
            raise self._error(str(error)) from error

    def _states(self) -> tuple[StateSpec, ...]:
        tables = self._get(self._document, "states", list)
        states = tuple(self._state(table) for table in tables)
        names = [state.name for state in states]
        if len(set(names)) != len(names):
            raise self._error("two states have the same name")
        total_bytes = sum(state.state_bytes for state in states)
        if total_bytes > MAX_STATE_BYTES:
            raise self._error(
                f"the states take {_shortened(total_bytes)} bytes, more than {MAX_STATE_BYTES}: "
                "check taps, dilation, width and channels"
            )
        return states

    def _state(self, table: object) -> StateSpec:
        if not isinstance(table, dict):
            raise self._error(f"a state is {_shortened(table)}, expected an object")
        self._only(table, _STATE_KEYS, "state")
        state = StateSpec(
            name=self._get(table, "name", str),
            taps=self._get(table, "taps", int),
            dilation=self._get(table, "dilation", int),
            width=self._get(table, "width", int),
            channels=self._get(table, "channels", int),
            column=self._get(table, "column", str),
        )
        for key in ("taps", "dilation", "width", "channels"):
            if getattr(state, key) < 1:
                raise self._error(f"state {state.name!r}: {key} is {getattr(state, key)}, below 1")
        return state


def _shortened(value: object) -> str:
    """Return how Python writes a value from the file, without the middle of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-10:]}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _number_lists_on_one_line(text: str) -> str:
    """Undo `indent` for lists of whole numbers: it gives every number a line of its own."""
    return re.sub(r"\[\n[-\d\s,]+\]", lambda m: "[" + " ".join(m[0][1:-1].split()) + "]", text)
