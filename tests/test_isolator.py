"""The frame path: hop in, hop out; and whole recordings through the same path."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgesep
from edgesep import Isolator, Settings, isolate
from edgesep.errors import EdgesepError, SamplesError, SettingsError
from tests.helpers import write_random_model

HOP = 128
Samples = NDArray[np.int16]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"), hop=HOP, seed=0)


@pytest.fixture(scope="module")
def sound() -> Samples:
    """Half a second of noise whose level and colour change, int16 (8000,)."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 8000)
    noise[1:] += 0.9 * noise[:-1]
    level = 3000 * (1 + np.sin(np.arange(8000) / 700))
    level[2000:2600] = 0
    clipped: Samples = np.clip(noise * level, -32768, 32767).astype(np.int16)
    return clipped


def stream(isolator: Isolator, sound: Samples) -> Samples:
    """Run whole hops of (n,) or (channels, n) through `process`."""
    count = sound.shape[-1] // isolator.hop_samples
    hops = np.split(sound[..., : count * isolator.hop_samples], count, axis=-1)
    return np.concatenate([isolator.process(hop) for hop in hops], axis=-1)


def delayed(sound: Samples, isolator: Isolator) -> NDArray[Any]:
    shape = (*sound.shape[:-1], isolator.delay_samples)
    both = np.concatenate([np.zeros(shape, np.int64), sound], axis=-1)
    return both[..., : sound.shape[-1] // isolator.hop_samples * isolator.hop_samples]


@pytest.mark.parametrize("engine", ["fast", "exact"])
def test_stream_and_reset(engine: str, model: Path, sound: Samples) -> None:
    isolator = Isolator(model, Settings(engine=engine))
    first = stream(isolator, sound)
    assert first.dtype == np.int16
    assert np.any(first != delayed(sound, isolator))
    isolator.reset()
    np.testing.assert_array_equal(stream(isolator, sound), first)
    np.testing.assert_array_equal(stream(Isolator(model, Settings(engine=engine)), sound), first)


@pytest.mark.parametrize(
    ("hop", "latency_ms", "latency", "delay"),
    [(128, None, 256, 128), (128, 16, 256, 128), (128, 12.0, 192, 64), (128, 10, 160, 32),
     (64, None, 128, 64), (64, 6, 96, 32), (32, 4, 64, 32)],
)  # fmt: skip
def test_latency_is_a_setting_and_a_number(
    hop: int, latency_ms: float | None, latency: int, delay: int, tmp_path: Path, sound: Samples
) -> None:
    settings = Settings(latency_ms=latency_ms, wet=0.0)
    isolator = Isolator(write_random_model(tmp_path, hop=hop), settings)
    assert isolator.rate_hz == 16000
    assert isolator.hop_samples == hop
    assert isolator.latency_samples == latency
    assert isolator.delay_samples == delay
    out = stream(isolator, sound)
    assert np.abs(out - delayed(sound, isolator)).max() <= 1


def test_latencies_the_model_cannot_have_are_refused(model: Path) -> None:
    with pytest.raises(SettingsError, match="latency_ms is 8: this model runs at 10, 12, 16"):
        Isolator(model, Settings(latency_ms=8))


def test_silence_stays_silence(model: Path) -> None:
    assert not stream(Isolator(model), np.zeros(4000, np.int16)).any()


def test_nothing_is_removed_with_full_dry_or_no_attenuation(model: Path, sound: Samples) -> None:
    for settings in (Settings(wet=0.0), Settings(max_attenuation_db=0.0)):
        isolator = Isolator(model, settings)
        assert np.abs(stream(isolator, sound) - delayed(sound, isolator)).max() <= 1


def test_speech_and_background_add_up(model: Path, sound: Samples) -> None:
    isolator = Isolator(model, Settings(max_attenuation_db=100.0, engine="exact"))
    speech = stream(isolator, sound)
    settings = Settings(max_attenuation_db=100.0, engine="exact", output="background")
    background = stream(Isolator(model, settings), sound)
    assert np.any(background)
    total = speech.astype(int) + background
    assert np.abs(total - delayed(sound, isolator)).max() <= 2


def test_settings_change_gains_and_nothing_else(model: Path, sound: Samples) -> None:
    dry, changing = Settings(wet=0.0), Isolator(model, Settings())
    plain = stream(Isolator(model, Settings()), sound)
    out = []
    for i, hop in enumerate(np.split(sound[: 60 * HOP], 60)):
        changing.set_settings(dry if 20 <= i < 40 else Settings())
        out.append(changing.process(hop))
    whole = np.concatenate(out)
    np.testing.assert_array_equal(whole[: 20 * HOP], plain[: 20 * HOP])
    # One fade after the way back, all is as if the settings had never changed: the state is.
    np.testing.assert_array_equal(whole[41 * HOP :], plain[41 * HOP : 60 * HOP])
    middle = slice(21 * HOP, 40 * HOP)
    assert np.abs(whole[middle] - delayed(sound, changing)[middle]).max() <= 1


def test_settings_that_need_another_isolator_are_refused(model: Path) -> None:
    isolator = Isolator(model)
    with pytest.raises(SettingsError, match="engine cannot change from 'auto' to 'exact'"):
        isolator.set_settings(Settings(engine="exact"))
    with pytest.raises(SettingsError, match="latency_ms cannot change"):
        isolator.set_settings(Settings(latency_ms=12))
    assert isolator.settings == Settings()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_attenuation_db": -1}, "max_attenuation_db is -1: it must lie from 0 to 100"),
        ({"max_attenuation_db": "40"}, "max_attenuation_db is '40': give a number"),
        ({"wet": 1.01}, "wet is 1.01"),
        ({"wet": float("nan")}, "wet is nan"),
        ({"wet": True}, "wet is True"),
        ({"output": "speach"}, "did you mean 'speech'"),
        ({"engine": "fats"}, "did you mean 'fast'"),
        ({"latency_ms": -3}, "latency_ms is -3"),
    ],
)
def test_bad_settings_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**fields)


@pytest.mark.parametrize(
    "hop",
    [
        np.zeros(HOP - 1, np.int16),
        np.zeros(HOP + 1, np.int16),
        np.zeros(0, np.int16),
        np.zeros((1, HOP), np.int16),
        np.zeros((HOP, 2), np.int16),
        np.zeros(HOP, np.float32),
        np.zeros(HOP, np.int32),
        [0] * HOP,
        None,
    ],
)
def test_process_takes_exactly_one_hop(model: Path, hop: Any) -> None:
    with pytest.raises(SamplesError, match=rf"exactly one hop, int16 \({HOP},\)"):
        Isolator(model).process(hop)


def test_hops_may_be_views_and_are_not_written_to(model: Path, sound: Samples) -> None:
    stereo = np.stack([sound, sound[::-1]])
    interleaved = np.ascontiguousarray(stereo.T)
    kept = interleaved.copy()
    a = stream(Isolator(model, channels=2), stereo)
    b = stream(Isolator(model, channels=2), interleaved.T)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(interleaved, kept)


def test_outputs_are_fresh_arrays(model: Path, sound: Samples) -> None:
    isolator = Isolator(model)
    first = isolator.process(sound[:HOP])
    kept = first.copy()
    isolator.process(sound[HOP : 2 * HOP])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("channels", [0, 65, -1, 1.0, True])
def test_channel_counts_out_of_range_are_refused(model: Path, channels: Any) -> None:
    with pytest.raises(SettingsError, match="channels is"):
        Isolator(model, channels=channels)


# --- stereo --------------------------------------------------------------------------------------


def test_equal_channels_equal_mono(model: Path, sound: Samples) -> None:
    mono = stream(Isolator(model), sound)
    both = stream(Isolator(model, channels=2), np.stack([sound, sound]))
    np.testing.assert_array_equal(both[0], mono)
    np.testing.assert_array_equal(both[1], mono)


def test_level_difference_between_the_ears_survives(model: Path, sound: Samples) -> None:
    quiet = sound // 2
    out = stream(Isolator(model, channels=2), np.stack([quiet * 2, quiet]))
    assert np.abs(out[0] - 2 * out[1].astype(int)).max() <= 3
    assert np.any(np.abs(out[0]) > 1000)


def test_time_difference_between_the_ears_survives(model: Path) -> None:
    rng = np.random.default_rng(1)
    left = (rng.normal(0, 3000, 32000)).astype(np.int16)
    lag = 9  # samples, .56 ms: a source at the side
    right = np.concatenate([np.zeros(lag, np.int16), left[:-lag]])
    out = stream(Isolator(model, channels=2), np.stack([left, right])).astype(float)
    spectrum = np.fft.rfft(out[1], 65536) * np.conj(np.fft.rfft(out[0], 65536))
    assert np.argmax(np.fft.irfft(spectrum)) == lag
    level_db = 10 * np.log10(np.mean(out[1] ** 2) / np.mean(out[0] ** 2))
    assert abs(level_db) < 0.1


def test_a_silent_channel_stays_silent(model: Path, sound: Samples) -> None:
    out = stream(Isolator(model, channels=2), np.stack([sound, np.zeros_like(sound)]))
    assert out[0].any()
    assert not out[1].any()


# --- whole recordings ----------------------------------------------------------------------------


def test_offline_equals_streaming(model: Path, sound: Samples) -> None:
    isolator = Isolator(model)
    padded = np.concatenate([sound, np.zeros(2 * HOP, np.int16)])
    aligned = stream(isolator, padded)[isolator.delay_samples :][: len(sound)]
    np.testing.assert_array_equal(isolate(sound, 16000, model), aligned)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_take_the_same_path(model: Path, sound: Samples, dtype: Any) -> None:
    whole = isolate(sound, 16000, model)
    floats = isolate(sound.astype(dtype) / 32768, 16000, model)
    assert floats.dtype == dtype
    np.testing.assert_array_equal(floats * 32768, whole)


def test_channels_keep_their_shape(model: Path, sound: Samples) -> None:
    mono = isolate(sound, 16000, model)
    for channels in (1, 2, 5):
        out = isolate(np.repeat(sound[:, None], channels, axis=1), 16000, model)
        np.testing.assert_array_equal(out, np.repeat(mono[:, None], channels, axis=1))


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_any_rate_comes_back_aligned(model: Path, rate_hz: int, dtype: Any) -> None:
    n = rate_hz // 2 + 7
    t = np.arange(n) / rate_hz
    tone = 0.4 * np.sin(2 * np.pi * (300 + 900 * t) * t)
    samples = (tone * 32767).astype(np.int16) if dtype == np.int16 else tone.astype(dtype)
    out = isolate(samples, rate_hz, model, Settings(wet=0.0))
    assert out.dtype == dtype
    assert out.shape == samples.shape
    inner = slice(n // 10, -n // 10)
    error = (out.astype(float) - samples)[inner]
    snr_db = 10 * np.log10(np.sum(samples[inner].astype(float) ** 2) / (np.sum(error**2) + 1e-20))
    assert snr_db > 60


@pytest.mark.parametrize("n", [1, 2, 31, HOP - 1, HOP, HOP + 1])
def test_recordings_shorter_than_a_hop_work(model: Path, n: int) -> None:
    samples = np.arange(1, n + 1, dtype=np.int16) * 100
    assert isolate(samples, 16000, model).shape == (n,)
    dry = isolate(samples, 16000, model, Settings(wet=0.0))
    assert np.abs(dry.astype(int) - samples).max() <= 1
    assert isolate(samples, 48000, model).shape == (n,)


@pytest.mark.parametrize("peak", [1.5, 40.0, 32768.0, 1e30])
def test_floats_beyond_full_scale_do_not_clip(model: Path, sound: Samples, peak: float) -> None:
    samples = (sound / np.abs(sound.astype(int)).max() * peak).astype(np.float32)
    out = isolate(samples, 16000, model, Settings(wet=0.0))
    assert out.dtype == np.float32
    assert np.abs(out.astype(float) - samples).max() <= peak / 8000


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.array([0.0, np.nan, 0.1]), 16000, "NaN or infinity, first at 1"),
        (np.array([[0.0, 0.0], [0.0, np.inf]], np.float32), 16000, "first at 1"),
        (np.zeros(0, np.int16), 16000, "nothing to isolate"),
        (np.zeros((0, 2), np.int16), 16000, "nothing to isolate"),
        (np.zeros((2, 3, 4), np.int16), 16000, r"shape \(2, 3, 4\)"),
        (np.int16(3), 16000, "give a NumPy array"),
        (np.zeros((2, 16000), np.int16), 16000, r"not \(channels, n\)"),
        (np.zeros(100, np.int32), 16000, "samples are int32"),
        (np.zeros(100, np.complex64), 16000, "samples are complex64"),
        ([0.0] * 100, 16000, "samples is a list"),
        (np.zeros(100), 7999, "rate_hz is 7999"),
        (np.zeros(100), 192001, "rate_hz is 192001"),
        (np.zeros(100), 44100.5, "rate_hz is 44100.5"),
        (np.zeros(100), "16000", "rate_hz is '16000'"),
    ],
)
def test_bad_recordings_are_named(model: Path, samples: Any, rate_hz: Any, message: str) -> None:
    with pytest.raises(SamplesError, match=message):
        isolate(samples, rate_hz, model)


# --- the package ---------------------------------------------------------------------------------


def test_errors_share_a_base_and_stay_on_one_line(model: Path) -> None:
    for call in (
        lambda: Isolator("no-such-model"),
        lambda: Isolator(model, Settings(latency_ms=1)),
        lambda: isolate(np.zeros(0, np.int16), 16000, model),
        lambda: replace(Settings(), wet=2),
    ):
        with pytest.raises(EdgesepError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_import_is_light() -> None:
    script = "import sys, edgesep, edgesep.settings; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


def test_verbs_are_found_and_others_are_not() -> None:
    assert set(edgesep.__all__) <= set(dir(edgesep))
    for name in edgesep.__all__:
        assert getattr(edgesep, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nix'"):
        edgesep.nix  # noqa: B018
