"""Streams keep their place in time through every change of rate."""

import numpy as np
import pytest

from edgesep.audio.resample import Resampler
from edgesep.contract import RATE_HZ
from tests.sound import RATES_HZ, best_shift, chirp, snr_db

OTHER_RATES = [rate for rate in RATES_HZ if rate != RATE_HZ]


def push_all(resampler, samples, block, frames):
    """Push `samples` in blocks, then silence until `frames` frames are out."""
    out, position = [], 0
    while sum(map(len, out)) < frames:
        piece = samples[position : position + block]
        if not len(piece):
            piece = np.zeros((block, samples.shape[1]), np.float32)
        out.append(resampler.push(piece))
        position += block
    return np.concatenate(out)[:frames]


@pytest.mark.parametrize("rate_hz", OTHER_RATES)
def test_an_impulse_stays_where_it_is_there_and_back(rate_hz):
    samples = np.zeros((rate_hz, 1), np.float32)
    samples[rate_hz // 2] = 0.5
    inside = push_all(Resampler(rate_hz, RATE_HZ, 1), samples, rate_hz // 100, RATE_HZ)
    back = push_all(Resampler(RATE_HZ, rate_hz, 1), inside, 160, rate_hz)
    assert np.argmax(np.abs(inside)) == round(rate_hz // 2 * RATE_HZ / rate_hz)
    assert np.argmax(np.abs(back)) == rate_hz // 2


@pytest.mark.parametrize("rate_hz", OTHER_RATES)
def test_a_chirp_comes_back_aligned_and_unchanged(rate_hz):
    samples = chirp(rate_hz, 1.0, channels=2).astype(np.float32)
    inside = push_all(Resampler(rate_hz, RATE_HZ, 2), samples, 1000, RATE_HZ)
    back = push_all(Resampler(RATE_HZ, rate_hz, 2), inside, 1000, rate_hz)
    edge = rate_hz // 20
    for channel in range(2):
        assert best_shift(samples[:, channel], back[:, channel]) == 0
        assert snr_db(samples[edge:-edge, channel], back[edge:-edge, channel]) > 80


def test_block_sizes_do_not_matter():
    samples = chirp(44100, 0.5).astype(np.float32)
    long = push_all(Resampler(44100, RATE_HZ, 1), samples, 22050, 7000)
    short = push_all(Resampler(44100, RATE_HZ, 1), samples, 97, 7000)
    np.testing.assert_array_equal(long, short)


def test_equal_rates_pass_through():
    samples = chirp(RATE_HZ, 0.1).astype(np.float32)
    assert Resampler(RATE_HZ, RATE_HZ, 1).push(samples) is samples
