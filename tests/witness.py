"""Says whether the machine was too busy for sound, independently of what is tested."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.soundserver import PLAYER_PRIORITY

NAP_S = 0.002
LATE_MS = 6.0  # half of what waits for the output, or less
LOST_BY_US = ("starvations", "underflows", "overflows", "dropped_hops", "passed_hops")
LOSSES = (*LOST_BY_US, "late_requests")  # after which there may be a gap, or not quite
PROGRAM = f"""
import os, time
try:  # not before: until here it works hard
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param({PLAYER_PRIORITY}))
except OSError:
    pass
print("on", flush=True)
worst, at = 0.0, time.perf_counter()
try:
    while True:
        time.sleep({NAP_S})
        now = time.perf_counter()
        worst, at = max(worst, now - at - {NAP_S}), now
except KeyboardInterrupt:
    print(1000 * worst, flush=True)
"""


class Witness:
    """Naps of two milliseconds on every core, at the priority of the player; use it in a `with`.

    A nap that ends late is the machine's doing: whatever runs at that priority was held up.
    """

    def __enter__(self) -> Witness:
        cores = sorted(os.sched_getaffinity(0))
        self._naps = [
            subprocess.Popen(
                ["taskset", "-c", str(core), sys.executable, "-c", PROGRAM],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            )
            for core in cores
        ]  # fmt: skip
        for nap in self._naps:
            assert nap.stdout is not None
            nap.stdout.readline()
        self.worst_ms = 0.0
        """How late a nap ended, at the most; known after the `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        for nap in self._naps:
            nap.send_signal(2)
        self.worst_ms = max(float(nap.communicate(timeout=10)[0]) for nap in self._naps)

    def expect(self, held: bool, what: str) -> None:
        """Fail with `what` unless it held; skip, and say so, where the machine was busy."""
        if not held and self.worst_ms > LATE_MS:
            pytest.skip(
                f"the machine is too busy for sound: naps of {1000 * NAP_S:g} ms ended up to "
                f"{self.worst_ms:.1f} ms late; {what}"
            )
        assert held, f"{what}; naps ended {self.worst_ms:.1f} ms late at the most"

    def nothing_lost(self, figures: dict, *names: str) -> None:
        """Fail when sound was lost; skip, and say why, where the machine was busy meanwhile."""
        lost = {name: figures[name] for name in names or LOSSES if figures[name]}
        self.expect(not lost, f"lost: {lost}")
