"""What a lost block, a hole and another clock cost in the score of live sound."""

import numpy as np
import pytest
import scipy.ndimage

from tests.aligned_sound import aligned
from tests.live_jobs import RATE_HZ, demo_pair, si_sdr_db

SECONDS = 8.0
BLOCK = RATE_HZ * 8 // 1000
LATE = 3000
MOST_DB = {0: 0.01, 300: 0.15}  # by ppm between the clocks; the delay is measured in places


@pytest.fixture(scope="module")
def pair():
    """Return clean speech, and with a little noise as from a model, both (n,)."""
    noisy, clean = demo_pair(SECONDS)
    return clean, clean + 0.3 * (noisy - clean)


def played(sound, ppm=0):
    """Return it as heard: later, quieter, by another clock."""
    places = np.arange(round(len(sound) * (1 + ppm * 1e-6))) / (1 + ppm * 1e-6)
    moved = scipy.ndimage.map_coordinates(sound, [places], order=5, mode="nearest")
    return 0.8 * np.concatenate((np.zeros(LATE), moved, np.zeros(RATE_HZ)))


def cost_db(pair, heard):
    clean, sound = pair
    moved, _ = aligned(sound, heard)
    keep = slice(RATE_HZ // 4, -RATE_HZ // 4)
    return si_sdr_db(clean[keep], sound[keep]) - si_sdr_db(clean[keep], moved[keep])


@pytest.mark.parametrize("ppm", MOST_DB)
def test_another_clock_costs_nothing(pair, ppm):
    assert abs(cost_db(pair, played(pair[1], ppm))) < MOST_DB[ppm]


@pytest.mark.slow
@pytest.mark.parametrize(("ppm", "beyond_db"), [(0, 0.3), (300, 0.8)])
def test_a_lost_block_costs_what_is_lost(pair, ppm, beyond_db):
    """Of 8 s, 8 ms are missing, with other sound in their place: twice what silence there costs.

    beyond_db: since delays between two clocks are measured to half a sample. An even move between
    the places around it costs 6 to 11 dB at these.
    """
    whole, heard = pair[1], played(pair[1], ppm)
    for second in (1.05, 4.37, 6.03):
        at = round(second * RATE_HZ)
        cut = LATE + round(at * (1 + ppm * 1e-6))
        without = whole.copy()
        without[at : at + BLOCK] = 0
        keep = slice(RATE_HZ // 4, -RATE_HZ // 4)
        silent_db = si_sdr_db(pair[0][keep], whole[keep]) - si_sdr_db(pair[0][keep], without[keep])
        lost_db = cost_db(pair, np.concatenate((heard[:cut], heard[cut + BLOCK :])))
        print(f"{ppm} ppm, at {second} s: {lost_db:.3f} dB, {silent_db:.3f} dB as silence")
        assert lost_db < 2.5 * silent_db + beyond_db


def test_a_hole_costs_what_is_missing(pair):
    """The server puts silence in, and what follows comes later."""
    heard = played(pair[1])
    at = LATE + 4 * RATE_HZ
    assert cost_db(pair, np.concatenate((heard[:at], np.zeros(BLOCK), heard[at:]))) < 0.1


def test_two_losses_close_to_each_other_are_found(pair):
    heard = played(pair[1])
    for second in (3.4, 3.0):
        at = LATE + round(second * RATE_HZ)
        heard = np.concatenate((heard[:at], heard[at + BLOCK :]))
    assert cost_db(pair, heard) < 0.6


@pytest.mark.slow
def test_sound_that_repeats_itself_is_found_from_its_beginning(pair):
    """What jumps and is quieter in the first round makes the later ones more alike."""
    sound = np.tile(pair[1], 4)
    jump = round(0.02 * RATE_HZ)
    cut = LATE + 5 * RATE_HZ
    heard = played(sound, 300)
    heard[:cut] *= 0.6
    _, delays = aligned(sound, np.concatenate((heard[:cut], heard[cut + jump :])))
    assert abs(delays[0] - LATE) < 0.01 * RATE_HZ
    drift = 300e-6 * len(sound)
    assert abs(delays[-1] - (LATE - jump + drift)) < 0.01 * RATE_HZ
