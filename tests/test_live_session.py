"""A session of the live loop on devices that are made up: its start, and a backlog."""

import threading
import time

import numpy as np
import pytest

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

    takes_native_callbacks = False

    def __init__(self, at_a_time=1):
        """at_a_time: blocks that it brings and takes without a pause between them."""
        self._at_a_time = at_a_time
        self.ends = {}
        self.burst_s = 0.0
        """Sound that comes all at once with the next block."""
        self._at = 0
        self._ending = threading.Event()
        self._card = threading.Thread(target=self._run, daemon=True)

    def devices(self):
        return [Device(0, "card", "made up", 1, 1, RATE_HZ, ("input", "output"))]

    def open(self, device, kind, rate_hz, channels, frames, callback):
        self.ends[kind] = callback
        if len(self.ends) == 2:
            self._card.start()
        return self

    latency_s = 0.0

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
                self.ends["output"](None, BLOCK, None, 0)
            due = max(due + self._at_a_time * BLOCK / RATE_HZ, time.monotonic() - 0.05)
            time.sleep(max(0.0, due - time.monotonic()))

    def _bring(self, frames):
        moments = (self._at + np.arange(frames)) / RATE_HZ
        self._at += frames
        tone = np.rint(LEVEL * np.sin(2 * np.pi * HZ * moments)).astype(np.int16)
        self.ends["input"](tone.tobytes(), frames, None, 0)


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


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
