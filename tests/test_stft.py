"""The transforms: accuracy against float64, and the same bits in C and in NumPy."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgesep import fixed, native, stft
from edgesep.errors import EngineError, SamplesError, SettingsError
from tests import signals

needs_c = pytest.mark.skipif(not native.available(), reason="the C core is not built")
BACKENDS = [pytest.param("c", marks=needs_c), "numpy"]


def values(re: np.ndarray, im: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return (re + 1j * im) * 2.0 ** exponent[:, None]


def level_frames(kind: str, level_dbfs: float) -> np.ndarray:
    """Return frames (n, 512) of a kind, their peak at the level."""
    rng = np.random.default_rng(3)
    peak = 32767 * 10 ** (level_dbfs / 20)
    if kind == "speech":
        return signals.history_frames(signals.speech_like(32000, level_dbfs), 128)[4:]
    if kind == "noise":
        return signals.to_int16(rng.uniform(-peak, peak, (200, 512)))
    frames = np.zeros((512, 512), np.int16)  # impulses at every place
    np.fill_diagonal(frames, np.int16(peak))
    return frames


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("level_dbfs", [0, -20, -40, -60])
@pytest.mark.parametrize("kind", ["speech", "noise", "impulse"])
def test_accuracy_against_float64(kind: str, level_dbfs: float, backend: str) -> None:
    frames = level_frames(kind, level_dbfs)
    re, im, exponent = stft.forward(frames, backend)
    assert signals.snr_db(signals.spectrum(frames), values(re, im, exponent)) >= 148
    samples, out_exponent = stft.inverse(re, im, exponent, backend)
    back = samples * 2.0 ** out_exponent[:, None]
    assert signals.snr_db(frames * signals.analysis_window(), back) >= 144


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_single_frame_is_accurate(backend: str) -> None:
    frames = signals.adversarial_frames(2000)
    frames = frames[frames.any(axis=1)]
    truth, result = signals.spectrum(frames), values(*stft.forward(frames, backend))
    worst = min(signals.snr_db(t, r) for t, r in zip(truth, result, strict=True))
    assert worst >= 140


@pytest.mark.parametrize("backend", BACKENDS)
def test_silence_has_no_spectrum(backend: str) -> None:
    re, im, exponent = stft.forward(np.zeros((2, 512), np.int16), backend)
    assert not re.any() and not im.any() and not exponent.any()
    samples, _ = stft.inverse(re, im, exponent, backend)
    assert not samples.any()


def assert_same_bits(frames: np.ndarray) -> None:
    ours, twin = stft.forward(frames, "c"), stft.forward(frames, "numpy")
    for a, b in zip(ours, twin, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(stft.inverse(*ours, "c"), stft.inverse(*ours, "numpy"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@needs_c
@pytest.mark.parametrize("seed", range(6))
def test_c_and_numpy_agree_on_twelve_thousand_frames(seed: int) -> None:
    assert_same_bits(signals.adversarial_frames(2000, seed))


EXTREMES = st.sampled_from([-32768, -32767, -1, 0, 1, 32766, 32767])
FRAMES = hnp.arrays(
    np.int16,
    st.tuples(st.integers(1, 4), st.just(512)),
    elements=st.one_of(EXTREMES, st.integers(-32768, 32767)),
    fill=EXTREMES,
)


@pytest.mark.slow
@needs_c
@settings(deadline=None, max_examples=150)
@given(FRAMES)
def test_c_and_numpy_agree_on_adversarial_frames(frames: np.ndarray) -> None:
    assert_same_bits(frames)


PARTS = hnp.arrays(
    np.int32,
    (2, 2, 256),
    elements=st.one_of(
        st.sampled_from([-(2**31), 2**31 - 1, -1, 0, 1, 2**30]),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-300, 300),
    ),
    fill=st.sampled_from([-(2**31), -1, 0, 2**31 - 1]),
)


@needs_c
@settings(deadline=None, max_examples=150)
@given(PARTS, st.integers(-4096, 4096))
def test_c_and_numpy_agree_on_any_spectrum(parts: np.ndarray, exponent: int) -> None:
    exponents = np.array([exponent, 0], np.int32)
    arguments = (np.ascontiguousarray(parts[0]), np.ascontiguousarray(parts[1]), exponents)
    for a, b in zip(stft.inverse(*arguments, "c"), stft.inverse(*arguments, "numpy"), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.integers(0, 2**63 - 1))
def test_bit_length(x: int) -> None:
    assert fixed.bit_length(np.array([x], np.int64))[0] == x.bit_length()


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-20, 80))
def test_rounding_shift(x: int, shift: int) -> None:
    exact = (x + (1 << (shift - 1))) >> shift if shift > 0 else x << -shift
    result = int(fixed.rshr(np.array([x], np.int64), np.array([shift]))[0])
    assert result == (0 if shift > 62 else exact)


def test_leading_axes_make_no_difference() -> None:
    frames = signals.adversarial_frames(24)
    flat = stft.analyse_frames(frames)
    boxed = stft.analyse_frames(frames.reshape(2, 3, 4, 512))
    for a, b in zip(flat, boxed, strict=True):
        np.testing.assert_array_equal(a, b.reshape(a.shape))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_batches_are_refused(backend: str) -> None:
    bad: Any
    for bad in (np.zeros(512, np.int16), np.zeros((1, 256), np.int16), np.zeros((1, 512))):
        with pytest.raises(SamplesError, match=r"give int16 \(n, 512\)"):
            stft.forward(bad, backend)
    re, im, exponent = stft.forward(np.ones((2, 512), np.int16), backend)
    with pytest.raises(SamplesError, match="spectra are"):
        stft.inverse(re, im[:1], exponent, backend)
    with pytest.raises(SamplesError, match="give int32"):
        stft.inverse(re.astype(np.int64), im, exponent, backend)
    with pytest.raises(SamplesError, match="exponents go beyond"):
        stft.inverse(re, im, exponent + np.int32(5000), backend)


def test_empty_batches_are_fine() -> None:
    for backend in ("numpy", "auto"):
        parts = stft.forward(np.zeros((0, 512), np.int16), backend)
        assert [p.shape for p in parts] == [(0, 256), (0, 256), (0,)]
        assert stft.inverse(*parts, backend)[0].shape == (0, 512)


def test_backends_are_found_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SettingsError, match="did you mean 'numpy'"):
        native.resolve("nump")
    monkeypatch.setattr(native, "_core", None)
    monkeypatch.setattr(native, "_reason", "no module", raising=False)
    assert native.resolve("numpy") == "numpy"
    with pytest.raises(EngineError, match=r"no module.*install a C compiler"):
        native.resolve("c")
    native._say_once_that_the_twin_runs.cache_clear()
    with caplog.at_level(logging.WARNING, "edgesep"):
        assert [native.resolve("auto") for _ in range(3)] == ["numpy"] * 3
    assert [r.getMessage().count("NumPy twin runs") for r in caplog.records] == [1]
    native._say_once_that_the_twin_runs.cache_clear()
