"""Change the rate of a stream without moving it in time."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["RATE_MAX_HZ", "RATE_MIN_HZ", "Resampler"]

RATE_MIN_HZ = 8_000
RATE_MAX_HZ = 192_000


class Resampler:
    """Streaming band-limited rate conversion (libsoxr, linear phase, HQ: 20-bit precision).

    Sample k of the output stream belongs to the time k / out_rate_hz of the input stream: the
    filter's delay is in *when* samples come out of `push` (up to 0.1 s of input later), not in
    the stream. Equal rates pass through untouched.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int, channels: int) -> None:
        self._channels = channels
        # float32 on purpose: soxr dithers int16, and the same file must give the same bytes.
        self._stream = (
            None
            if in_rate_hz == out_rate_hz
            else soxr.ResampleStream(
                in_rate_hz, out_rate_hz, channels, dtype="float32", quality="HQ"
            )
        )

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take float32 (n, channels) and return what is ready, float32 (m, channels), m >= 0.

        To get the end of a stream out, push silence.
        """
        if self._stream is None:
            return block
        ready = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        return np.asarray(ready, dtype=np.float32).reshape(-1, self._channels)
