"""A session of the live loop on devices that are made up: its start, and a backlog."""

import threading
import time

import numpy as np
import pytest

from edgesep import native
from edgesep.audio import live_session
from edgesep.audio.devices import Device
from edgesep.audio.live_session import Counters, LiveSession
from edgesep.isolator import Isolator
from edgesep.live_settings import LiveSettings
from edgesep.settings import Settings
from tests.tone_evidence import Kept, jumps_above

RATE_HZ, BLOCK = 16000, 256
HZ, LEVEL = 400, 8000
SLOPE = 2 * np.pi * HZ * LEVEL / RATE_HZ


class Devices:
    """Stands in for PortAudio: a card that brings a tone and takes what it is given, on time."""

    def __init__(self, at_a_time=1, latency_s=0.0, native_callbacks=False):
        """at_a_time: blocks that it brings and takes without a pause between them.

        latency_s: of its buffer, which it throws away when it is closed.
        """
        self._at_a_time = at_a_time
        self.latency_s, self.takes_native_callbacks = latency_s, native_callbacks
        self.taken = []
        """Blocks for the loudspeaker, int16 (n,)."""
        self.stalled = False
        """Whether the loudspeaker takes nothing more."""
        self.ends = {}
        self.burst_s = 0.0
        """Sound that comes all at once with the next block."""
        self._at = 0
        self._ending = threading.Event()
        self._card = threading.Thread(target=self._run, daemon=True)

    def devices(self):
        return [Device(0, "card", "made up", 1, 1, RATE_HZ, ("input", "output"))]

    def open(self, device, kind, rate_hz, channels, frames, callback):
        self.ends[kind] = getattr(callback, "owner", callback)
        if len(self.ends) == 2:
            self._card.start()
        return self

    def heard(self):
        """Return what the loudspeaker has played by the time that it is closed."""
        sound = np.concatenate(self.taken)
        return sound[: len(sound) - round(self.latency_s * RATE_HZ)]

    def active(self):
        return True

    def close(self):
        self._ending.set()
        self._card.join(5)

    def _run(self):
        due = time.monotonic()
        while not self._ending.is_set():
            burst, self.burst_s = self.burst_s, 0.0
            for _ in range(self._at_a_time):
                self._bring(BLOCK + round(burst * RATE_HZ))
                if not self.stalled:
                    block, _ = self._call("output", None, BLOCK)
                    self.taken.append(np.frombuffer(block, np.int16))
            due = max(due + self._at_a_time * BLOCK / RATE_HZ, time.monotonic() - 0.05)
            time.sleep(max(0.0, due - time.monotonic()))

    def _bring(self, frames):
        moments = (self._at + np.arange(frames)) / RATE_HZ
        self._at += frames
        tone = np.rint(LEVEL * np.sin(2 * np.pi * HZ * moments)).astype(np.int16)
        self._call("input", tone.tobytes(), frames)

    def _call(self, kind, raw, frames):
        end = self.ends[kind]
        return getattr(end, "callback", end)(raw, frames, None, 0)


@pytest.mark.parametrize("wet", [0.0, 1.0])
def test_what_skips_a_backlog_makes_no_click(live_model, wet):
    """Sound of 0.3 s comes at once, more than may wait: some of it goes, between two fades."""
    card, kept, counters = Devices(), Kept(), Counters()
    live = LiveSettings(block_ms=16.0, fade_ms=5.0, realtime=False, limiter_dbfs=0.0)
    session = LiveSession(card, [Isolator(live_model, Settings(wet=wet))], live, counters, print)
    try:
        wait_until(lambda: session.playing)
        session.recorder = kept.push
        for burst in range(1, 4):
            card.burst_s = 0.3 + 0.0007 * burst  # another phase of the tone every time
            dropped = session.counters().dropped_hops
            wait_until(lambda: session.counters().dropped_hops > dropped)  # noqa: B023
            time.sleep(0.3)
    finally:
        session.stop()
    got, gave = kept.read()
    assert len(jumps_above(got, 1.1 * SLOPE)) > 0, "nothing was left out"
    assert not len(jumps_above(gave, SLOPE + 2 * LEVEL / (0.005 * RATE_HZ)))


def test_devices_that_never_keep_time_are_not_waited_for(live_model, monkeypatch):
    """Forty blocks at once are no pace to begin with, but better than silence for ever."""
    monkeypatch.setattr(live_session, "STEADY_MOST_S", 1.5)
    live = LiveSettings(block_ms=16.0, realtime=False)
    session = LiveSession(Devices(40), [Isolator(live_model)], live, Counters(), print)
    try:
        began = time.monotonic()
        wait_until(lambda: session.playing)
        assert time.monotonic() - began > 1.0
    finally:
        session.stop()


NATIVE = pytest.param(
    True, marks=pytest.mark.skipif(not native.available(), reason="the C core is not built")
)


@pytest.mark.parametrize("native_callbacks", [False, NATIVE])
@pytest.mark.parametrize("fade_ms", [20.0, 1000.0])
def test_the_end_is_heard_as_a_fade(live_model, monkeypatch, native_callbacks, fade_ms):
    """A card whose buffer of 0.5 s is lost when it is closed: only silence may be in it."""
    monkeypatch.setattr(live_session, "DRAIN_S", 10.0)  # on a busy machine; it takes 0.7 s
    card = Devices(latency_s=0.5, native_callbacks=native_callbacks)
    live = LiveSettings(block_ms=16.0, fade_ms=fade_ms, realtime=False, limiter_dbfs=0.0)
    session = LiveSession(card, [Isolator(live_model, Settings(wet=0.0))], live, Counters(), print)
    try:
        wait_until(lambda: session.playing)
        wait_until(lambda: len(card.taken) > 40 and np.abs(card.taken[-40]).max() > 0.3 * LEVEL)
    finally:
        session.stop()
    heard = card.heard()
    sounding = np.flatnonzero(heard)
    assert np.abs(heard).max() > 0.3 * LEVEL
    assert sounding[-1] < len(heard) - 1, "cut before its end"
    assert not len(jumps_above(heard, SLOPE + 2 * LEVEL / (0.004 * RATE_HZ)))
    fade = np.abs(heard[sounding[-1] - round(0.015 * RATE_HZ) : sounding[-1] + 1].astype(int))
    period = RATE_HZ // HZ
    peaks = fade[-(len(fade) // period) * period :].reshape(-1, period).max(axis=1)
    assert peaks[-1] < 0.3 * peaks[0], "no fade"


def test_the_end_does_not_wait_for_a_loudspeaker_that_has_stalled(live_model):
    card = Devices()
    live = LiveSettings(block_ms=16.0, realtime=False)
    session = LiveSession(card, [Isolator(live_model)], live, Counters(), print)
    try:
        wait_until(lambda: session.playing)
        card.stalled = True
    finally:
        began = time.monotonic()
        session.stop()
    assert live_session.DRAIN_S <= time.monotonic() - began < 5.0
    assert live_session.DRAIN_S < 0.8, "an end has a second, with 0.1 s until the signal is seen"


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
