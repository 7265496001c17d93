"""A loudspeaker whose clock is off: a PulseAudio pipe sink and somebody who empties the pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from tests.soundserver import PLAYER_PRIORITY, SoundServer

RATE_HZ, FRAME_BYTES = 48000, 4
PIPE_BYTES = 4096  # 21 ms; the kernel's own 64 KiB would be a third of a second
NAP_S, LATE_FRAMES = 0.005, 4800


class PacedSink:
    """Replaces the null sink "speaker" by one that runs `ppm` faster; use it in a `with`."""

    def __init__(self, server: SoundServer, folder: Path, ppm: float) -> None:
        self._server, self._path = server, folder / "speaker.fifo"
        self._rate_hz = RATE_HZ * (1 + ppm * 1e-6)
        self._ending = threading.Event()
        self.worst_ms = 0.0
        """How late it looked after its pipe, at the most: such a loudspeaker keeps no time."""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> PacedSink:
        self._server.remove_sink("speaker")
        done = self._server.ask(
            "pactl", "load-module", "module-pipe-sink", "sink_name=speaker",
            f"file={self._path}", "format=s16le", f"rate={RATE_HZ}", "channels=2",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self._pipe = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(1.0)
        os.close(self._pipe)

    def _read(self) -> None:
        """Take what a loudspeaker of this clock would have played by now."""
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PLAYER_PRIORITY))
        began, taken = time.monotonic(), 0
        looked = began
        while not self._ending.wait(NAP_S):
            now = time.monotonic()
            self.worst_ms = max(self.worst_ms, 1000 * (now - looked - NAP_S))
            looked = now
            due = int((time.monotonic() - began) * self._rate_hz) - taken
            try:
                got = len(os.read(self._pipe, due * FRAME_BYTES)) // FRAME_BYTES if due > 0 else 0
            except BlockingIOError:
                got = 0
            taken += due if due > LATE_FRAMES else got  # a pause is not made up for
