"""From generated audio to a running int8 model: every step of export/, small but real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

pytest.importorskip("keras", reason="training needs Keras: pip install -e .[export]")

from edgesep.card import read_card
from edgesep.errors import AudioFileError, ModelError, SettingsError
from edgesep.features import signal_features
from edgesep.isolator import Isolator
from edgesep.models import find_model, list_models
from export.bands import band_edges
from export.cli import main
from export.convert import KEPT, check_weights, convert, load_weights, mask_error
from export.corpus import Corpus, read_folder, voice_weights
from export.feed import Source, batches, make_batch
from export.float_model import activations, float_mask
from export.graph import INPUT, OUTPUT, UNetShape, unet
from export.levels import active_rms, rms
from export.measure import si_sdr_db
from export.mix import Mixer, MixRanges, room_response
from export.recipe import Recipe, device_recipes, load_recipe
from export.score import Clip, make_clips, score, summary
from tests.helpers import random_weights

RATE_HZ = 16000
DEMO = Path(__file__).parents[1] / "demo"
SMALL = {
    "name": "tiny",
    "network": {"encoder": [6, 8, 10, 12], "context": 16, "dilations": [1, 2], "first_frames": 2},
    "training": {
        "steps": 4,
        "epoch_steps": 2,
        "batch": 2,
        "clip_s": 0.6,
        "warmup_steps": 1,
        "learning_rate": 0.01,
    },
}


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/{train,dev} and noise/{train,dev} of generated sound."""
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    for split in ("train", "dev"):
        for kind in ("speech", "noise"):
            (root / kind / split).mkdir(parents=True)
        for i in range(4):
            pitch_hz = rng.uniform(90, 250)
            voice = np.sum(
                [np.sin(2 * np.pi * pitch_hz * k * time) / k for k in range(1, 20)], axis=0
            )
            voice = voice * (np.sin(2 * np.pi * 3 * time) > 0) * 0.15
            soundfile.write(root / "speech" / split / f"voice{i % 2}_{i}.wav", voice, RATE_HZ)
        for i in range(2):
            noise = 0.1 * rng.standard_normal(3 * RATE_HZ)
            soundfile.write(root / "noise" / split / f"noise{i}.flac", noise, RATE_HZ)
    return root


@pytest.fixture(scope="module")
def sources(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    from export.train import prepare_corpora

    return prepare_corpora(audio / "speech", audio / "noise", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return load_recipe(str(path))


@pytest.fixture(scope="module")
def trained(
    recipe: Recipe, sources: dict[str, Source], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Weights after two epochs of two steps."""
    from export.train import train

    return train(recipe, sources, tmp_path_factory.mktemp("run"), workers=1)


class TestBandsAndGraph:
    def test_bands_are_single_then_erb_like(self) -> None:
        edges = np.array(band_edges(128, 64))
        widths = np.diff(edges)
        assert (edges[0], edges[-1], len(edges)) == (0, 256, 129)
        assert np.all(widths[:64] == 1) and np.all(np.diff(widths[64:-1]) >= -1)

    @pytest.mark.parametrize(("bands", "single"), [(300, 64), (64, 64), (64, 0)])
    def test_impossible_bands_are_refused(self, bands: int, single: int) -> None:
        with pytest.raises(ValueError, match="single_bins"):
            band_edges(bands, single)

    def test_shipped_recipes_keep_their_budgets(self) -> None:
        budgets = {"base-16ms": 120e6, "small-16ms": 30e6, "small-8ms": 40e6, "nano-16ms": 6e6}
        for name in device_recipes():
            recipe = load_recipe(name)
            frames_per_s = RATE_HZ / recipe.frame.hop_samples
            assert recipe.graph().macs_per_frame() * frames_per_s <= budgets[recipe.name]

    def test_network_never_looks_ahead(self, recipe: Recipe) -> None:
        graph = recipe.graph()
        weights = random_weights(graph)
        rng = np.random.default_rng(1)
        features = rng.integers(-128, 127, (30, 128, 2)).astype(np.float32) / 32
        changed = features.copy()
        changed[20:] += 1.0
        before, after = (float_mask(graph, weights, x) for x in (features, changed))
        assert np.array_equal(before[:20], after[:20]) and not np.array_equal(before[20], after[20])

    def test_unknown_recipe_key_names_the_nearest(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text("name: x\ntraining: {stepz: 3}\n")
        with pytest.raises(SettingsError, match="did you mean 'steps'"):
            load_recipe(str(path))


class TestCorpusAndMixer:
    def test_another_folder_is_not_taken_from_the_cache(self, audio: Path, tmp_path: Path) -> None:
        from export.train import prepare_corpora

        first = prepare_corpora(audio / "speech", audio / "noise", tmp_path)["dev"]
        swapped = prepare_corpora(audio / "noise", audio / "noise", tmp_path)["dev"]
        assert Corpus.load(first.speech).names[0].startswith("voice")
        assert Corpus.load(swapped.speech).names[0].startswith("noise")

    def test_bad_files_are_counted_and_skipped(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tone = 0.3 * np.sin(np.arange(RATE_HZ) * 0.1)
        soundfile.write(tmp_path / "good.wav", tone, RATE_HZ)
        soundfile.write(tmp_path / "other-rate.wav", tone, 48000)
        soundfile.write(tmp_path / "silent.wav", 0 * tone, RATE_HZ)
        soundfile.write(tmp_path / "clipped.wav", np.sign(tone), RATE_HZ)
        (tmp_path / "broken.wav").write_bytes(b"no sound")
        corpus = read_folder(tmp_path, "train", quiet=True)
        assert corpus.names == ("good.wav", "other-rate.wav")
        assert len(corpus.clip(1)) == pytest.approx(RATE_HZ / 3, abs=2)
        said = capsys.readouterr().out
        assert all(fault in said for fault in ("silent", "clipped", "unreadable"))

    def test_empty_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AudioFileError, match="no usable audio"):
            read_folder(tmp_path, "train")

    def test_no_voice_outweighs_the_others(self) -> None:
        weights = voice_weights([f"a_{i:03d}.wav" for i in range(100)] + ["b_001.wav"])
        assert weights.sum() == pytest.approx(1.0)
        assert weights[:100].sum() == pytest.approx(10 * weights[100])

    def test_a_seed_repeats_an_example(self, sources: dict[str, Source], recipe: Recipe) -> None:
        mixer = sources["train"].mixer(recipe)
        first, again = (mixer.example(np.random.default_rng(3)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert first[0].dtype == np.int16 and len(first[0]) == recipe.clip_frames * 128

    def test_clean_and_noise_only_examples(self, sources: dict[str, Source]) -> None:
        speech, noise = Corpus.load(sources["train"].speech), Corpus.load(sources["train"].noise)
        clean = Mixer(speech, noise, RATE_HZ, MixRanges(clean=1.0, clipped=0.0, reverberant=0.0))
        noisy, target = clean.example(np.random.default_rng(0))
        assert si_sdr_db(noisy, target) > 20.0
        alone = Mixer(speech, noise, RATE_HZ, MixRanges(clean=0.0, noise_only=1.0))
        noisy, target = alone.example(np.random.default_rng(0))
        assert noisy.any() and not target.any()

    def test_room_starts_with_the_direct_sound_and_decays(self) -> None:
        for seed in range(20):
            response = room_response(np.random.default_rng(seed))
            assert response[0] == 1.0
            early, late = np.array_split(np.square(response[1:]), 2)
            assert late.sum() < early.sum()

    def test_workers_give_the_same_batches_in_the_same_order(
        self, sources: dict[str, Source], recipe: Recipe
    ) -> None:
        alone = batches(sources["train"], recipe, 5, workers=0)
        pair = batches(sources["train"], recipe, 5, workers=2)
        for _ in range(3):
            a, b = next(alone), next(pair)
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    def test_features_are_the_front_ends(self, sources: dict[str, Source], recipe: Recipe) -> None:
        features, hops = make_batch(sources["train"].mixer(recipe), recipe, 0)
        noisy = hops[0, :, :128].reshape(-1)
        assert np.array_equal(features[0], signal_features(noisy, recipe.frame.contract()))


class TestNetworkAndLoss:
    def test_keras_equals_the_float_model(self, recipe: Recipe, trained: Path) -> None:
        from export.network import build_network, folded_weights

        graph = recipe.graph()
        model = build_network(graph, 20)
        rng = np.random.default_rng(0)
        for layer in model.layers:  # batch norms that do something
            layer.set_weights([np.abs(rng.normal(0.8, 0.3, w.shape)) for w in layer.get_weights()])
        for layer in graph.layers.values():
            if layer.has_weights:
                keras_layer = model.get_layer(layer.name.replace(".", "_"))
                values = keras_layer.get_weights()
                values[0] = rng.normal(0, 0.1, values[0].shape)
                keras_layer.set_weights(values)
        features = rng.integers(-128, 127, (20, 128, 2)).astype(np.float32) / 32
        ours = float_mask(graph, folded_weights(model, graph), features)
        theirs = np.asarray(model.predict(features[None], verbose=0))[0]
        assert np.abs(ours - theirs).max() < 1e-4

    def test_loss_resynthesises_like_the_device(
        self, recipe: Recipe, sources: dict[str, Source]
    ) -> None:
        from keras import ops

        from export.loss import ResynthesisLoss
        from export.train import loss_windows

        loss = ResynthesisLoss(
            *loss_windows(recipe), recipe.frame.contract().band_edges, recipe.loss
        )
        hops = make_batch(sources["dev"].mixer(recipe), recipe, 0)[1].astype(np.float32) / 32768
        noisy = hops[..., :128]
        ones = np.full((*noisy.shape[:2], 128), 255 / 256, np.float32)
        back = ops.convert_to_numpy(loss.resynthesise(noisy, ones))
        assert np.abs(back - noisy[:, :-1]).max() < 1e-5
        both = np.concatenate([noisy, noisy], axis=-1)
        good, bad = (float(loss(both, mask)) for mask in (ones, ones * 0.3))
        assert good < bad


class TestTrainConvertRun:
    def test_training_goes_on_exactly_where_it_stopped(
        self, recipe: Recipe, sources: dict[str, Source], trained: Path, tmp_path: Path
    ) -> None:
        import export.train as training

        log = (trained.parent / "log.csv").read_text().splitlines()
        assert [line.split(",")[:2] for line in log] == [["epoch", "step"], ["1", "2"], ["2", "4"]]
        real = training.save_checkpoint

        class Stopped(Exception):
            """Stands for a power cut after the first epoch."""

        def checkpoint_and_stop(*args: object) -> None:
            real(*args)  # type: ignore[arg-type]
            raise Stopped

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
            patch.setattr(training, "save_checkpoint", checkpoint_and_stop)
            training.train(recipe, sources, tmp_path, workers=0)
        resumed = load_weights(training.train(recipe, sources, tmp_path, workers=0))
        whole = load_weights(trained)
        for key, values in whole.items():
            assert np.allclose(values, resumed[key], atol=1e-6), key

    def test_convert_writes_a_model_that_runs(
        self, recipe: Recipe, sources: dict[str, Source], trained: Path, tmp_path: Path
    ) -> None:
        path = convert(
            recipe, trained, sources["train"], tmp_path, {"data": "generated"}, version="2"
        )
        card = read_card(path.with_suffix(".json"))
        assert card.version == "2"
        assert card.parameters == recipe.graph().parameters()
        assert card.training == {"data": "generated"}
        isolator = Isolator(str(path))
        out = isolator.process(np.zeros(isolator.hop_samples, np.int16))
        assert not out.any()

    def test_int8_stays_close_to_float(
        self, recipe: Recipe, sources: dict[str, Source], tmp_path: Path
    ) -> None:
        from export.convert import CALIBRATION_FIRST, make_card
        from export.quantize import calibrate, quantize
        from export.tflite import write_tflite

        graph = recipe.graph()
        weights = random_weights(graph)
        mixer = sources["train"].mixer(recipe)
        clips = list(make_batch(mixer, recipe, CALIBRATION_FIRST)[0])
        qgraph = quantize(graph, weights, calibrate(graph, weights, clips), recipe.name)
        content = write_tflite(qgraph)
        path = tmp_path / "tiny.tflite"
        path.write_bytes(content)
        card = make_card(recipe, graph, qgraph, content, {})
        assert mask_error(path, card, graph, weights, clips) < 0.02

    def test_shipped_models_are_their_float_weights(self) -> None:
        samples, _ = soundfile.read(DEMO / "noisy.flac", dtype="int16")
        for name in list_models():
            recipe, (path, card) = load_recipe(name), find_model(name)
            weights = load_weights(KEPT / f"{name}.npz")
            check_weights(recipe.graph(), weights, path)
            clip = signal_features(samples, card.contract)
            assert mask_error(path, card, recipe.graph(), weights, [clip]) < 0.04

    def test_weights_of_another_recipe_are_refused(self, recipe: Recipe, trained: Path) -> None:
        weights = load_weights(trained)
        other = unet(128, 2, UNetShape((6, 8, 10, 14), 16, (1, 2)))
        with pytest.raises(ModelError, match="the recipe wants"):
            check_weights(other, weights, trained)
        with pytest.raises(ModelError, match="cannot read weights"):
            load_weights(trained.parent / "log.csv")

    def test_activations_cover_every_layer(self, recipe: Recipe) -> None:
        graph = recipe.graph()
        values = activations(graph, random_weights(graph), np.zeros((3, 128, 2), np.float32))
        for name in graph.layers:
            assert values[name].shape == (3, *graph.shape(name))
        assert set(values) == {INPUT, *graph.layers} and OUTPUT in values


class TestScore:
    def test_si_sdr_is_scale_invariant(self) -> None:
        rng = np.random.default_rng(0)
        target, noise = rng.standard_normal((2, RATE_HZ))
        noise -= target * (noise @ target) / (target @ target)
        noise *= np.linalg.norm(target) / np.linalg.norm(noise) / 10.0
        assert si_sdr_db(3.0 * (target + noise), target) == pytest.approx(20.0, abs=0.01)

    def test_a_perfect_system_scores_perfectly(
        self, sources: dict[str, Source], tmp_path: Path
    ) -> None:
        pytest.importorskip("pesq", reason="scoring needs pesq")
        speech, noise = (Corpus.load(p) for p in (sources["dev"].speech, sources["dev"].noise))
        clips = list(make_clips(speech, noise, 4, (0.0, 10.0), seed=1, extra=2))
        assert {clip.kind for clip in clips} == {"mix", "clean", "noise"}

        def perfect(noisy: Path, out: Path) -> None:
            out.mkdir()
            for path in sorted(noisy.iterdir()):
                (out / path.name).write_bytes((noisy.parent / "clean" / path.name).read_bytes())

        rows = score(clips, perfect, tmp_path)
        groups = summary(rows)
        assert groups["mixes"]["si_sdri_db"] > 40.0 and groups["mixes"]["pesq_out"] > 4.5

    def test_mixes_have_the_snr_they_claim(self, sources: dict[str, Source]) -> None:
        speech, noise = (Corpus.load(p) for p in (sources["dev"].speech, sources["dev"].noise))
        for clip in make_clips(speech, noise, 3, (0.0, 10.0), seed=2, extra=0):
            if clip.kind == "mix":
                assert _active_snr_db(clip) == pytest.approx(clip.snr_db, abs=0.5)

    def test_outputs_of_wrong_length_are_refused(
        self, sources: dict[str, Source], tmp_path: Path
    ) -> None:
        from edgesep.errors import EdgesepError

        clip = Clip("x", "noise", 0.0, np.ones(1000, np.int16), np.zeros(1000, np.int16))
        (tmp_path / "other").mkdir()
        soundfile.write(tmp_path / "other" / "x.wav", np.zeros(900, np.int16), RATE_HZ)
        with pytest.raises(EdgesepError, match="expected"):
            score([clip], lambda noisy, out: None, tmp_path, outputs=tmp_path / "other")

    def test_command_line_scores_a_model(
        self, audio: Path, recipe: Recipe, sources: dict[str, Source], trained: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("pesq", reason="scoring needs pesq")
        path = convert(recipe, trained, sources["train"], tmp_path, {})
        folders = ["--speech", str(audio / "speech"), "--noise", str(audio / "noise")]
        out = tmp_path / "score.json"
        arguments = ["score", str(path), *folders, "--cache", str(tmp_path), "--clips", "3"]
        assert main([*arguments, "--json", str(out), "--into-card"]) == 0
        assert read_card(path.with_suffix(".json")).scores["exact"]["mixes"]["clips"] == 3
        assert json.loads(out.read_text())["summary"]["mixes"]["clips"] == 3
        assert main(["score", "no-such-model", *folders, "--cache", str(tmp_path)]) == 1


def _active_snr_db(clip: Clip) -> float:
    noise = clip.noisy.astype(float) - clip.clean
    return float(20 * np.log10(active_rms(clip.clean) / rms(noise)))
