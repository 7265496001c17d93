"""Adapting a model to a user's own noise, but for the training: what is heard, what is decided."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from edgesep.errors import AudioFileError, EdgesepError
from export.adapt import Budget, Progress
from export.corpus import Corpus
from export.espeak import synthesize
from export.finetune_report import compare
from export.mix import MixRanges
from export.recordings import GAP_S, Recording, read_recordings, split_in_time
from export.room import RoomMixer
from export.talk import talk, without_talk
from export.voices import read_share
from tests.finetune_jobs import RATE_HZ, gliding_voice, machine, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audio")
    write_audio(root)
    return root


class TestRecordings:
    def test_stereo_at_48_khz_keeps_its_length_and_level(self, audio: Path) -> None:
        (recording,) = read_recordings(audio / "noise")
        assert len(recording.samples) == 36 * RATE_HZ and recording.samples.dtype == np.int16
        both = (machine(36.0, 48000) + machine(36.0, 48000, 1)) / 2
        low = both[np.arange(0, len(both), 3)]  # the hum lies far below, the rattle is halved
        assert np.std(recording.samples / 32768.0) == pytest.approx(np.std(low), rel=0.15)

    def test_the_end_of_each_is_held_out_after_a_gap(self) -> None:
        ramp = np.arange(80 * RATE_HZ)
        counted = Recording("long", (1000 + ramp // RATE_HZ).astype(np.int16))  # seconds
        split = split_in_time([counted, Recording("short", np.full(RATE_HZ, 900, np.int16))])
        assert split.train.names == ("long", "short") and split.held_out.names == ("long",)
        last, first = split.train.samples[: split.train.starts[1]].max(), split.held_out.samples[0]
        assert first - last >= GAP_S and first == 1060
        assert split.held_out.samples[-1] == 1079

    def test_of_short_recordings_every_fourth_is_held_out(self) -> None:
        parts = [Recording(f"{i}", np.full(4 * RATE_HZ, 900, np.int16)) for i in range(9)]
        split = split_in_time(parts)
        assert split.held_out.names == ("3", "7") and len(split.train) == 7
        assert split_in_time(parts[:2]).held_out.names == ("1",)

    def test_silent_files_are_left_out_with_a_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        soundfile.write(tmp_path / "off.flac", np.zeros(40 * RATE_HZ), RATE_HZ)
        with pytest.raises(AudioFileError, match="all recordings are silent"):
            read_recordings(tmp_path)
        soundfile.write(tmp_path / "on.ogg", machine(31.0, RATE_HZ), RATE_HZ)
        assert [item.name for item in read_recordings(tmp_path)] == ["on.ogg"]
        assert "off.flac: left out: silent" in capsys.readouterr().out

    def test_what_cannot_be_used_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(AudioFileError, match="no such folder"):
            read_recordings(tmp_path / "nowhere")
        with pytest.raises(AudioFileError, match="no audio in this folder"):
            read_recordings(tmp_path)
        soundfile.write(tmp_path / "short.wav", machine(12.0, RATE_HZ), RATE_HZ)
        with pytest.raises(AudioFileError, match=r"12\.0 s of noise in all, at least 30 s"):
            read_recordings(tmp_path)
        (tmp_path / "broken.wav").write_bytes(b"no sound")
        with pytest.raises(AudioFileError, match=r"broken\.wav"):
            read_recordings(tmp_path)


class TestTalk:
    def test_a_voice_that_moves_is_talk_and_a_motor_is_not(self) -> None:
        noise = (32768 * machine(12.0, RATE_HZ)).astype(np.int16)
        assert talk(noise, np.copy) == []
        noise[4 * RATE_HZ : 8 * RATE_HZ] += (32768 * gliding_voice(4.0)).astype(np.int16)
        ((start, stop),) = talk(noise, np.copy)
        assert 2.0 <= start / RATE_HZ <= 5.0 and 7.0 <= stop / RATE_HZ <= 10.0
        assert talk(noise, lambda x: x // 8) == []  # the model turns it down: no voice

    def test_talk_is_left_out_and_named_unless_it_is_everywhere(self) -> None:
        noise = (32768 * machine(12.0, RATE_HZ)).astype(np.int16)
        spoken = noise.copy()
        spoken[: 3 * RATE_HZ] += (32768 * gliding_voice(3.0)).astype(np.int16)
        pair = [Recording("a", noise), Recording("b", spoken)]
        kept, (line,) = without_talk(pair, np.copy)
        assert len(kept[0].samples) == len(noise) > len(kept[1].samples)
        assert line.startswith("b: sounds like talk, left out: 0:00-0:0")
        crowd = (32768 * (0.1 * machine(9.0, RATE_HZ) + gliding_voice(9.0))).astype(np.int16)
        kept, (line,) = without_talk([Recording("crowd", crowd)], np.copy)
        assert len(kept[0].samples) == len(crowd) and "taken for the noise itself" in line


class TestWhatIsHeard:
    def test_held_out_voices_are_not_trained_on(self, audio: Path) -> None:
        split = read_share(audio / "speech", "speech")
        voices = [
            {name.rsplit("_", 1)[0] for name in part.names}
            for part in (split.train, split.held_out)
        ]
        assert not voices[0] & voices[1] and len(voices[0] | voices[1]) == 5

    def test_one_speaker_alone_is_refused(self, audio: Path) -> None:
        with pytest.raises(AudioFileError, match="of one speaker"):
            read_share(audio / "speech" / "speaker0", "speech")

    def test_the_share_of_other_noise_is_kept(self) -> None:
        rng = np.random.default_rng(0)
        low = (8000 * np.sin(np.arange(4 * RATE_HZ) * 2 * np.pi * 200 / RATE_HZ)).astype(np.int16)
        white = rng.normal(0, 3000, 4 * RATE_HZ).astype(np.int16)
        own, other = Corpus.of([low], ["own"]), Corpus.of([white], ["other"])
        mixer = RoomMixer(own, own, RATE_HZ, MixRanges(), other, share=0.3)

        def crossings(sound: np.ndarray) -> int:
            return int(np.count_nonzero(np.diff(np.sign(sound))))

        heard = [crossings(mixer._recorded(rng)) > 2000 for _ in range(200)]
        assert np.mean(heard) == pytest.approx(0.3, abs=0.1)

    def test_speech_can_be_synthesized(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spoken = tmp_path / "espeak-ng"  # stands for the program: writes what it is asked for
        spoken.write_text('#!/bin/sh\nwhile [ "$1" != -w ]; do shift; done\necho sound >"$2"\n')
        spoken.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        voices = list(synthesize(tmp_path / "voices").iterdir())
        assert len(voices) >= 40 and all(len(list(v.iterdir())) == 2 for v in voices)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(EdgesepError, match="apt install espeak-ng"):
            synthesize(tmp_path / "more")


class TestSchedule:
    def test_the_rate_rises_then_falls_to_a_hundredth(self) -> None:
        budget = Budget(60.0, 3e-4, steps=1000)
        rates = [Progress(step=step).learning_rate(budget) for step in range(1001)]
        assert max(rates) <= 3e-4 and rates[0] == pytest.approx(3e-4 / 20, rel=1e-3)
        assert rates[1000] == pytest.approx(3e-6) and np.argmax(rates) == 19

    def test_a_slower_machine_still_ends_in_time(self) -> None:
        budget = Budget(60.0, 3e-4)
        slow = Progress(step=40, seconds=60.0, steps_planned=100)
        assert slow.share(budget) == 1.0
        assert Progress(step=100, seconds=30.0, steps_planned=100).share(budget) == 1.0


def rows(
    own: float = 5.0, clean: float = 29.0, pesq: float = 1.5, off_db: float = 20.0,
    other: float = 5.0, other_pesq: float = 1.5,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Return what measuring gives: ten mixtures in each noise, clean speech, noise alone."""
    quiet = [{"kind": "clean", "si_sdr_db_out": clean, "si_sdr_db_noisy": 38.0, "pesq_out": 3.8}]
    alone = [{"kind": "noise", "attenuation_db": off_db}]
    return {"room": [*mixes(own, pesq), *quiet, *alone], "other": mixes(other, other_pesq)}


def mixes(gain_db: float, pesq: float) -> list[dict[str, Any]]:
    return [
        {
            "kind": "mix",
            "si_sdr_db_noisy": float(i),
            "si_sdr_db_out": i + gain_db + 0.01 * (-1) ** i,
            "pesq_out": pesq,
            "estoi_out": 0.7,
        }
        for i in range(10)
    ]


class TestVerdict:
    def test_a_sure_gain_is_better(self) -> None:
        found = compare(rows(), rows(own=6.0, clean=28.5, pesq=1.49, off_db=17.5, other=4.6))
        assert found.better and found.figures["own_si_sdri_db"].change.mean == pytest.approx(1.0)
        assert found.after_means()["own noise"]["si_sdri_db"] == pytest.approx(6.0)

    @pytest.mark.parametrize(
        ("after", "fault"),
        [
            (rows(), "no sure gain"),
            (rows(own=4.0), "no sure gain"),
            (rows(own=5.05), "+0.05 +- 0.00 dB, which is no sure gain of 0.1 dB"),
            (rows(own=6.0, pesq=1.45), "PESQ in your noise falls by 0.05 (limit 0.02)"),
            (rows(own=6.0, off_db=16.5), "attenuation of your noise alone, dB, falls by 3.50"),
            (rows(own=6.0, clean=27.5), "SI-SDR of clean speech, dB, falls by 1.50"),
            (rows(own=6.0, other=4.4), "improvement in other noise, dB, falls by 0.60"),
            (rows(own=6.0, other_pesq=1.46), "PESQ in other noise falls by 0.04"),
        ],
    )
    def test_no_gain_or_forgetting_is_not(self, after: dict[str, Any], fault: str) -> None:
        (found,) = compare(rows(), after).faults
        assert fault in found

    def test_other_noise_counts_only_where_it_is_given(self) -> None:
        pair = [{"room": measured["room"]} for measured in (rows(), rows(own=6.0))]
        assert compare(*pair).better
