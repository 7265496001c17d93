"""Keep the last minutes of what went in and came out, as WAV files, for debugging."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgesep.errors import AudioFileError

if TYPE_CHECKING:
    from edgesep.audio.live_session import Ends

__all__ = ["Recorder"]

PIECE_S = 60.0
PIECES = 10
WAITING_BLOCKS = 2000  # some 16 s: a slow card loses blocks, the sound goes on


class Recorder:
    """Writes pairs in-*.wav and out-*.wav of a minute each and keeps the newest ten.

    Only files that it has written itself are removed. `push` never waits for the disk: what does
    not fit into its queue is counted in `lost_blocks`.
    """

    def __init__(self, folder: Path, piece_s: float = PIECE_S, pieces: int = PIECES) -> None:
        self._folder, self._piece_s, self._pieces = folder, piece_s, pieces
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioFileError(f"{folder}: cannot be made ({error.strerror})") from error
        self._queue: queue.SimpleQueue[tuple[NDArray[np.int16], ...] | Ends | None]
        self._queue = queue.SimpleQueue()
        self._written: list[tuple[Path, Path]] = []
        self._open: tuple[soundfile.SoundFile, soundfile.SoundFile] | None = None
        self._ends: Ends | None = None
        self._frames = 0
        self.lost_blocks = 0
        """Blocks that the disk was too slow for."""
        self.error = ""
        """Why recording has ended early, if it has."""
        self._thread = threading.Thread(target=self._write, name="edgesep recorder", daemon=True)
        self._thread.start()

    def begin(self, ends: Ends) -> None:
        """Start a new pair of files for these devices."""
        self._queue.put(ends)

    def push(self, block_in: NDArray[np.int16], block_out: NDArray[np.int16]) -> None:
        """Take int16 (n, channels) of either side; returns at once."""
        if self._queue.qsize() > WAITING_BLOCKS:
            self.lost_blocks += 1
            return
        self._queue.put((block_in.copy(), block_out.copy()))

    def close(self) -> None:
        """Write what is left."""
        self._queue.put(None)
        self._thread.join(2.0)

    def _write(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, tuple):
                    self._add(*item)
                else:
                    self._finish()
                    self._ends = item
        except (OSError, soundfile.SoundFileError) as error:
            self.error = f"{self._folder}: recording has ended: {error}"
        self._finish()

    def _add(self, block_in: NDArray[np.int16], block_out: NDArray[np.int16]) -> None:
        ends = self._ends
        if ends is None or self.error:
            return
        if self._open is None:
            self._start(ends)
        assert self._open is not None
        self._open[0].write(block_in)
        self._open[1].write(block_out)
        self._frames += len(block_in)
        if self._frames >= self._piece_s * ends.in_rate_hz:
            self._finish()

    def _start(self, ends: Ends) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S") + f"-{time.monotonic_ns() // 1_000_000 % 1000:03d}"
        pair = self._folder / f"in-{stamp}.wav", self._folder / f"out-{stamp}.wav"
        shapes = (ends.in_rate_hz, ends.in_channels), (ends.out_rate_hz, ends.out_channels)
        files = [
            soundfile.SoundFile(path, "w", rate_hz, channels, "PCM_16")
            for path, (rate_hz, channels) in zip(pair, shapes, strict=True)
        ]
        self._open, self._frames = (files[0], files[1]), 0
        self._written.append(pair)
        while len(self._written) > self._pieces:
            for path in self._written.pop(0):
                path.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._open is not None:
            for file in self._open:
                file.close()
            self._open = None
