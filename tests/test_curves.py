"""log.csv: its header, files from before it had one, and the curves drawn of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgesep.errors import SettingsError
from export.cli import main
from export.train_log import HEADER, LogRow, append_row, read_log, upgrade_log

OLD = "1,1795423616,0.35033,0.357\n2,1795423734,0.23224,0.540\n"
ROW = LogRow(3, 750, 61.5, 0.0008, 0.21, 0.9)


def test_rows_come_back_as_they_were_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append_row(path, ROW)
    append_row(path, ROW)
    assert path.read_text().splitlines()[0] == ",".join(HEADER)
    assert read_log(path) == [ROW, ROW]


def test_a_run_goes_on_with_a_log_that_had_no_header(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(OLD)
    upgrade_log(path, epoch_steps=250)
    append_row(path, ROW)
    first, second, third = read_log(path)
    assert (first.step, second.step, third) == (250, 500, ROW)
    assert (second.seconds, second.loss, second.dev_si_sdri_db) == (118.0, 0.23224, 0.54)
    assert math.isnan(first.seconds) and math.isnan(first.learning_rate)
    before = path.read_bytes()
    upgrade_log(path, epoch_steps=250)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["a,b\n", "1,2,3\n", ",".join(HEADER) + "\n1,x,3,4,5,6\n"])
def test_what_is_no_log_is_refused_with_its_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"no training log.*dev_si_sdri_db"):
        read_log(path)


def test_curves_draw_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(OLD)
    out = tmp_path / "plots" / "curves.png"
    assert main(["curves", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and [p.name for p in out.parent.iterdir()] == [
        "curves.png"
    ]
    said = capsys.readouterr().out
    assert "one" in said and "two" in said and "0.54 dB" in said


def test_curves_of_nothing_name_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", "no-such-run"]) == 1
    assert "run `train` first" in capsys.readouterr().err
