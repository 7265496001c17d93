"""What tests/tone_evidence.py says of clicks and holes that were put in here."""

import numpy as np
import pytest

from tests.tone_evidence import RATE_HZ, examine

HZ, LEVEL, MOST = RATE_HZ / 120.6180339887, 8000, 700
HOLE, AT = 700, 3 * RATE_HZ


@pytest.fixture
def played():
    moments = np.arange(6 * RATE_HZ) / RATE_HZ
    return np.rint(LEVEL * np.sin(2 * np.pi * HZ * moments)).astype(np.int16)


def loop(got):
    """Return what a loop makes of it: later, and at all sorts of levels."""
    late = np.concatenate((np.zeros(2000, np.int16), got))
    knots = np.arange(0, len(late), RATE_HZ // 4)
    gains = np.random.default_rng(0).uniform(0, 1, len(knots))
    gains[-5:] = 1
    gain = np.interp(np.arange(len(late)), knots, gains)
    gain[:9600] *= np.clip((np.arange(9600) - 2000) / 7600, 0, 1)  # faded in
    return np.rint(late * gain).astype(np.int16)


def without(samples, at, *, silence):
    """Return it with a hole: samples that are gone, or silence before those that follow."""
    gap = np.zeros(HOLE if silence else 0, np.int16)
    return np.concatenate((samples[:at], gap, samples[at + (0 if silence else HOLE) :]))


def counts(evidence):
    return [len(places) for places in (evidence.clicks, evidence.player_holes, evidence.holes_in,
                                       evidence.holes_out)]  # fmt: skip


def test_what_is_only_switched_is_no_click(played):
    gave = loop(played[500:])
    evidence = examine(played, played[500:], gave, gave[3000:-3000], HZ, MOST)
    assert counts(evidence) == [0, 0, 0, 0] and evidence.judged.all()
    assert 300 < evidence.largest_jump < MOST


@pytest.mark.parametrize("silence", [False, True])
def test_holes_are_put_where_they_were_made(played, silence):
    holed = without(played, AT, silence=silence)
    gave = loop(played)
    by_player = examine(holed, holed, loop(holed), loop(holed)[3000:], HZ, MOST)
    assert counts(by_player)[0] == 0 and counts(by_player)[1] >= 1 and not by_player.holes
    assert 0.9 < by_player.judged.mean() < 1
    before = examine(played, holed, loop(holed), loop(holed)[3000:], HZ, MOST)
    assert counts(before) == [0, 0, 1, 0]
    after = examine(played, played, gave, without(gave, AT, silence=silence), HZ, MOST)
    assert counts(after) == [0, 0, 0, 1]
    assert after.holes_out[0] == pytest.approx(AT, abs=1000)


def test_a_click_of_the_loop_is_one_whatever_else_happens(played):
    clicked = loop(played)
    clicked[AT : AT + 50] //= -2
    own = examine(played, played, clicked, clicked[3000:], HZ, MOST)
    assert len(own.clicks) >= 1 and abs(own.clicks[0] - AT) < 2
    assert counts(own)[1:] == [0, 0, 0]
    holed = examine(played, played, clicked, without(clicked, 5 * RATE_HZ, silence=True), HZ, MOST)
    assert holed.clicks and len(holed.holes_out) == 1
    at_output = loop(played)
    at_output[AT : AT + 50] //= -2  # in what is heard, but not in what the loop's worker gave
    outlet = examine(played, played, loop(played), at_output, HZ, MOST)
    assert outlet.clicks and not outlet.holes
    too_late = loop(played)
    too_late[AT : AT + 768] = 0
    server = examine(played, played, loop(played), too_late, HZ, MOST)
    assert counts(server) == [0, 0, 0, 1]
