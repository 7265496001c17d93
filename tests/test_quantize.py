"""`export quantize`: what rounding costs, layer by layer; `convert` packs what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgesep.errors import ModelError
from export.cli import main
from export.convert import calibration_clips, convert, make_card, mask_error
from export.corpus import RATE_HZ, Corpus
from export.fake_quant import FakeQuant, round_to
from export.feed import Source
from export.float_model import Weights, apply_layer
from export.qgraph import FEATURES_SCALE, QTensor
from export.quantization import (
    Calibration,
    load_calibration,
    save_quantization,
    weights_sha256,
)
from export.quantize import Range, calibrate, quantize
from export.recipe import Recipe, load_recipe
from export.sensitivity import Sensitivity, dev_clips, sqnr_db
from export.tflite import write_tflite
from tests import int8_reference
from tests.helpers import random_weights
from tests.signals import speech_like

pytest.importorskip("ai_edge_litert", reason="writing a .tflite needs ai-edge-litert")

TINY = {
    "name": "tiny",
    "network": {"encoder": [6, 8, 10, 12], "context": 16, "dilations": [1, 2], "first_frames": 2},
    "training": {"batch": 2, "clip_s": 0.6},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return load_recipe(str(path))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("corpus")
    sounds = {
        "speech": speech_like(2 * RATE_HZ, -10.0),
        "noise": (2000 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)).astype(np.int16),
    }
    for name, sound in sounds.items():
        Corpus(sound, np.array([0, len(sound)]), np.ones(1), (name,)).save(folder / f"{name}.npz")
    return Source(folder / "speech.npz", folder / "noise.npz")


@pytest.fixture(scope="module")
def weights(recipe: Recipe) -> Weights:
    return random_weights(recipe.graph())


@pytest.fixture(scope="module")
def ranges(recipe: Recipe, source: Source, weights: Weights) -> dict[str, Range]:
    return calibrate(recipe.graph(), weights, calibration_clips(recipe, source))


@pytest.fixture(scope="module")
def calibration(recipe: Recipe, source: Source, weights: Weights) -> Calibration:
    return Calibration.of(recipe.graph(), weights, calibration_clips(recipe, source))


@pytest.fixture(scope="module")
def weights_path(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    np.savez(path, **weights)  # type: ignore[arg-type]
    return path


def sensitivity(
    recipe: Recipe, weights: Weights, ranges: dict[str, Range], source: Source, clips: int = 2
) -> Sensitivity:
    graph = recipe.graph()
    net = FakeQuant(graph, weights, quantize(graph, weights, ranges, recipe.name))
    return Sensitivity(net, dev_clips(recipe, source, clips), recipe.frame.contract())


class TestRounding:
    def test_steps_are_rounded_and_clipped(self) -> None:
        tensor = QTensor("x", (1,), 0.5, -128)
        values = np.array([-1.0, 0.0, 0.26, 127.4, 200.0])
        np.testing.assert_array_equal(round_to(values, tensor), [0.0, 0.0, 0.5, 127.5, 127.5])

    def test_sqnr_of_uniform_rounding_is_a_twelfth_of_the_step_squared(self) -> None:
        values = np.random.default_rng(0).uniform(-1.0, 1.0, 100_000)
        step = 2.0 / 255.0
        found = sqnr_db(values, np.round(values / step) * step)
        assert found == pytest.approx(10.0 * np.log10((1.0 / 3.0) / (step**2 / 12.0)), abs=0.1)
        assert sqnr_db(values, values) == float("inf")

    def test_each_rounded_layer_is_what_the_int8_kernel_puts_out(
        self, recipe: Recipe, weights: Weights, ranges: dict[str, Range], source: Source
    ) -> None:
        graph = recipe.graph()
        qgraph = quantize(graph, weights, ranges, recipe.name)
        net, tensors = FakeQuant(graph, weights, qgraph), qgraph.by_name()
        features = dev_clips(recipe, source, 1)[0].features[5]
        silent = {
            name: np.full(tensors[name].shape, tensors[name].zero_point, np.int8)
            for name in qgraph.inputs
        }
        truth = int8_reference.run(qgraph, {**silent, "features": features[None, None]})
        real = {"features": features[None] * np.float32(FEATURES_SCALE)}
        others: list[float] = []
        for name, layer in graph.layers.items():
            tensor = net.outputs[name]
            steps = truth[tensor.name].reshape(1, layer.bands, layer.channels).astype(np.float32)
            real[name] = (steps - tensor.zero_point) * tensor.scales[0]
            ours = apply_layer(layer, net.rounded, [real[source] for source in layer.inputs])
            off = np.abs(round_to(ours, tensor) - real[name]) / tensor.scales[0]
            assert off.max() < 1.01, name
            others += off.ravel().tolist()
        assert np.mean(np.array(others) > 0.5) < 0.01  # the kernels round halves in their own way

    def test_all_rounded_is_as_far_from_float_as_the_int8_model(
        self,
        recipe: Recipe,
        weights: Weights,
        ranges: dict[str, Range],
        source: Source,
        tmp_path: Path,
    ) -> None:
        graph = recipe.graph()
        qgraph = quantize(graph, weights, ranges, recipe.name)
        clips = dev_clips(recipe, source, 2)
        sensitivity_ = Sensitivity(
            FakeQuant(graph, weights, qgraph), clips, recipe.frame.contract()
        )
        said_db = sensitivity_.groups()[-1].mask_error_db
        content = write_tflite(qgraph)
        path = tmp_path / "tiny.tflite"
        path.write_bytes(content)
        card = make_card(recipe, graph, qgraph, content, {})
        found = mask_error(path, card, graph, dict(weights), [clip.features for clip in clips])
        assert said_db == pytest.approx(20.0 * np.log10(found), abs=2.0)


class TestSensitivity:
    def test_nothing_rounded_costs_nothing(
        self, recipe: Recipe, weights: Weights, ranges: dict[str, Range], source: Source
    ) -> None:
        cost = sensitivity(recipe, weights, ranges, source).cost("none", set(), set())
        assert cost.mask_error_db == -300.0 and cost.si_sdr_lost_db == 0.0

    def test_a_spoiled_layer_costs_most(
        self, recipe: Recipe, weights: Weights, ranges: dict[str, Range], source: Source
    ) -> None:
        low, high = ranges["enc1"]
        spoiled = {**ranges, "enc1": (low / 8, high / 8)}
        found = sensitivity(recipe, weights, spoiled, source)
        first, second, *_ = found.layers()
        assert first.layer == "enc1" and first.mask_error_db > second.mask_error_db + 6.0
        (figures,) = [row for row in found.tensors() if row.tensor == "column.enc2.dw"] or [
            row for row in found.tensors() if row.tensor == "enc1" and row.role == "activation"
        ]
        assert figures.clipped_share > 0.005 and figures.seen_high > 4.0 * figures.high
        sound = sensitivity(recipe, weights, ranges, source)
        assert {row.tensor: row.clipped_share for row in sound.tensors()}[figures.tensor] < 0.001

    def test_every_layer_and_tensor_is_reported(
        self, recipe: Recipe, weights: Weights, ranges: dict[str, Range], source: Source
    ) -> None:
        found = sensitivity(recipe, weights, ranges, source, clips=1)
        graph = recipe.graph()
        rounded = {name for name, layer in graph.layers.items() if layer.kind != "reshape"}
        assert {cost.layer for cost in found.layers()} == rounded
        rows = found.tensors()
        filters = sum(layer.has_weights for layer in graph.layers.values())
        assert len(rows) == len(rounded) + 2 * filters
        assert all(row.sqnr_db > 25.0 for row in rows if row.role == "weights")
        every, activations_, both = (cost.mask_error_db for cost in found.groups())
        assert both >= max(every, activations_) - 3.0


class TestFile:
    def test_convert_packs_it_to_the_same_bytes(
        self,
        recipe: Recipe,
        weights: Weights,
        weights_path: Path,
        calibration: Calibration,
        source: Source,
        tmp_path: Path,
    ) -> None:
        saved = tmp_path / "quantization.json"
        save_quantization(saved, recipe.name, weights, calibration, [], [], [])
        calibrated = convert(recipe, weights_path, source, tmp_path / "a", {})
        packed = convert(recipe, weights_path, None, tmp_path / "b", {}, saved)
        assert packed.read_bytes() == calibrated.read_bytes()
        cards = [path.with_suffix(".json").read_text() for path in (packed, calibrated)]
        assert cards[0] == cards[1]
        assert {p.name for p in (tmp_path / "b").iterdir()} == {"tiny.tflite", "tiny.json"}

    def test_an_edited_range_is_packed(
        self, recipe: Recipe, weights: Weights, calibration: Calibration, tmp_path: Path
    ) -> None:
        saved, graph = tmp_path / "quantization.json", recipe.graph()
        save_quantization(saved, recipe.name, weights, calibration, [], [], [])
        document = json.loads(saved.read_text())
        document["ranges"]["squeeze"][1] *= 2.0
        saved.write_text(json.dumps(document))
        read = load_calibration(saved, graph, weights)
        before, after = (
            quantize(graph, weights, found.ranges, "tiny").by_name()["column.ctx0.dw"]
            for found in (calibration, read)
        )
        assert after.scales[0] == pytest.approx(2.0 * before.scales[0])

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("format", 1, "format 1, expected 3; run `quantize` again"),
            ("weights_sha256", "0" * 64, "other weights"),
            ("ranges", {}, "layer 'enc0' has the range None"),
            ("ranges", {"enc0": [0.0, float("nan")]}, "range 0.0..nan"),
            ("ranges", {"enc0": [1.0, 0.0]}, "range 1.0..0.0"),
            ("ranges", 3, "no file of `quantize`"),
            ("gains", {}, "layer 'enc0' wants 6 gains"),
            ("gains", {"enc0": [1.0] * 5}, "layer 'enc0' wants 6 gains"),
            ("gains", {"enc0": [1.0, 2.0, 0.0, 1.0, 1.0, 1.0]}, "6 gains above 0"),
            ("gains", {"enc0": ["wide"] * 6}, "6 gains above 0"),
            ("shifts", {"enc9": [0.0] * 6}, "shifts of 'enc9' fit no layer"),
            ("shifts", {"enc0": [0.0] * 5}, "shifts of 'enc0' fit no layer"),
            ("shifts", {"enc0": [float("inf")] * 6}, "shifts of 'enc0' are not finite"),
            ("shifts", None, "no file of `quantize`"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_nothing_written(
        self,
        recipe: Recipe,
        weights: Weights,
        weights_path: Path,
        calibration: Calibration,
        tmp_path: Path,
        key: str,
        value: object,
        said: str,
    ) -> None:
        saved = tmp_path / "quantization.json"
        save_quantization(saved, recipe.name, weights, calibration, [], [], [])
        document = {**json.loads(saved.read_text()), key: value}
        saved.write_text(json.dumps(document))
        with pytest.raises(ModelError, match=said):
            convert(recipe, weights_path, None, tmp_path / "out", {}, saved)
        assert not (tmp_path / "out").exists()

    def test_equal_weights_have_equal_hashes(self, weights: Weights) -> None:
        other = {name: weights[name].copy() for name in sorted(weights, reverse=True)}
        assert weights_sha256(other) == weights_sha256(weights)
        next(iter(other.values()))[...] += 1e-3
        assert weights_sha256(other) != weights_sha256(weights)


@pytest.mark.slow
def test_the_command_reports_and_draws(
    weights_path: Path,
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    monkeypatch.setattr(
        "export.cli_convert.sources_of", lambda args: {"train": source, "dev": source}
    )
    recipe_path = tmp_path / "tiny.yaml"
    recipe_path.write_text(yaml.safe_dump(TINY))
    common = [str(recipe_path), "--weights", str(weights_path)]
    assert main(["quantize", *common, "-o", str(tmp_path), "--clips", "1"]) == 0
    said = capsys.readouterr().out
    assert "all weights" in said and "SQNR" in said
    saved = tmp_path / "quantization.json"
    document = json.loads(saved.read_text())
    assert {"ranges", "whole", "layers", "tensors"} <= set(document)
    assert saved.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "model"
    assert main(["convert", *common, "--quantization", str(saved), "-o", str(out)]) == 0
    assert main(["convert", "--check", str(out / "tiny.tflite")]) == 0
