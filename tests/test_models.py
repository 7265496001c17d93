"""edgesep model list, show, verify and add; the user's folder of models."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from edgesep.card import read_card, write_card
from edgesep.cli import main
from edgesep.engine import ENGINE_NAMES
from edgesep.engine.exact import compile_model
from edgesep.engine.graph import read_graph
from edgesep.errors import ModelError
from edgesep.firmware.boards import Board, firmware_boards, read_board
from edgesep.firmware.budget import check_budget, needs_of
from edgesep.isolator import Isolator
from edgesep.model_add import add_model
from edgesep.model_boards import fits
from edgesep.model_facts import facts, graph_macs, verify
from edgesep.models import find_model, list_models, user_folder, user_models
from tests import helpers
from tests.helpers import write_random_model
from tests.sound import said

NAME = "random-128-0"
needs_core = pytest.mark.skipif(
    not native.available(), reason="the C core, which counts memory, is not built"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("made"))


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the model that a test may damage."""
    for suffix in (".tflite", ".json"):
        (tmp_path / f"{NAME}{suffix}").write_bytes(made.with_suffix(suffix).read_bytes())
    return tmp_path / made.name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the user's folder one that does not exist yet."""
    monkeypatch.setenv("EDGESEP_MODELS", str(tmp_path / "own" / "models"))
    return tmp_path / "own" / "models"


def change_card(model: Path, **changes: object) -> None:
    path = model.with_suffix(".json")
    write_card(replace(read_card(path), **changes), path)  # type: ignore[arg-type]


def refuse(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one line, and return the line."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    (line,) = said(captured.err)
    assert line.startswith("edgesep: error: ")
    return line


def test_the_users_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("EDGESEP_MODELS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert user_folder() == Path("/home/somebody/.local/share/edgesep/models")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert user_folder() == Path("/home/somebody/.local/share/edgesep/models")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_folder() == Path("/data/edgesep/models")
    monkeypatch.setenv("EDGESEP_MODELS", "~/mine")
    assert user_folder() == Path("/home/somebody/mine")


def test_an_added_model_is_found_by_its_name_everywhere(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert user_models() == []
    assert main(["model", "add", str(model)]) == 0
    assert capsys.readouterr().out == f"added {NAME}: {folder / model.name}\n"
    assert user_models() == [NAME]
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}.json", f"{NAME}.tflite"]
    assert find_model(NAME)[0] == folder / model.name
    hop = np.zeros(128, np.int16)
    assert not Isolator(NAME).process(hop).any()
    assert main(["model", "list", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert sorted(listed) == sorted([*list_models(), NAME])
    assert {item["origin"] for name, item in listed.items() if name != NAME} <= {"shipped"}
    assert listed[NAME]["origin"] == "own"
    assert main(["model", "add", str(model)]) == 0  # the same again: nothing to do


@needs_core
def test_firmware_is_made_of_an_added_model(model: Path, folder: Path, tmp_path: Path) -> None:
    assert main(["model", "add", str(model)]) == 0
    firmware = tmp_path / "firmware"
    assert main(["firmware", "--board", "cortex_m55", "--model", NAME, "-o", str(firmware)]) == 0
    assert NAME in (firmware / "model" / "edgesep_network.c").read_text()


def test_figures_are_those_of_the_graph_and_the_card(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = facts(str(made))
    card = read_card(made.with_suffix(".json"))
    assert (item.origin, item.sha256) == ("path", hashlib.sha256(made.read_bytes()).hexdigest())
    assert item.file_bytes == made.stat().st_size
    assert (item.latency_ms, item.hop_ms) == (16, 8)
    graph, _ = helpers.random_graph(0)
    tensors = graph.by_name()
    expected = 0
    for op in graph.ops:
        if op.kind in ("conv", "depthwise"):
            _, height, width, channels = tensors[op.output].shape
            _, *kernel, fan_in = tensors[op.inputs[1]].shape
            fan_in = fan_in if op.kind == "conv" else 1
            expected += height * width * channels * fan_in * int(np.prod(kernel))
    assert item.macs_per_frame == expected
    assert item.macs_per_s == expected * 125
    assert main(["model", "show", str(made), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["card"] == json.loads(card.to_json())
    assert main(["model", "show", str(made)]) == 0
    assert f"{expected} MACs per hop" in capsys.readouterr().out


@pytest.mark.parametrize("name", list_models())
def test_shipped_models_verify(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    checks = list(verify(name))
    assert [check.what for check in checks] == ["card", "file", "graph", "cost", *ENGINE_NAMES]
    assert all(check.ok for check in checks)
    path, card = find_model(name)
    assert card.macs_per_frame == graph_macs(read_graph(path.read_bytes()))
    assert main(["model", "show", name]) == 0
    assert "scores" in capsys.readouterr().out


@needs_core
def test_boards_fit_as_firmware_takes_them(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = read_card(made.with_suffix(".json"))
    plan = compile_model(made, card)
    found = fits(str(made))
    assert found is not None and [fit.board for fit in found] == firmware_boards()
    assert all(fit.too_much == () for fit in found)
    small = {"flash": {"flash_kb": 32}, "RAM": {"ram_kb": 4}, "computation": {"clock_mhz": 1.0}}
    for budget, change in small.items():

        def smaller(name: str, change: dict[str, float] = change) -> Board:
            return replace(read_board(name), **change)  # type: ignore[arg-type]

        monkeypatch.setattr("edgesep.model_boards.read_board", smaller)
        (fit,) = [fit for fit in fits(str(made)) or () if fit.board == "cortex_m4f"]
        assert fit.too_much == (budget,)
        board = smaller("cortex_m4f")
        with pytest.raises(ModelError, match=f"too much {budget}"):
            check_budget(board, card, needs_of(board, card.contract, plan))
        assert main(["model", "show", str(made)]) == 0
        assert f"too much {budget}" in capsys.readouterr().out
        assert main(["model", "show", str(made), "--json"]) == 0
        boards = {fit["board"]: fit for fit in json.loads(capsys.readouterr().out)["boards"]}
        assert boards["cortex_m4f"]["too_much"] == [budget]


def test_verify_says_what_is_wrong(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> tuple[str, str]:
        assert main(["model", "verify", str(model), "--json"]) == 1
        *before, last = json.loads(capsys.readouterr().out)[str(model)]
        assert all(check["ok"] for check in before) and not last["ok"]
        assert "\n" not in last["found"]
        return last["what"], last["found"]

    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    what, found = failing()
    assert what == "file" and "SHA-256" in found
    model.write_bytes(content[:2000])
    change_card(model, sha256=hashlib.sha256(content[:2000]).hexdigest())
    assert failing()[0] == "graph"
    model.write_bytes(content)
    model.with_suffix(".json").write_text("{")
    assert failing()[0] == "card"
    model.with_suffix(".json").unlink()
    assert "needs its card" in failing()[1]
    assert main(["model", "verify", str(model)]) == 1
    assert "FAIL  card" in capsys.readouterr().out


def test_a_card_that_lies_about_its_cost_is_found_out(model: Path) -> None:
    change_card(model, macs_per_frame=1)
    (check,) = [check for check in verify(str(model)) if not check.ok]
    assert check.what == "cost" and "the card says 1 MACs" in check.found


def test_a_verification_without_names_looks_at_all(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(model)
    (folder / "bare.tflite").write_bytes(b"")
    assert main(["model", "verify"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL") == 1 and f"\n{NAME}\n" in out
    assert "bare" in refuse(["model", "list"], capsys)


def test_what_is_not_sound_is_not_added(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, text = model.read_bytes(), model.with_suffix(".json").read_text()

    def refused(message: str) -> None:
        line = refuse(["model", "add", model], capsys)
        assert message in line and ".adding" not in line, line
        assert not folder.exists() or list(folder.iterdir()) == []
        model.write_bytes(content)
        model.with_suffix(".json").write_text(text)

    model.write_bytes(content + b"x")
    refused("SHA-256")
    foreign = content.replace(b"TFL3", b"TFL4")
    model.write_bytes(foreign)
    change_card(model, sha256=hashlib.sha256(foreign).hexdigest())
    refused("no TFL3 identifier")
    rng = np.random.default_rng(0)
    for _ in range(20):  # foreign graphs with a card that fits: refused, and the process lives
        damaged = bytearray(content)
        for place in rng.integers(8, 3000, 40):
            damaged[place] = rng.integers(256)
        model.write_bytes(bytes(damaged))
        change_card(model, sha256=hashlib.sha256(bytes(damaged)).hexdigest())
        refused(str(model))
    change_card(model, name="../evil")
    refused("name is '../evil'")
    change_card(model, name=list_models()[0])
    refused("which is a shipped model")
    model.with_suffix(".json").unlink()
    refused("needs its card")
    assert "not a .tflite file" in refuse(["model", "add", model.with_suffix(".json")], capsys)
    assert "no such model file" in refuse(["model", "add", "nix.tflite"], capsys)


def test_a_taken_name_is_kept_unless_forced(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(model)
    other = write_random_model(model.parent, seed=1)
    change_card(other, name=NAME)
    line = refuse(["model", "add", other], capsys)
    assert "--force replaces it" in line
    assert (folder / model.name).read_bytes() == model.read_bytes()
    assert main(["model", "add", str(other), "--force"]) == 0
    assert (folder / model.name).read_bytes() == other.read_bytes()
    assert all(check.ok for check in verify(NAME))


def test_a_name_that_is_shipped_and_the_users_is_refused(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(model)
    monkeypatch.setattr("edgesep.models._SHIPPED", model.parent)
    with pytest.raises(ModelError, match="is shipped with edgesep and also stands in"):
        find_model(NAME)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parent.mkdir()
    folder.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "Permission denied" in refuse(["model", "add", model], capsys)


def test_a_folder_that_is_a_file(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parent.write_text("in the way")
    assert "cannot add the model there" in refuse(["model", "add", model], capsys)


def test_a_full_disk_leaves_no_half_model(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.replace

    def fails_for_the_model(self: Path, target: Path) -> Path:
        if self.suffix == ".tflite":
            raise OSError(28, "No space left on device")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", fails_for_the_model)
    with pytest.raises(ModelError, match="No space left"):
        add_model(model)
    assert user_models() == []


def test_a_card_cannot_write_on_the_terminal(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = read_card(made.with_suffix(".json"))
    evil = "\x1b[2J\x9b0m\r\u202e"
    copy = tmp_path / "evil.tflite"
    copy.write_bytes(made.read_bytes())
    scores = {evil: {evil: evil}}
    training = {evil: evil}
    write_card(replace(card, name=evil, version=evil, training=training, scores=scores),
               copy.with_suffix(".json"))  # fmt: skip
    for action in ("show", "verify"):
        assert main(["model", action, str(copy)]) == 0
        captured = capsys.readouterr()
        assert r"\x1b[2J" in captured.out
        assert not set(evil) - set("[2J0m") & set(captured.out + captured.err)
