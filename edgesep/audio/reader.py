"""Read an audio file block by block, in constant memory, and refuse what is damaged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import final

import numpy as np
import soundfile

from edgesep.audio.formats import CONTAINERS, FLOAT_CODED
from edgesep.audio.integrity import describe_missing_end, has_several_ogg_streams
from edgesep.audio.mpeg import count_samples_without_header
from edgesep.audio.resample import RATE_MAX_HZ, RATE_MIN_HZ
from edgesep.audio.samples import Samples
from edgesep.contract import RATE_HZ
from edgesep.errors import AudioFileError

__all__ = ["AUDIO_SUFFIXES", "AudioReader"]

AUDIO_SUFFIXES = frozenset(CONTAINERS)
"""File names that are taken for audio when a folder is searched."""

BLOCK_SAMPLES = 1 << 17  # of all channels together: 0.5 MB of float32
UNKNOWN_LENGTH_FRAMES = 1 << 62  # libsndfile says 2^63 - 1 for a FLAC that went through a pipe
MP3_FRAME_SAMPLES = 1152
# Everything else in libsndfile decodes to 16 bits or fewer, so int16 loses nothing.
WIDE_SUBTYPES = FLOAT_CODED | {
    "PCM_24", "PCM_32", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24", "DWVW_N"
}  # fmt: skip


class _SequentialFile(soundfile.SoundFile):
    """A SoundFile that never seeks.

    soundfile seeks to where it already is after every block, which fails at the end of a FLAC of
    unknown length and makes MP3 decoding start anew.
    """

    def seekable(self) -> bool:
        return False


@final
class AudioReader:
    """An open audio file.

    path: anything libsndfile decodes, 8 to 192 kHz, one channel or more.
    Raises AudioFileError, here and while reading, with the path, what is wrong and what helps.
    """

    path: Path
    rate_hz: int
    channels: int
    frames: int | None
    """Length that the header states; None when it states none."""
    container: str
    """libsndfile's name: "WAV", "FLAC", "OGG" .."""
    subtype: str
    """libsndfile's name: "PCM_16", "FLOAT", "VORBIS" .."""
    over_full_scale: int
    """Samples beyond +-1.0 read so far (float and lossy files); int16 cannot hold them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.over_full_scale = 0
        self._file = _open(path)
        self.rate_hz, self.channels = self._file.samplerate, self._file.channels
        self.container, self.subtype = self._file.format, self._file.subtype
        known = self._file.frames < UNKNOWN_LENGTH_FRAMES
        self.frames = self._file.frames if known else None
        try:
            if self.container == "MP3":
                self._distrust_guessed_length()
            self._check()
        except AudioFileError:
            self.close()
            raise

    def blocks(self) -> Iterator[Samples]:
        """Yield the file once, from its start, in blocks (n, channels).

        int16 where the file has 16 kHz and at most 16 bits, else float32 with 1.0 at full scale.
        """
        narrow = self.rate_hz == RATE_HZ and self.subtype not in WIDE_SUBTYPES
        size = max(1, BLOCK_SAMPLES // self.channels)
        position = 0
        while True:
            block = self._read(size, "int16" if narrow else "float32", position)
            if not narrow:
                self._check_values(block, position)
            position += len(block)
            if not len(block):
                break
            yield block
        if position == 0:
            raise AudioFileError(f"{self.path}: holds no samples: record it again")
        if self.frames is not None and position < self.frames:
            raise self._truncated(
                f"its header promises {self.frames} samples a channel, {position} are there"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        missing = describe_missing_end(self.path)
        if missing:
            raise self._truncated(missing)
        if self.container == "OGG" and has_several_ogg_streams(self.path):
            raise AudioFileError(
                f"{self.path}: several Ogg streams in one file, of which libsndfile would read "
                "only the first: join them first (ffmpeg -i IN OUT.wav)"
            )
        if not RATE_MIN_HZ <= self.rate_hz <= RATE_MAX_HZ:
            raise AudioFileError(
                f"{self.path}: sampled at {self.rate_hz} Hz, supported are {RATE_MIN_HZ} to "
                f"{RATE_MAX_HZ} Hz: convert it first (ffmpeg -i IN -ar 48000 OUT)"
            )
        if self.frames == 0:
            raise AudioFileError(f"{self.path}: holds no samples: record it again")

    def _distrust_guessed_length(self) -> None:
        """Refuse an MP3 whose end libsndfile would drop; forget its guess where it is too long."""
        counted = count_samples_without_header(self.path)
        if counted is None or self.frames is None:
            return
        if self.frames < counted - 2 * MP3_FRAME_SAMPLES:
            raise AudioFileError(
                f"{self.path}: an MP3 that does not state its length, and whose end libsndfile "
                "would therefore drop: convert it first (ffmpeg -i IN OUT.wav)"
            )
        self.frames = None

    def _read(self, frames: int, dtype: str, position: int) -> Samples:
        try:
            block: Samples = self._file.read(frames, dtype=dtype, always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioFileError(
                f"{self.path}: damaged or truncated, at {position / self.rate_hz:.1f} s or soon "
                f"after ({_reason(error)}): copy it again from where it came from"
            ) from error
        return block

    def _check_values(self, block: Samples, position: int) -> None:
        if not len(block):
            return
        low, high = float(block.min()), float(block.max())  # NaN survives both
        if not (np.isfinite(low) and np.isfinite(high)):
            first = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            value = block[first][~np.isfinite(block[first])][0]
            raise AudioFileError(
                f"{self.path}: sample {position + first} is {value}, not a number that can be "
                "played: export the file again"
            )
        if low < -1.0 or high > 1.0:
            self.over_full_scale += int(np.count_nonzero(np.abs(block) > 1.0))

    def _truncated(self, what: str) -> AudioFileError:
        return AudioFileError(
            f"{self.path}: truncated ({what}): copy it again, or keep what there is with "
            "ffmpeg -i IN OUT"
        )


def _open(path: Path) -> soundfile.SoundFile:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioFileError(f"{path}: a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise AudioFileError(f"{path}: not a regular file: for streams use edgesep pipe")
        if status.st_size == 0:
            raise AudioFileError(f"{path}: empty (0 bytes): record or copy it again")
        path.open("rb").close()  # says why not, where libsndfile says "System error"
    except FileNotFoundError as error:
        raise AudioFileError(f"{path}: no such file: check the name") from error
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        return _SequentialFile(os.fsencode(path))
    except (soundfile.SoundFileError, TypeError) as error:
        missing = describe_missing_end(path)
        if missing:
            raise AudioFileError(f"{path}: truncated ({missing}): copy it again") from error
        raise AudioFileError(
            f"{path}: not audio, or damaged ({_reason(error)}): WAV, FLAC, OGG, MP3, AIFF and "
            "what else libsndfile reads is supported; convert others with ffmpeg -i IN OUT.wav"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
