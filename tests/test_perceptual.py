"""The training loss's loudness and envelope terms: they order sounds as PESQ and ESTOI do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.signals import speech_like

pytest.importorskip("keras", reason="keras is not installed: pip install 'edgesep[export]'")

RATE_HZ, SECONDS = 16000, 3


def speech(seed: int = 0) -> np.ndarray:
    """Words of 0.45 s with pauses of 0.15 s, float (samples,), RMS about 1."""
    sound = speech_like(SECONDS * RATE_HZ, seed=seed) / 3000.0
    spoken = np.arange(len(sound)) % (RATE_HZ * 3 // 5) >= RATE_HZ * 3 // 20
    return np.where(spoken, sound, 0.0)


def noise(seed: int = 0, tilt: float = 0.7) -> np.ndarray:
    """Noise of RMS 1 that falls with frequency."""
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(SECONDS * RATE_HZ))
    shaped = np.fft.irfft(white / np.arange(1, len(white) + 1) ** tilt)
    return shaped / np.sqrt(np.mean(shaped**2))


def power(sound: np.ndarray) -> np.ndarray:
    """Return (1, frames, 257) spectra of 512 samples, 256 apart."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::256]
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(513)[:512])))[None].astype(np.float32)


def disturbance(clean: np.ndarray, heard: np.ndarray) -> float:
    from export.perceptual import loudness_disturbance

    return float(loudness_disturbance(power(clean), power(heard))[0])


def decorrelation(clean: np.ndarray, heard: np.ndarray) -> float:
    from export.perceptual import envelope_decorrelation

    return float(envelope_decorrelation(power(clean), power(heard))[0])


def degraded() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield speech beside itself with noise, and with noise half removed as a mask would."""
    for seed, snr_db in enumerate(range(-6, 24, 3)):
        clean = speech(seed)
        heard = clean + noise(seed, tilt=0.1 * seed) * 10.0 ** (-snr_db / 20.0)
        yield clean, heard
        yield clean, 0.6 * clean + 0.4 * heard


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))


def test_equal_sounds_cost_nothing() -> None:
    assert disturbance(speech(), speech()) < 5e-3
    assert decorrelation(speech(), speech()) < 2e-3


def test_disturbance_orders_sounds_as_pesq_does() -> None:
    pesq = pytest.importorskip("pesq", reason="scoring needs pesq")
    pairs = list(degraded())
    ours = [-disturbance(*pair) for pair in pairs]
    theirs = [pesq.pesq(RATE_HZ, *pair, "wb") for pair in pairs]
    assert np.corrcoef(ranks(ours), ranks(theirs))[0, 1] > 0.9


def test_decorrelation_orders_sounds_as_estoi_does() -> None:
    pystoi = pytest.importorskip("pystoi", reason="scoring needs pystoi")
    pairs = list(degraded())
    ours = np.array([1.0 - decorrelation(*pair) for pair in pairs])
    theirs = np.array([pystoi.stoi(*pair, RATE_HZ, extended=True) for pair in pairs])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.abs(ours - theirs).mean() < 0.1


def test_what_is_added_counts_more_than_what_is_missing() -> None:
    clean = speech()
    bands = np.fft.rfft(clean)
    bands[6000:12000] *= 0.1  # 2 to 4 kHz
    missing = np.fft.irfft(bands)
    added = clean + (clean - missing)[::-1]
    assert disturbance(clean, added) > 1.3 * disturbance(clean, missing)


def test_a_level_is_no_disturbance() -> None:
    clean = speech()
    heard = clean + 0.3 * noise()
    assert disturbance(clean, 0.7 * clean) < 0.2 * disturbance(clean, heard)
    assert decorrelation(clean, 0.7 * clean) < 2e-3


@pytest.mark.parametrize("heard", ["silence", "same", "faint"])
def test_slopes_are_finite_where_sounds_are_silent_or_equal(heard: str) -> None:
    import keras

    if keras.backend.backend() != "jax":
        pytest.skip(f"slopes are taken with jax, Keras runs on {keras.backend.backend()}")
    import jax

    from export.perceptual import envelope_decorrelation, loudness_disturbance

    clean = power(speech())
    estimate = {"silence": 0.0 * clean, "same": clean, "faint": 1e-9 * clean}[heard]

    def both(x: np.ndarray) -> object:
        return loudness_disturbance(clean, x)[0] + envelope_decorrelation(clean, x)[0]

    assert np.isfinite(np.asarray(jax.grad(both)(estimate))).all()
