"""Scoring: what is kept of speech, other systems' folders, delays, processes, tables and plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgesep.card import read_card
from edgesep.errors import AudioFileError
from edgesep.features import signal_features
from export.cli import main
from export.convert import convert
from export.corpus import RATE_HZ, Corpus
from export.feed import Source
from export.outputs import advance, delay_of, read_outputs
from export.quantization import Calibration, save_quantization
from export.recipe import load_recipe
from export.score import Clip, cost, input_quality, mapping, measure, score, summary, write_clips
from export.score_plots import chosen_clips
from export.score_report import COLUMNS, System, bars, score_table
from export.speech_parts import fricatives, kept_db, onsets
from tests.helpers import random_weights
from tests.signals import speech_like

SECONDS = 2


def speech(seed: int = 0) -> np.ndarray:
    """Words of 0.25 s with pauses of 0.15 s."""
    sound = speech_like(SECONDS * RATE_HZ, seed=seed) // 4
    spoken = np.arange(len(sound)) % (RATE_HZ * 2 // 5) >= RATE_HZ * 3 // 20
    return np.where(spoken, sound, 0).astype(np.int16)


def make_clip(name: str, kind: str = "mix", snr_db: float = 5.0, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    clean = speech(seed) if kind != "noise" else np.zeros(SECONDS * RATE_HZ, np.int16)
    level = np.sqrt(np.mean(np.square(speech(seed), dtype=float))) * 10.0 ** (-snr_db / 20.0)
    noisy = np.round(clean + level * rng.standard_normal(len(clean))).astype(np.int16)
    return Clip(name, kind, snr_db, noisy, clean)


CLIPS = [
    *(make_clip(f"{i:03d}_mix", snr_db=5.0 * i, seed=i) for i in range(3)),
    make_clip("003_clean", "clean", 40.0, 3),
    make_clip("004_noise", "noise", 40.0, 4),
]


def write_all(folder: Path, sound_of: Callable[[Clip], np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for clip in CLIPS:
        soundfile.write(folder / f"{clip.name}.wav", sound_of(clip), RATE_HZ)
    return folder


def better(clip: Clip) -> np.ndarray:
    """Half of the noise."""
    return ((clip.noisy.astype(int) + clip.clean) // 2).astype(np.int16)


class TestSpeechParts:
    def bursts(self) -> np.ndarray:
        """Tone bursts of 200 ms from 0.3 and 0.8 s; one from 1.05 s comes after a gap of 50 ms."""
        sound = np.zeros(2 * RATE_HZ)
        tone = 3000.0 * np.sin(2 * np.pi * 300.0 * np.arange(RATE_HZ // 5) / RATE_HZ)
        for start_s in (0.3, 0.8, 1.05):
            start = int(start_s * RATE_HZ)
            sound[start : start + len(tone)] = tone
        return sound.astype(np.int16)

    def test_onsets_are_the_first_50_ms_after_a_pause(self) -> None:
        assert onsets(self.bursts()) == [(4800, 5600), (12800, 13600)]
        assert onsets(np.zeros(RATE_HZ, np.int16)) == []

    def test_fricatives_are_loud_enough_frames_above_4_khz(self) -> None:
        time = np.arange(RATE_HZ // 5) / RATE_HZ
        low, high = (2000.0 * np.sin(2 * np.pi * hz * time) for hz in (500.0, 6000.0))
        faint = high * 10.0 ** (-50.0 / 20.0)
        spans = fricatives(np.concatenate([low, high, low, faint]).astype(np.int16))
        assert spans == [(3200 + 320 * i, 3520 + 320 * i) for i in range(10)]

    def test_kept_energy_is_the_gain_that_speech_got(self) -> None:
        clean = speech()
        spans = onsets(clean)
        halved = clean.astype(float)
        for start, stop in spans:
            halved[start:stop] *= 0.5
        assert kept_db(clean, clean, spans) == pytest.approx(0.0)
        assert kept_db(halved, clean, spans) == pytest.approx(20.0 * np.log10(0.5))
        assert kept_db(0 * clean, clean, spans) == -60.0

    def test_noise_that_is_left_does_not_count_as_speech(self) -> None:
        clean = speech()
        loudness = np.sqrt(np.mean(np.square(clean, dtype=float)))
        noise = loudness * np.random.default_rng(0).standard_normal(len(clean))
        spans = onsets(clean)
        assert kept_db(clean + noise, clean, spans) == pytest.approx(0.0, abs=0.5)
        assert kept_db(noise, clean, spans) < -15.0


class TestOutputs:
    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (lambda path: path.unlink(), "is missing"),
            (lambda path: path.write_bytes(b"no sound"), "cannot be read"),
            (lambda path: soundfile.write(path, speech(), 48000), "48000 Hz, expected 16000 Hz"),
            (lambda path: soundfile.write(path, speech()[:-9], RATE_HZ), "31991 samples, expected"),
            (
                lambda path: soundfile.write(path, np.stack([speech()] * 2, 1), RATE_HZ),
                "2 channels",
            ),
            (lambda path: soundfile.write(path, 0 * speech(), RATE_HZ), "silent"),
            (
                lambda path: soundfile.write(
                    path, np.full(len(speech()), np.nan), RATE_HZ, subtype="FLOAT"
                ),
                "not finite",
            ),
        ],
    )
    def test_faults_are_said_in_one_line(
        self, tmp_path: Path, fault: Callable[[Path], None], said: str
    ) -> None:
        folder = write_all(tmp_path / "theirs", better)
        for name in ("001_mix.wav", "002_mix.wav"):
            fault(folder / name)
        with pytest.raises(AudioFileError, match=said) as error:
            read_outputs(CLIPS, folder)
        assert "2 of 5 outputs" in str(error.value) and "\n" not in str(error.value)

    def test_float_files_are_read_to_scale(self, tmp_path: Path) -> None:
        folder = write_all(tmp_path / "theirs", better)
        for clip in CLIPS[:2]:
            path = folder / f"{clip.name}.wav"
            soundfile.write(path, better(clip) / 32768.0, RATE_HZ, subtype="FLOAT")
        for clip, sound in zip(CLIPS, read_outputs(CLIPS, folder), strict=True):
            np.testing.assert_array_equal(sound, better(clip))

    @pytest.mark.parametrize("late", [57, -320, 0])
    def test_a_delay_is_found_and_taken_away(self, late: int) -> None:
        moved = [advance(better(clip), -late) for clip in CLIPS]
        assert delay_of(CLIPS, moved) == late
        back = advance(moved[0], late)
        inner = slice(400, -400)
        np.testing.assert_array_equal(back[inner], better(CLIPS[0])[inner])


class TestScore:
    @pytest.mark.slow
    def test_processes_give_the_same_rows(self, tmp_path: Path) -> None:
        pytest.importorskip("pesq", reason="scoring needs pesq")
        clips, sounds = CLIPS[2:], [better(clip) for clip in CLIPS[2:]]
        alone = measure(clips, input_quality(clips), sounds)
        with mapping(2) as map_:
            assert measure(clips, input_quality(clips, map_), sounds, map_) == alone
        assert [row["name"] for row in alone] == [clip.name for clip in clips]

    def test_figures_are_the_gains_that_were_made(self, tmp_path: Path) -> None:
        pytest.importorskip("pesq", reason="scoring needs pesq")
        theirs = write_all(tmp_path / "theirs", better)
        groups = summary(score(CLIPS, lambda noisy, out: None, tmp_path, outputs=theirs))
        assert groups["mixes"]["si_sdri_db"] == pytest.approx(6.0, abs=0.3)
        assert groups["noise alone"]["attenuation_db"] == pytest.approx(6.0, abs=0.1)
        assert groups["mixes"]["worse_share"] == 0.0
        assert groups["mixes"]["onsets_kept_db"] == pytest.approx(0.0, abs=0.5)
        assert groups["mixes"]["pesq_out"] > groups["mixes"]["pesq_noisy"]

    def test_cost_is_taken_clip_by_clip(self) -> None:
        def rows(lost: float) -> list[dict[str, object]]:
            return [
                {"kind": "mix", "si_sdr_db_out": x - lost, "pesq_out": 2.0 - lost, "estoi_out": 0.7}
                for x in (0.0, 10.0, 20.0)
            ]

        lost = cost(rows(0.25), rows(0.0))
        assert lost["si_sdr_db"] == pytest.approx(0.25) and lost["estoi"] == 0.0
        assert lost["si_sdr_db_ci95"] == pytest.approx(0.0, abs=1e-9)


def figures(**changed: float) -> System:
    quality = {"si_sdr_db_noisy": 0.0, "si_sdri_db": 6.0, "pesq_noisy": 1.2, "estoi_noisy": 0.6}
    quality |= {"si_sdr_db_out": 31.0, "pesq_out": 1.5, "estoi_out": 0.7, "worse_share": 0.01}
    quality |= {"pesq_gain": 0.3}
    quality |= {"clips": 3.0, **changed}
    quality |= {f"{key}_ci95": 0.1 for key in (*quality, "attenuation_db")}
    attenuation = {"clips": 3.0, "attenuation_db": 21.0, "attenuation_db_ci95": 0.1} | changed
    groups = {"mixes": quality, "speech at 40 dB": quality, "noise alone": attenuation}
    return System("ours", [], groups)


class TestReport:
    @pytest.mark.parametrize(
        ("changed", "lost", "missed"),
        [
            ({}, {}, ""),
            ({"worse_share": 0.03}, {}, "mixes that end worse"),
            ({"si_sdr_db_out": 29.9}, {}, "speech at 40 dB: SI-SDR"),
            ({"pesq_gain": -0.01}, {}, "speech at 40 dB: PESQ against the input's"),
            ({"attenuation_db": 19.9}, {}, "noise alone: attenuation"),
            ({}, {"si_sdr_db": 0.16}, "SI-SDR lost against float"),
            ({}, {"pesq": 0.031}, "PESQ lost against float"),
        ],
    )
    def test_bars_say_what_is_missed(
        self, changed: dict[str, float], lost: dict[str, float], missed: str
    ) -> None:
        costs = {"si_sdr_db": 0.1, "si_sdr_db_ci95": 0.01, "pesq": 0.01, "pesq_ci95": 0.01} | lost
        found = bars(figures(**changed), costs)
        assert len(found) == 6
        assert [row[0] for row in found if row[-1] == "missed"] == ([missed] if missed else [])

    def test_table_has_a_row_per_group_and_system(self) -> None:
        rows = score_table([figures(), System("theirs", [], figures().groups)])
        assert all(len(row) == len(COLUMNS) for row in rows)
        assert [row[1] for row in rows] == ["ours", "theirs"] * 3

    def test_drawn_clips_span_the_snr(self) -> None:
        assert chosen_clips(CLIPS, 2) == [0, 2] and chosen_clips(CLIPS, 9) == [0, 1, 2]
        assert chosen_clips(CLIPS, 0) == []


class TestCommandLine:
    @pytest.fixture
    def arguments(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Arguments of `score` whose clips are `CLIPS`, and which reads no corpus."""
        pytest.importorskip("pesq", reason="scoring needs pesq")
        corpus = Corpus(speech(), np.array([0, 32000]), np.ones(1), ("a",))
        corpus.save(tmp_path / "corpus.npz")
        source = Source(tmp_path / "corpus.npz", tmp_path / "corpus.npz")
        monkeypatch.setattr("export.cli_score.sources_of", lambda args: {"dev": source})
        monkeypatch.setattr("export.score.make_clips", lambda *args: iter(CLIPS))
        return ["score", "--workers", "1"]

    @pytest.mark.slow
    def test_systems_are_scored_side_by_side(
        self, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib", reason="plots need matplotlib")
        late = write_all(tmp_path / "late", lambda clip: advance(better(clip), -40))
        same = write_all(tmp_path / "same", lambda clip: clip.noisy)
        plots, saved = tmp_path / "plots", tmp_path / "score.json"
        folders = ["--outputs", f"half={late}", "--outputs", f"none={same}", "--align"]
        more = ["--json", str(saved), "--plots", str(plots), "--spectrograms", "1"]
        assert main([*arguments, *folders, *more]) == 0
        said = capsys.readouterr().out
        assert "half: outputs lie 40 samples late, taken away" in said and "missed" in said
        document = json.loads(saved.read_text())
        assert document["system"] == "half" and document["late_samples"] == 40
        assert document["summary"]["mixes"]["si_sdri_db"] == pytest.approx(6.0, abs=0.3)
        assert document["beside"]["none"]["summary"]["mixes"]["si_sdri_db"] == 0.0
        assert {path.name for path in plots.iterdir()} == {"scores.png", "000_mix.png"}

    @pytest.mark.slow
    def test_int8_is_scored_beside_its_own_float(
        self,
        arguments: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("ai_edge_litert", reason="writing a .tflite needs ai-edge-litert")
        (tmp_path / "tiny.yaml").write_text(
            "name: tiny\nnetwork: {encoder: [6, 8, 10, 12], context: 16, dilations: [1, 2]}\n"
        )
        monkeypatch.setattr("export.recipe.RECIPES", tmp_path)
        recipe = load_recipe("tiny")
        graph, contract = recipe.graph(), recipe.frame.contract()
        weights, weights_path = random_weights(graph), tmp_path / "weights.npz"
        np.savez(weights_path, **weights)  # type: ignore[arg-type]
        calibration = Calibration.of(graph, weights, [signal_features(speech(), contract)])
        saved = tmp_path / "quantization.json"
        save_quantization(saved, "tiny", weights, calibration, [], [], [])
        path = convert(recipe, weights_path, None, tmp_path, {"recipe": "tiny"}, saved)
        more = ["--beside", "float", "--weights", str(weights_path), "--into-card"]
        report = tmp_path / "score.json"
        assert main([*arguments, str(path), *more, "--json", str(report)]) == 0
        assert "SI-SDR lost against float" in capsys.readouterr().out
        document = json.loads(report.read_text())
        lost = document["loses_against"]["int8"]["si_sdr_db"]
        means = [
            found["summary"]["mixes"]["si_sdr_db_out"]
            for found in (document["beside"]["float"], document)
        ]
        assert lost == pytest.approx(means[0] - means[1]) and abs(lost) < 3.0 and lost != 0.0
        scores = read_card(path.with_suffix(".json")).scores
        assert scores["exact"]["mixes"]["clips"] == scores["float"]["mixes"]["clips"] == 3

    def test_clips_alone_are_for_other_systems(self, arguments: list[str], tmp_path: Path) -> None:
        keep = tmp_path / "kept"
        assert main([*arguments, "--keep", str(keep)]) == 0
        assert len(list((keep / "noisy").iterdir())) == len(CLIPS)
        write_clips(CLIPS, tmp_path / "again")
        name = "000_mix.wav"
        again = (tmp_path / "again" / "noisy" / name).read_bytes()
        assert (keep / "noisy" / name).read_bytes() == again

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ([], "name a MODEL"),
            (["--outputs", "x=/no/such/folder"], "is no folder"),
            (["--into-card", "--keep", "x"], "need a MODEL"),
            (["m", "--clips", "1"], "--clips is 3 at least"),
            (["m", "--extra", "0"], "--extra and --workers 1"),
        ],
    )
    def test_what_cannot_be_scored_is_said_first(
        self, arguments: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*arguments, *more]) == 1
        assert said in capsys.readouterr().err
