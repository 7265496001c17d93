"""The pinned tables: what the generator makes, and close to what float64 says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgesep import stft
from edgesep.core import make_tables, tables
from tests import signals

CORE = Path(make_tables.__file__).parent


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return make_tables.render()


@pytest.mark.parametrize("name", ["edgesep_tables.h", "edgesep_tables.c", "tables.py"])
def test_the_committed_tables_are_what_the_generator_makes(
    name: str, rendered: dict[str, str]
) -> None:
    assert (CORE / name).read_text(encoding="utf-8") == rendered[name]


@pytest.mark.parametrize("table", make_tables.make_tables(), ids=lambda t: t.name)
def test_c_and_python_hold_the_same_numbers(table: make_tables.Table) -> None:
    source = (CORE / "edgesep_tables.c").read_text(encoding="utf-8")
    body = re.search(rf"edgesep_{table.name}\[(\d+)\] = {{(.*?)}};", source, re.DOTALL)
    assert body is not None
    values = [int(v) for v in re.findall(r"-?\d+", body[2])]
    assert len(values) == int(body[1])
    assert values == getattr(tables, table.name.upper()).tolist() == table.values


def _float_tables() -> dict[str, tuple[np.ndarray, int]]:
    k = np.arange(512)
    turn, parts = 2 * np.pi * k[:64] / 256, (np.cos, np.sin)
    return {
        "analysis_window_q31": (signals.analysis_window(), 31),
        "fft_turns_q30": (np.concatenate([f(i * turn) for i in (1, 2, 3) for f in parts]), 30),
        "split_cos_q31": (np.cos(2 * np.pi * k[:128] / 512), 31),
        "split_sin_q31": (np.sin(2 * np.pi * k[:128] / 512), 31),
        "sine_square_q30": (np.sin(np.pi * k[:257] / 512) ** 2, 30),
        "log2_q16": (np.log2(1 + k[:65] / 64), 16),
    }


@pytest.mark.parametrize("name", _float_tables())
def test_tables_are_rounded_to_nearest(name: str) -> None:
    truth, bits = _float_tables()[name]
    scaled = np.minimum(truth * 2.0**bits, 2**31 - 1)
    assert np.abs(getattr(tables, name.upper()) - scaled).max() < 0.5 + 1e-5


@pytest.mark.parametrize(("hop", "fade"), signals.HOPS_AND_FADES)
def test_the_two_windows_overlap_add_to_one(hop: int, fade: int) -> None:
    window = stft.synthesis_window(signals.contract(hop, fade))
    assert window.shape == (hop + fade,)
    assert window.max() < 2**31
    assert np.abs(window / 2**30 - signals.synthesis_window(hop, fade)).max() < 2**-24
    product = window / 2**30 * tables.ANALYSIS_WINDOW_Q31[-(hop + fade) :] / 2**31
    total = product[:hop].copy()
    total[:fade] += product[hop:]
    assert np.abs(total - 1).max() < 2**-29
