"""Boards for firmware: their files, what is wrong in them, and their place beside the others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from edgesep.cli import main
from edgesep.config import list_boards
from edgesep.engine.exact import compile_model
from edgesep.errors import SettingsError
from edgesep.firmware import budget, firmware_boards, generate, read_board
from edgesep.firmware.budget import BudgetError, exceeded, needs_of
from edgesep.models import find_model, list_models
from edgesep.settings import Settings
from tests.helpers import write_random_model

ROOT = Path(__file__).resolve().parent.parent
NAMES = {"cortex_m33", "cortex_m4f", "cortex_m55", "cortex_m55_ethos_u55", "cortex_m7"}

needs_core = pytest.mark.skipif(not native.available(), reason="the C core is not built")


def text_of(board: str) -> str:
    return (ROOT / "firmware_configs" / f"{board}.yaml").read_text()


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_boards_of_both_kinds_live_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(firmware_boards()) == NAMES
    assert not NAMES & set(list_boards())
    assert "laptop" in list_boards()
    for command in (["run"], ["config", "check"], ["config", "show"]):
        error = error_of(capsys, *command, "--board", "cortex_m4f")
        assert "cortex_m4f is a board for firmware: `edgesep firmware --board cortex_m4f`" in error
    path = str(ROOT / "firmware_configs" / "cortex_m7.yaml")
    assert "cortex_m7.yaml:5:1: cortex_m7 is a board for firmware" in error_of(
        capsys, "config", "check", path
    )
    error = error_of(capsys, "firmware", "--board", "laptop", "-o", "nowhere")
    assert "laptop is no board for firmware: give cortex_m33, cortex_m4f" in error
    laptop = str(ROOT / "firmware_configs" / "laptop.yaml")
    error = error_of(capsys, "firmware", "--board", laptop, "-o", "nowhere")
    assert re.search(r"laptop.yaml:\d+:1: settings of a computer", error)


def test_the_help_names_every_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "--help"]) == 0
    assert set(firmware_boards()) <= set(re.findall(r"cortex_\w+", capsys.readouterr().out))
    listed = re.findall(r"^\| `(cortex_\w+)` \|", (ROOT / "docs/firmware.md").read_text(), re.M)
    assert listed == ["cortex_m4f", "cortex_m7", "cortex_m33", "cortex_m55", "cortex_m55_ethos_u55"]
    assert set(listed) == set(firmware_boards())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_board_file_says_what_it_holds(name: str) -> None:
    board = read_board(name)
    assert board.qemu is not None
    assert f"edgesep firmware --board {name}" in text_of(name)
    assert board.model in list_models()
    assert f"-mcpu={name.removesuffix('_ethos_u55').rstrip('f').replace('_', '-')} " in (
        board.cpu_flags
    )
    assert board.cycles_per_hop(128) == board.clock_mhz * 8000
    assert (ROOT / f"edgesep/firmware/template/dma_{board.sound}.c").is_file()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("clock_mhz: 168", "clock_mzh: 168", "7:3: unknown key in firmware: 'clock_mzh': did you"),
        ("clock_mhz: 168", "clock_mhz: fast", "7:14: clock_mhz is 'fast': give a number from 1 to"),
        ("clock_mhz: 168", "clock_mhz: 0", "7:14: clock_mhz is 0: it must lie from 1 to 10000"),
        ("flash_kb: 1024", "flash_kb: 10.5", "8:13: flash_kb is 10.5: give a whole number"),
        ("ram_kb: 192", "ram_kb: [192]", "9:11: firmware.ram_kb takes one value"),
        ("ram_kb: 192", "flash_kb: 192", "9:3: firmware.flash_kb is given twice"),
        ("sound: stm32_i2s", "sound: i2s", "unknown sound 'i2s': did you mean 'stm32_i2s'?"),
        ("npu: none", "npu: 5", "npu is 5: give a line of text"),
        ("latency_ms: null", "latency_ms: -1", "latency_ms is -1: it must lie from 0"),
        ("  clock_mhz: 168", "  # clock_mhz: 168", "firmware.clock_mhz is missing: give it"),
        ("    tick_ns: 40", "    # tick_ns: 40", "firmware.qemu.tick_ns is missing: give it, or"),
        ("firmware:\n", "firmwear:\n", "unknown section 'firmwear': did you mean 'firmware'?"),
        ("firmware:\n", "firmware: 3\nx:\n", "firmware holds 3: write lines of key: value"),
    ],
)
def test_errors_in_a_board_file_have_a_place(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    assert text_of("cortex_m4f").count(old) >= 1
    path.write_text(text_of("cortex_m4f").replace(old, new, 1))
    with pytest.raises(SettingsError) as caught:
        read_board(str(path))
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@needs_core
def test_a_file_of_ones_own_describes_a_board(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = text_of("cortex_m4f").replace("machine: mps2-an386", "machine: none")
    path.write_text(text.replace("latency_ms: null", "latency_ms: 12"))
    model = write_random_model(tmp_path)
    assert main(["firmware", "--board", str(path), "--model", str(model), "-o",
                 str(tmp_path / "out")]) == 0  # fmt: skip
    manifest = (tmp_path / "out" / "MANIFEST.json").read_text()
    assert '"qemu": null' in manifest
    assert '"latency_ms": 12.0' in manifest
    with pytest.raises(SettingsError, match="mine: no QEMU machine to measure on"):
        generate(str(path), str(model), Settings(), tmp_path / "again", measured=True)
    assert not (tmp_path / "again").exists()


@needs_core
def test_a_budget_that_is_exceeded_is_named_with_the_largest_model_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = (write_random_model(tmp_path, hop) for hop in (128, 64))
    board = read_board("cortex_m4f")
    needs = {}
    for path in (small, large):
        card = find_model(path)[1]
        needs[path] = needs_of(board, card.contract, compile_model(path, card))
    assert needs[large].instructions is not None
    slow = replace(
        board, clock_mhz=110 * needs[small].instructions / 8000 / board.instructions_percent
    )
    assert exceeded(slow, needs[small]) == []
    assert exceeded(slow, needs[large]) == ["computation"]
    assert exceeded(replace(board, ram_kb=8), needs[small]) == ["RAM"]
    assert exceeded(replace(board, flash_kb=8), needs[small]) == ["flash"]
    monkeypatch.setattr(budget, "list_models", lambda: [str(small), str(large)])
    with pytest.raises(BudgetError, match=f"too much computation; .* fits is {small}") as caught:
        generate(slow, str(large), Settings(), tmp_path / "new")
    rows = caught.value.table.splitlines()
    assert re.fullmatch(r"instructions a hop +[\d,]+ +[\d,]+  too much", rows[3])
    path = tmp_path / "slow.yaml"
    path.write_text(text_of("cortex_m4f").replace("168", f"{slow.clock_mhz:.3f}", 1))
    command = ["firmware", "--board", str(path), "--model", str(large), "-o", str(tmp_path / "n")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.lstrip().startswith("random-64-0 needs")
    assert "edgesep: error: random-64-0 does not fit slow: too much computation" in error
    assert not (tmp_path / "n").exists()


@needs_core
def test_a_processor_that_was_never_counted_is_not_guessed(tmp_path: Path) -> None:
    model = write_random_model(tmp_path)
    card = find_model(model)[1]
    board = replace(read_board("cortex_m33"), cpu_flags="-mcpu=cortex-m33+nodsp -mthumb")
    needs = needs_of(board, card.contract, compile_model(model, card))
    assert needs.instructions is None
    assert needs.hop_percent(board) is None
    assert exceeded(board, needs) == []


@needs_core
def test_the_numbers_of_a_model_are_not_lost_in_the_estimate() -> None:
    if "small-16ms" not in list_models():
        pytest.skip("the model small-16ms is not there")
    path, card = find_model("small-16ms")
    plan = compile_model(path, card)
    counts = [needs_of(read_board(b), card.contract, plan).instructions for b in sorted(NAMES)]
    assert np.all(np.array(counts) > 100_000)
