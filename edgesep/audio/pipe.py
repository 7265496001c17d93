"""Raw int16 from one file descriptor to another, hop by hop."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import numpy as np

from edgesep.audio.samples import Samples, to_int16
from edgesep.audio.stream import SeparatedStream
from edgesep.contract import RATE_HZ
from edgesep.errors import AudioFileError

if TYPE_CHECKING:
    from edgesep.isolator import Isolator

__all__ = ["separate_pipe"]

SAMPLE = np.dtype("<i2")


def separate_pipe(isolator: Isolator, rate_hz: int, channels: int, source: int, sink: int) -> int:
    """Isolate raw int16 little-endian, channels interleaved, until `source` ends.

    source, sink: file descriptors. Each hop is written as soon as it is done. Sample k out
    belongs to sample k in: what the isolator needs to look ahead is held back at the start and
    pushed out with silence at the end, so the output is as long as the input.
    Returns the bytes of a last, incomplete frame (all channels of one moment), which are dropped.
    Raises BrokenPipeError when the reader has gone, AudioFileError for any other failure.
    """
    stream = SeparatedStream(isolator, rate_hz, channels)
    frame_bytes = channels * SAMPLE.itemsize
    hop_frames = max(1, isolator.hop_samples * rate_hz // RATE_HZ)
    ended = False
    while not ended:
        raw = _read_up_to(source, hop_frames * frame_bytes)
        ended = len(raw) < hop_frames * frame_bytes
        odd_bytes = len(raw) % frame_bytes
        samples = np.frombuffer(raw[: len(raw) - odd_bytes], SAMPLE).reshape(-1, channels)
        _write(sink, stream.push(samples.astype(np.int16)))
    _write(sink, stream.finish())
    return odd_bytes


def _read_up_to(source: int, size: int) -> bytes:
    """Read `size` bytes, or what there is before the end."""
    parts: list[bytes] = []
    while size > 0:
        try:
            part = os.read(source, size)
        except BlockingIOError:  # somebody else made the pipe non-blocking
            select.select([source], [], [])
            continue
        except OSError as error:
            raise AudioFileError(f"standard input: cannot be read ({error.strerror})") from error
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(sink: int, block: Samples) -> None:
    raw = memoryview(to_int16(block).astype(SAMPLE).tobytes())
    while raw:
        try:
            raw = raw[os.write(sink, raw) :]
        except BlockingIOError:
            select.select([], [sink], [])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise AudioFileError(
                f"standard output: cannot be written ({error.strerror})"
            ) from error
