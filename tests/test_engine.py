"""Engines: the same frames through LiteRT and through plain integers, and every way to fail."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesep import engine, native
from edgesep.card import Card, StateSpec, read_card
from edgesep.engine import ENGINE_NAMES, open_engine
from edgesep.engine.quiet import without_info_lines
from edgesep.engine.rings import ColumnRing
from edgesep.engine.runtime import make_interpreter, tensor_memory
from edgesep.errors import EngineError, ModelError
from tests import int8_reference
from tests.helpers import BANDS, random_graph, write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"), hop=128, seed=0)


@pytest.fixture(scope="module")
def card(model: Path) -> Card:
    return read_card(model.with_suffix(".json"))


def random_frames(count: int, seed: int = 0) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, BANDS, 2)).astype(np.int8)


def steps(engine: Any, frames: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.stack([engine.step(frame) for frame in frames])


@given(taps=st.integers(1, 4), dilation=st.integers(1, 7), length=st.integers(0, 40))
def test_ring_gives_columns_a_dilation_apart_oldest_first(
    taps: int, dilation: int, length: int
) -> None:
    ring = ColumnRing(StateSpec("s", taps, dilation, 2, 3, "column.s"), zero_point=-5)
    past = [np.full((2, 3), -5, np.int8)] * (taps * dilation)
    for t in range(length):
        expected = [past[-(taps - i) * dilation] for i in range(taps)]
        np.testing.assert_array_equal(ring.taps[0], expected)
        assert ring.taps.flags.c_contiguous
        past.append(np.full((2, 3), t, np.int8))
        ring.push(past[-1])
    ring.reset()
    assert np.all(ring.taps == -5)


def test_exact_engine_has_the_bits_of_numpy_integers_over_time(model: Path, card: Card) -> None:
    graph, _ = random_graph(0)
    tensors = graph.by_name()
    history: dict[str, list[NDArray[np.int8]]] = {}
    for state in card.states:
        rest = np.full((state.width, state.channels), tensors[state.taps_tensor].zero_point)
        history[state.name] = [rest.astype(np.int8)] * state.ring_columns
    engine = open_engine("exact", model, card)
    for frame in random_frames(30):
        inputs = {"features": frame[np.newaxis, np.newaxis]}
        for state in card.states:
            past = history[state.name][-state.ring_columns :: state.dilation]
            inputs[state.taps_tensor] = np.stack(past)[np.newaxis]
        values = int8_reference.run(graph, inputs)
        for state in card.states:
            history[state.name].append(values[state.column][0, 0])
        np.testing.assert_array_equal(engine.step(frame), values["mask"].reshape(-1))


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_reset_gives_the_same_bytes_again(name: str, model: Path, card: Card) -> None:
    engine = open_engine(name, model, card)
    frames = random_frames(20)
    first = steps(engine, frames)
    assert first.shape == (20, BANDS)
    assert first.dtype == np.int8
    second = steps(engine, frames)
    assert np.any(first[0] != second[0])  # the state of the first pass is still there
    engine.reset()
    np.testing.assert_array_equal(steps(engine, frames), first)
    np.testing.assert_array_equal(steps(open_engine(name, model, card), frames), first)


def test_engines_are_close_and_streams_are_independent(model: Path, card: Card) -> None:
    fast, exact = (open_engine(name, model, card) for name in ENGINE_NAMES)
    other = open_engine("exact", model, card)
    frames = random_frames(20)
    a = steps(fast, frames)
    b = np.stack([(other.step(-1 - frame), exact.step(frame))[1] for frame in frames])
    assert np.abs(a.astype(int) - b).mean() < 3
    np.testing.assert_array_equal(b, steps(open_engine("exact", model, card), frames))


def test_masks_stay_valid_after_the_next_step(model: Path, card: Card) -> None:
    engine = open_engine("fast", model, card)
    frames = random_frames(2)
    first = engine.step(frames[0])
    kept = first.copy()
    engine.step(frames[1])
    np.testing.assert_array_equal(first, kept)


def test_description_names_runtime_and_kernels(model: Path, card: Card) -> None:
    assert "XNNPACK" in open_engine("fast", model, card).description
    exact = open_engine("exact", model, card)
    assert "reference kernels" in exact.description
    assert ("C kernels" if native.available() else "ai-edge-litert") in exact.description


def test_tensor_memory_is_the_runtimes_own_over_many_runs(model: Path) -> None:
    interpreter = make_interpreter(model.read_bytes(), reference=False)
    ends = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    ends |= {d["name"]: d["index"] for d in interpreter.get_output_details()}
    views = {name: tensor_memory(interpreter, index) for name, index in ends.items()}
    for frame in random_frames(5):
        views["features"][...] = frame
        interpreter.invoke()
        for name, index in ends.items():
            np.testing.assert_array_equal(views[name], interpreter.get_tensor(index))
    assert views["mask"].any()


def test_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(EngineError, match="did you mean 'exact'"):
        open_engine("exakt", Path("x.tflite"), None)  # type: ignore[arg-type]


def damaged(tmp_path: Path, card: Card, content: bytes) -> tuple[Path, Card]:
    """A file with a card whose hash fits it, so that only the content can be at fault."""
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    return path, replace(card, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("size", [0, 3, 8, 100, 5000, -16])
@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_truncated_model_is_refused(
    name: str, size: int, tmp_path: Path, model: Path, card: Card
) -> None:
    with pytest.raises(ModelError) as caught:
        open_engine(name, *damaged(tmp_path, card, model.read_bytes()[:size]))
    assert "\n" not in str(caught.value)


def test_garbage_and_changed_files_are_refused(tmp_path: Path, model: Path, card: Card) -> None:
    garbage = np.random.default_rng(0).bytes(4000)
    with pytest.raises(ModelError, match=r"not a \.tflite model"):
        open_engine("fast", *damaged(tmp_path, card, garbage))
    for name in ENGINE_NAMES:
        with pytest.raises(ModelError, match=r"damaged\.tflite: damaged: it points outside"):
            open_engine(name, *damaged(tmp_path, card, b"abcdTFL3" + garbage))
    changed = bytearray(model.read_bytes())
    changed[len(changed) // 2] ^= 1
    path = tmp_path / "changed.tflite"
    path.write_bytes(changed)
    with pytest.raises(ModelError, match="damaged, or not the model of its card"):
        open_engine("fast", path, card)
    with pytest.raises(ModelError, match="cannot read"):
        open_engine("fast", tmp_path / "missing.tflite", card)


def test_card_that_does_not_fit_is_refused(model: Path, card: Card) -> None:
    first, *others = card.states

    def refuse(message: str, changed: Card) -> None:
        with pytest.raises(ModelError, match=message):
            open_engine("exact", model, changed)

    contract = replace(card.contract, band_edges=(0, *card.contract.band_edges[2:]))
    refuse("features has shape", replace(card, contract=contract))
    refuse("has an input 'taps.enc0'", replace(card, states=tuple(others)))
    refuse("taps.enc0 has shape", replace(card, states=(replace(first, taps=3), *others)))
    refuse("needs an input 'taps.nix'", replace(card, states=(replace(first, name="nix"), *others)))
    wrong = replace(others[0], column="column.nix")
    refuse("needs an output 'column.nix'", replace(card, states=(first, wrong, *others[1:])))
    wrong = replace(others[0], column="features")
    refuse("features has", replace(card, states=(first, wrong, *others[1:])))


def test_no_runtime_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(EngineError, match="pip install ai-edge-litert"):
        make_interpreter(b"", reference=True)


def test_tflite_runtime_with_numpy_2_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interpreter:
        def __init__(self, **_: Any) -> None:
            raise SystemError("<built-in method> returned a result\nwith an exception set")

    class Resolver:
        AUTO = BUILTIN_REF = None

    fake = ModuleType("tflite_runtime.interpreter")
    fake.Interpreter, fake.OpResolverType = Interpreter, Resolver  # type: ignore[attr-defined]

    def only_tflite(name: str) -> ModuleType:
        if name.startswith("tflite_runtime"):
            return fake
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    def message(numpy: str, runtime: str) -> str:
        monkeypatch.setattr(np, "__version__", numpy)
        monkeypatch.setattr(metadata, "version", lambda name: runtime)
        with pytest.raises(EngineError) as caught:
            make_interpreter(b"", reference=True)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    monkeypatch.setattr(importlib, "import_module", only_tflite)
    assert "pip install 'numpy<2'" in message(numpy="2.1.0", runtime="2.14.0")
    assert "reinstall" in message(numpy="1.26.4", runtime="2.14.0")
    assert "reinstall" in message(numpy="2.1.0", runtime="2.17.1")


def test_terminal_stays_quiet_but_keeps_warnings(
    model: Path, card: Card, capfd: pytest.CaptureFixture[str]
) -> None:
    open_engine("fast", model, card)
    assert capfd.readouterr() == ("", "")
    with without_info_lines():
        os.write(2, b"INFO: chatter\nWARNING: keep this\n")
    assert capfd.readouterr().err == "WARNING: keep this\n"


def without_runtimes(name: str) -> None:
    assert name in ("ai_edge_litert", "tflite_runtime")


def test_auto_is_fast_where_a_runtime_is(model: Path, card: Card) -> None:
    assert open_engine("auto", model, card).name == "fast"


@pytest.mark.skipif(not native.available(), reason="needs the compiled core")
def test_auto_without_a_runtime_is_exact_and_says_so_once(
    model: Path, card: Card, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine._say_once_that_exact_runs.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", without_runtimes)
    assert [open_engine("auto", model, card).name for _ in range(2)] == ["exact", "exact"]
    (record,) = caplog.records
    assert record.getMessage().startswith("edgesep: no TFLite runtime is installed: ")
    assert "the engine 'exact' runs" in record.getMessage()
