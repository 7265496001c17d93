"""One file through the isolator, in constant memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgesep.audio.formats import Format, output_format
from edgesep.audio.reader import AudioReader
from edgesep.audio.stream import SeparatedStream, StemStream
from edgesep.audio.writer import AudioWriter, check_target
from edgesep.contract import RATE_HZ
from edgesep.errors import AudioFileError, SettingsError

if TYPE_CHECKING:
    from edgesep.isolator import Isolator

__all__ = ["FileJob", "FileResult", "separate_file"]

OpenIsolator = Callable[[int], "Isolator"]
"""Takes the number of channels; may return the same Isolator twice: it is reset for each file."""


@dataclass(frozen=True)
class FileJob:
    """One input and where its sound goes."""

    source: Path
    targets: tuple[Path, ...]
    """(output,), or (speech, background) for stems."""
    stems: bool = False
    force: bool = False
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    """Names the temporary files, so that whoever started the job can remove them."""

    def part_tag(self, index: int) -> str:
        """Return the tag of target number `index`."""
        return f"{self.tag}-{index}"


@dataclass(frozen=True)
class FileResult:
    """What became of a finished job."""

    seconds: float
    """Length of the sound."""
    elapsed_s: float
    """Time it took."""
    over_full_scale: int
    """Input samples beyond +-1.0, which were clipped."""


def separate_file(
    job: FileJob,
    open_isolator: OpenIsolator,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> FileResult:
    """Isolate the speech of one file.

    open_isolator: gives an Isolator for a number of channels.
    on_progress: called after each block with the share that is done, 0 .. 1 (0 if unknown).
    Raises EdgesepError; then, and on any other exception, no target has been touched.
    """
    started = time.perf_counter()
    with AudioReader(job.source) as reader:
        for target in job.targets:
            check_target(target, job.source, job.force)
        isolator = _open_for(reader, open_isolator)
        frames = (_write_stems if job.stems else _write_output)(job, reader, isolator, on_progress)
        elapsed_s = time.perf_counter() - started
        return FileResult(frames / reader.rate_hz, elapsed_s, reader.over_full_scale)


def _open_for(reader: AudioReader, open_isolator: OpenIsolator) -> Isolator:
    try:
        return open_isolator(reader.channels)
    except SettingsError as error:  # more channels than the front end takes
        raise AudioFileError(f"{reader.path}: {error}") from error


def _write_output(
    job: FileJob, reader: AudioReader, isolator: Isolator, on_progress: Callable[[float], None]
) -> int:
    """Write the isolated sound in the input's format; return the input's length in frames."""
    (target,) = job.targets
    form = output_format(
        job.source, reader.container, reader.subtype, reader.rate_hz, reader.channels,
        reader.frames, target,
    )  # fmt: skip
    stream = SeparatedStream(isolator, reader.rate_hz, reader.channels)
    frames = 0
    with AudioWriter(target, form, force=job.force, tag=job.part_tag(0)) as writer:
        for block in reader.blocks():
            writer.write(stream.push(block))
            frames += len(block)
            on_progress(_fraction(frames, reader))
        writer.write(stream.finish())
        writer.finish()
        writer.commit()
    return frames


def _write_stems(
    job: FileJob, reader: AudioReader, isolator: Isolator, on_progress: Callable[[float], None]
) -> int:
    """Write speech and background, 16 kHz int16; return the input's length in frames."""
    form = Format("WAV", "PCM_16", RATE_HZ, reader.channels)
    stream = StemStream(isolator, reader.rate_hz, reader.channels)
    frames = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(AudioWriter(target, form, force=job.force, tag=job.part_tag(index)))
            for index, target in enumerate(job.targets)
        ]
        for block in reader.blocks():
            for writer, stem in zip(writers, stream.push(block), strict=True):
                writer.write(stem)
            frames += len(block)
            on_progress(_fraction(frames, reader))
        for writer, stem in zip(writers, stream.finish(), strict=True):
            writer.write(stem)
            writer.finish()
        for writer in writers:
            writer.commit()
    return frames


def _fraction(frames: int, reader: AudioReader) -> float:
    return frames / reader.frames if reader.frames else 0.0
