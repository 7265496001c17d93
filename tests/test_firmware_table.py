"""Figures of the shipped models on emulated boards, held against the committed table."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgesep import native
from edgesep.engine.exact import compile_model
from edgesep.firmware import generate, read_board
from edgesep.firmware.budget import CODE_BYTES, STACK_BYTES, needs_of
from edgesep.firmware.costs import ERROR_PERCENT
from edgesep.firmware.manifest import released_table
from edgesep.firmware.measure import Figures, measure, tool_versions
from edgesep.models import find_model, list_models
from edgesep.settings import Settings
from tests.firmware_jobs import BOARDS, build, need_board_tools

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

RENEW = "renew the table if that is meant: python benchmarks/firmware.py --write"
RENEW_COSTS = "fit the costs again: python benchmarks/firmware_costs.py --write"
MORE_PERCENT = 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Figures]:
    """Return what was measured, to be filled by need: (board, model) -> figures."""
    return {}


def figures_of(
    board_name: str, model: str, folder: Path, known: dict[tuple[str, str], Figures]
) -> Figures:
    if (board_name, model) not in known:
        need_board_tools()
        board = read_board(board_name).roomy()  # what is too large is measured all the same
        generate(board, model, Settings(), folder / "project")
        build(folder / "project", board_name, "firmware.elf", "product.elf")
        hop_samples = find_model(model)[1].contract.hop_samples
        known[board_name, model] = measure(folder / "project", board, hop_samples)
    return known[board_name, model]


def row_of(board: str, model: str) -> dict[str, Any]:
    row: dict[str, Any] = released_table()["boards"].get(board, {}).get(model, {})
    return row


@pytest.mark.parametrize("model", list_models())
def test_the_table_knows_every_shipped_model(model: str) -> None:
    _, card = find_model(model)
    for name in [*BOARDS, "cortex_m55_ethos_u55"]:
        row = row_of(name, model)
        assert row.get("sha256") == card.sha256, f"{name}, {model}: {RENEW}"
        assert row["cpu_flags"] == read_board(name).cpu_flags, f"{name}: {RENEW}"


@pytest.mark.slow
@pytest.mark.parametrize("model", list_models())
@pytest.mark.parametrize("board", BOARDS)
def test_no_figure_is_more_than_the_table_says(
    board: str, model: str, measured: dict[tuple[str, str], Figures], tmp_path: Path
) -> None:
    figures = asdict(figures_of(board, model, tmp_path, measured))
    print(f"{board}, {model}: {figures}")
    assert figures["text_bytes"] <= CODE_BYTES
    assert figures["stack_bytes"] <= STACK_BYTES
    if tool_versions()["compiler"] != released_table()["tools"]["compiler"]:
        pytest.skip(f"the table is of {released_table()['tools']['compiler']}")
    row = row_of(board, model)
    for name, figure in figures.items():
        most = row[name] * (100 + MORE_PERCENT) / 100
        least = row[name] * (100 - MORE_PERCENT) / 100
        assert figure <= most, f"{name}: {figure}, the table says {row[name]}"
        assert figure >= least, f"{name}: {figure}, better than the table: {RENEW}"


@pytest.mark.slow
@pytest.mark.parametrize("model", list_models())
@pytest.mark.parametrize("board", BOARDS)
def test_estimates_before_building_are_near(
    board: str, model: str, measured: dict[tuple[str, str], Figures], tmp_path: Path
) -> None:
    figures = figures_of(board, model, tmp_path, measured)
    path, card = find_model(model)
    needs = needs_of(read_board(board), card.contract, compile_model(path, card))
    assert needs.instructions is not None
    error = 100 * (needs.instructions / figures.instructions_per_hop - 1)
    print(f"{board}, {model}: estimated {error:+.1f}%")
    assert abs(error) <= ERROR_PERCENT, RENEW_COSTS
    assert figures.memory_bytes <= needs.state_and_activations
    assert figures.model_bytes <= needs.weights_and_tables
    assert figures.text_bytes + figures.model_bytes <= needs.flash_bytes


@pytest.mark.parametrize(
    "board", [BOARDS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in BOARDS[1:])]
)
def test_a_manifest_quotes_the_table_or_says_why_not(board: str, tmp_path: Path) -> None:
    model = list_models()[0]
    roomy = read_board(board).roomy()
    row = row_of(board, model)
    generate(roomy, model, Settings(), tmp_path / "same")
    manifest = json.loads((tmp_path / "same" / "MANIFEST.json").read_text())
    for name in Figures.__dataclass_fields__:
        assert manifest["measured"][name] == row[name]
    percent = 100 * row["instructions_per_hop"] / (9999e6 * manifest["hop_samples"] / 16000)
    assert manifest["measured"]["percent_of_hop"] == pytest.approx(percent, abs=0.06)
    assert "for this release" in manifest["measured_how"]
    assert released_table()["tools"]["compiler"] in manifest["measured_how"]
    fade_ms = (manifest["hop_samples"] + 32) / 16  # another latency: other windows, other figures
    generate(roomy, model, Settings(latency_ms=fade_ms), tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "MANIFEST.json").read_text())
    assert manifest["measured"] is None
    assert manifest["measured_how"].startswith("null: ")
