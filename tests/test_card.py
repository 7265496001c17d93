"""Cards and how models are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesep import models
from edgesep.card import Card, read_card, write_card
from edgesep.errors import ModelError
from tests.helpers import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"), hop=64, seed=1)


@pytest.fixture
def document(model: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(model.with_suffix(".json").read_text())
    return parsed


def test_card_survives_a_round_trip(model: Path, tmp_path: Path) -> None:
    card = read_card(model.with_suffix(".json"))
    write_card(card, tmp_path / "again.json")
    assert read_card(tmp_path / "again.json") == card
    assert (tmp_path / "again.json").read_bytes() == model.with_suffix(".json").read_bytes()
    assert card.latency_ms == 8.0
    assert card.contract.bands == 64
    assert [state.ring_columns for state in card.states] == [2, 2, 6, 2]
    assert card.state_bytes == sum(state.state_bytes for state in card.states)


def test_band_edges_stand_on_one_line(model: Path) -> None:
    lines = model.with_suffix(".json").read_text().splitlines()
    assert len([line for line in lines if '"band_edges": [0, 1, 2, ' in line]) == 1


def test_further_keys_are_kept_as_notes(document: dict[str, Any]) -> None:
    card = Card.from_json(json.dumps({**document, "arena_bytes": 1234}))
    assert card.notes == {"arena_bytes": 1234}
    assert json.loads(card.to_json())["arena_bytes"] == 1234


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "format is 2, this edgesep reads 1"),
        (("name",), None, "name is None, expected str"),
        (("sha256",), "abc", "sha256 is 'abc'"),
        (("frame",), [], "frame is"),
        (("frame", "hop_samples"), 100, "hop_samples is 100"),
        (("frame", "hop_samples"), "64", "hop_samples is '64', expected int"),
        (("frame", "hop_samples"), True, "hop_samples is True"),
        (("frame", "hop_sampels"), 64, "did you mean 'hop_samples'"),
        (("frame", "band_edges"), [0, 1.5, 256], "band_edges must be whole"),
        (("frame", "band_edges"), [0, 5, 5, 256], "band_edges has 5 after 5"),
        (("states", 0, "taps"), 0, "state 'enc0': taps is 0"),
        (("states", 0, "dilations"), 1, "did you mean 'dilation'"),
        (("states", 0, "name"), "enc1", "two states have the same name"),
        (("states", 0), 3, "a state is 3"),
        (("parameters",), "many", "parameters is 'many'"),
    ],
)
def test_bad_values_are_named(
    document: dict[str, Any], path: tuple[Any, ...], value: object, message: str
) -> None:
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    with pytest.raises(ModelError, match=f"my card: .*{message}"):
        Card.from_json(json.dumps(document), "my card")


@pytest.mark.parametrize("key", ["name", "version", "sha256", "frame", "states"])
def test_missing_keys_are_named(document: dict[str, Any], key: str) -> None:
    del document[key]
    with pytest.raises(ModelError, match=f"the card has no '{key}'"):
        Card.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_text_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not a model card"):
        Card.from_json(text)


def test_unreadable_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs its card"):
        read_card(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not UTF-8"):
        read_card(tmp_path / "binary.json")


def test_models_are_found_by_path_and_by_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, card = models.find_model(model)
    assert (path, card.name) == (model, "random-64-1")
    assert models.find_model(str(model)) == (path, card)
    monkeypatch.setattr(models, "_SHIPPED", model.parent)
    assert models.list_models() == ["random-64-1"]
    assert models.find_model("random-64-1") == (path, card)
    with pytest.raises(ModelError, match="did you mean 'random-64-1'"):
        models.find_model("random-64")


def test_models_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        models.find_model(tmp_path / "nix.tflite")
    with pytest.raises(ModelError, match=r"unknown model 'nix'.*available: .*path to a \.tflite"):
        models.find_model("nix")
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        models.find_model(tmp_path / "card.json")
    (tmp_path / "bare.tflite").write_bytes(b"")
    with pytest.raises(ModelError, match="needs its card"):
        models.find_model(tmp_path / "bare.tflite")


def test_shipped_models_fit_their_cards() -> None:
    for name in models.list_models():
        path, card = models.find_model(name)
        assert card.name == name
        models.read_model(path, card)
