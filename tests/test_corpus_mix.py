"""The mixer's quick ways give what the plain ones would."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from export.corpus import Corpus
from export.gaps import _pauses, gaps
from export.levels import active_rms
from export.mix import Mixer, MixRanges, _periodic, _stretch

RATE_HZ = 16000


def snr_db(truth: np.ndarray, ours: np.ndarray) -> float:
    return float(10.0 * np.log10(np.sum(truth**2) / np.sum((ours - truth) ** 2)))


@pytest.fixture(scope="module")
def mixer() -> Mixer:
    rng = np.random.default_rng(4)
    clips = [rng.integers(-9000, 9000, n).astype(np.int16) for n in (9000, 30000, 16000, 5000)]
    corpus = Corpus.of(clips, ["a_1", "a_2", "b_1", "c_1"])
    return Mixer(corpus, corpus, RATE_HZ, MixRanges())


@pytest.mark.parametrize("speed", [0.66, 0.9, 1.0, 1.13, 1.5])
def test_a_stretched_part_is_the_part_of_the_stretched_whole(speed: float) -> None:
    clip = np.random.default_rng(0).integers(-9000, 9000, 5000).astype(np.int16)
    truth = np.interp(np.arange(int(5000 / speed)) * speed, np.arange(5000), clip)
    for first, count in ((0, 10**6), (700, 900), (len(truth) - 3, 50), (len(truth) + 5, 9)):
        wanted = truth[first : first + count]
        ours = _stretch(clip, speed, first, count)
        assert ours.shape == wanted.shape and ours.dtype == np.float32
        np.testing.assert_allclose(ours, wanted, atol=0.02)  # of an int16 step


def test_a_tone_is_the_sum_of_its_partials() -> None:
    time = np.arange(8000) / RATE_HZ
    partials, rng = np.arange(1, 25), np.random.default_rng(1)
    gains, phases = rng.uniform(0.1, 1.0, 24) / partials, rng.uniform(0.0, 6.0, 24)
    truth = sum(
        g * np.sin(2 * np.pi * 119.3 * k * time + p)
        for k, g, p in zip(partials, gains, phases, strict=True)
    )
    assert snr_db(truth, _periodic(119.3, partials, gains, phases, 8000)) > 60.0


def test_clips_are_drawn_by_weight_as_numpy_draws(mixer: Mixer) -> None:
    ours = [mixer._draw_speech(np.random.default_rng(seed)) for seed in range(200)]
    numpys = [np.random.default_rng(s).choice(4, p=mixer.speech.weights) for s in range(200)]
    assert ours == numpys and set(ours) == {0, 1, 2, 3}


def test_a_level_is_measured_once_and_is_the_clip_s(mixer: Mixer) -> None:
    for _ in range(2):
        level = mixer._level(1) / 32768.0
        assert level == pytest.approx(active_rms(mixer.speech.clip(1)), rel=1e-6)


def test_a_response_passes_through_the_points_drawn(mixer: Mixer) -> None:
    again = np.random.default_rng(0)
    points_db = again.uniform(-9.0, 9.0, 9)
    assert again.random() >= 0.15  # no telephone with this seed
    ours_db = 20.0 * np.log10(mixer._colour(np.random.default_rng(0), 9.0))
    wanted_db = np.interp(mixer._octave, np.arange(9), points_db)
    np.testing.assert_allclose(ours_db, wanted_db, atol=0.01)


def test_examples_repeat_and_do_not_depend_on_earlier_ones(mixer: Mixer) -> None:
    def example(of: Mixer, seed: int) -> np.ndarray:
        return np.stack(of.example(np.random.default_rng(seed)))

    fresh = Mixer(mixer.speech, mixer.noise, RATE_HZ, MixRanges())
    for seed in (5, 6, 7):
        example(mixer, seed + 90)
        ours = example(mixer, seed)
        assert np.array_equal(ours, example(fresh, seed)) and ours.dtype == np.int16


class TestGaps:
    def test_nothing_but_the_gaps_differs(self, mixer: Mixer) -> None:
        always = Mixer(mixer.speech, mixer.noise, RATE_HZ, MixRanges(gaps=1.0))
        never = Mixer(mixer.speech, mixer.noise, RATE_HZ, MixRanges(gaps=0.0))
        silenced = 0
        for seed in range(40):
            pairs = [np.stack(of.example(np.random.default_rng(seed))) for of in (always, never)]
            same = (pairs[0] == pairs[1]).all(axis=0)
            assert not pairs[0][:, ~same].any()
            silenced += not same.all()
        assert silenced > 25  # a gate finds no pause in steady speech

    def test_a_gate_closes_in_pauses_and_never_in_speech(self) -> None:
        target = np.zeros(4 * RATE_HZ, np.int16)
        rng = np.random.default_rng(0)
        target[RATE_HZ : 2 * RATE_HZ] = 5000 * rng.standard_normal(RATE_HZ)
        silent = _pauses(target)
        assert not silent[RATE_HZ - 800 : 2 * RATE_HZ + 800].any()
        assert silent[: RATE_HZ - 1600].all() and silent[2 * RATE_HZ + 1600 :].all()

    def test_every_kind_leaves_sound_and_silence(self) -> None:
        target = np.zeros(2 * RATE_HZ, np.int16)
        target[8000:20000] = 1000
        shares = [gaps(np.random.default_rng(seed), target).mean() for seed in range(200)]
        assert 0.2 < np.mean(shares) < 0.6 and max(shares) < 1.0
        noise_only = [gaps(np.random.default_rng(s), 0 * target).mean() for s in range(200)]
        assert 0.05 < np.mean(noise_only) < 0.4
