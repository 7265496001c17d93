"""Keeps the processor cores awake, so that sound does not wait for a virtual machine's host.

A virtual core that sleeps is given back to the host, and on a busy one it takes up to 40 ms until
it runs again: no priority inside the machine helps. A loop of idle priority never sleeps, and gives
way to everything else at once.
"""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


class Awake:
    """Loops of idle priority, one for each core; they end with `close`, or with this process."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-c", PROGRAM, str(os.getpid())]
        self._loops = [
            subprocess.Popen(["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL)
            for core in sorted(os.sched_getaffinity(0))
        ]

    def close(self) -> None:
        """End them."""
        for loop in self._loops:
            loop.kill()
        for loop in self._loops:
            loop.wait(10)
