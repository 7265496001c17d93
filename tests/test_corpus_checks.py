"""Files that teach nothing are found, named and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("scipy", reason="making test sound needs SciPy")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

import soxr
from scipy import signal

from edgesep.errors import AudioFileError
from export import checks
from export.checks import read_checked, spectrum_edge_hz
from export.gather import Selection, gather
from tests.signals import speech_like, to_int16

RATE_HZ = 16000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of broadband sound in syllables, peak 0.5."""
    rng = np.random.default_rng(2)
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    sound = rng.standard_normal(len(time)) * (0.02 + np.sin(2 * np.pi * 2 * time) ** 2)
    return 0.5 * sound / np.abs(sound).max()


def fault(path: Path, kind: str = "speech") -> str:
    return read_checked(path, kind).fault


def test_good_sound_is_read_as_it_is(tmp_path: Path, speech: np.ndarray) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech, RATE_HZ)
    reading = read_checked(path, "speech")
    assert reading.fault == ""
    assert np.array_equal(reading.samples, soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000])
def test_other_rates_and_channels_keep_time_and_level(
    tmp_path: Path, speech: np.ndarray, rate_hz: int
) -> None:
    path = tmp_path / "a.flac"
    up = signal.resample_poly(speech, rate_hz // 50, RATE_HZ // 50)
    soundfile.write(path, np.stack([up, up, up], axis=1), rate_hz)
    ours = read_checked(path, "noise").samples / 32768.0
    assert len(ours) == pytest.approx(len(speech), abs=2)
    n = min(len(ours), len(speech))
    low = signal.butter(8, 6000, fs=RATE_HZ, output="sos")
    a, b = (signal.sosfiltfilt(low, x[:n])[400:-400] for x in (ours, speech))
    assert 10 * np.log10(np.sum(b**2) / np.sum((a - b) ** 2)) > 40.0


def test_blocks_leave_no_seam(
    tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech, 44100)
    whole = read_checked(path, "noise").samples
    monkeypatch.setattr(checks, "BLOCK_FRAMES", 1000)
    parts = read_checked(path, "noise").samples
    assert len(parts) == len(whole)
    assert np.abs(parts.astype(int) - whole).max() <= 1


def test_silent_short_unreadable_and_slow_files(tmp_path: Path, speech: np.ndarray) -> None:
    offset = np.full(RATE_HZ, 0.2)  # a direct current is silence, too
    for name, sound, rate_hz in (
        ("silent", 1e-4 * speech, RATE_HZ),
        ("offset", offset, RATE_HZ),
        ("short", speech[:3000], RATE_HZ),
        ("slow", speech, 8000),
    ):
        soundfile.write(tmp_path / f"{name}.wav", sound, rate_hz)
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "nan.wav", np.where(speech > 0.4, np.nan, speech), RATE_HZ, "FLOAT")
    faults = {path.stem: fault(path) for path in tmp_path.iterdir()}
    assert faults == {
        "silent": checks.SILENT,
        "offset": checks.SILENT,
        "short": checks.SHORT,
        "slow": checks.LOW_RATE,
        "broken": checks.UNREADABLE,
        "empty": checks.UNREADABLE,
        "nan": checks.NOT_FINITE,
    }


def test_clipping_is_found_at_the_rails_and_after_turning_down(
    tmp_path: Path, speech: np.ndarray
) -> None:
    loud = np.clip(12.0 * speech, -1.0, 1.0)
    path = tmp_path / "a.wav"
    for sound in (loud, 0.4 * loud):
        soundfile.write(path, sound, RATE_HZ)
        assert fault(path) == checks.CLIPPED
    soundfile.write(path, 2.0 * speech, RATE_HZ)  # touches the rails once
    assert fault(path) == ""
    hum = 0.5 * np.sin(2 * np.pi * 50.0 * np.arange(2 * RATE_HZ) / RATE_HZ)
    soundfile.write(path, hum, RATE_HZ)  # round tops are no plateaus
    assert fault(path, "noise") == ""


@pytest.mark.parametrize("rate_hz", [8000, 11025])
def test_upsampled_speech_is_found_and_dull_noise_is_not(
    tmp_path: Path, speech: np.ndarray, rate_hz: int
) -> None:
    up = soxr.resample(soxr.resample(speech, RATE_HZ, rate_hz), rate_hz, RATE_HZ)
    path = tmp_path / "a.wav"
    soundfile.write(path, up, RATE_HZ)
    assert fault(path, "speech") == checks.UPSAMPLED
    assert fault(path, "noise") == ""
    samples = soundfile.read(path, dtype="int16")[0]
    assert spectrum_edge_hz(samples) == pytest.approx(rate_hz / 2, abs=300)


def test_vowels_alone_are_no_upsampled_speech(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(3 * RATE_HZ, -20.0), RATE_HZ)
    assert fault(path) == ""


def test_duplicates_are_used_once(tmp_path: Path, speech: np.ndarray) -> None:
    corpus, out = tmp_path / "c", tmp_path / "out"
    corpus.mkdir()
    out.mkdir()
    samples = to_int16(32768.0 * speech)
    soundfile.write(corpus / "anna_1.wav", samples, RATE_HZ)
    soundfile.write(corpus / "ben_1.flac", samples, RATE_HZ)
    for name in ("cleo", "dora"):
        samples = samples[::-1] // 2
        soundfile.write(corpus / f"{name}_1.wav", samples, RATE_HZ)
    report = gather(Selection((corpus,), "speech", held_out=0.5), out)
    assert report.reasons == {checks.DUPLICATE: 1} and report.files == 4
    saved = json.loads((out / "speech-report.json").read_text())[0]
    assert saved["skipped"][0]["path"].endswith("ben_1.flac")
    assert saved["skipped"][0]["detail"].endswith("anna_1.wav")
    assert saved["used"] == 3


def test_a_corpus_of_nothing_usable_is_an_error_that_says_why(
    tmp_path: Path, speech: np.ndarray
) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", (i + 1) * 0.2 * speech, 8000)
    soundfile.write(tmp_path / "s.wav", 0 * speech, RATE_HZ)
    with pytest.raises(AudioFileError, match=r"none can be used \(3 rate below 16 kHz, 1 silent"):
        gather(Selection((tmp_path,), "speech"))
