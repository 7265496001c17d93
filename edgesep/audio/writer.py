"""Write a sound file so that it is there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import final

import soundfile

from edgesep.audio.formats import Format
from edgesep.audio.samples import Samples
from edgesep.errors import AudioFileError

__all__ = ["AudioWriter", "check_target", "temporary_path"]

NEARLY_FULL_BYTES = 1 << 16


def temporary_path(target: Path, tag: str) -> Path:
    """Return where `target` is written before it is complete: hidden, beside it.

    tag: differs between any two outputs that are written at the same time into one folder.
    """
    return _resolved(target).with_name(f".edgesep-{tag}.part")


def check_target(target: Path, source: Path, force: bool) -> None:
    """Raise AudioFileError unless `target` may be written."""
    if target.is_dir():
        raise AudioFileError(f"{target}: a folder of that name is in the way: give another -o")
    if not target.exists():
        return
    if not target.is_file():
        raise AudioFileError(
            f"{target}: a device or pipe, not a file: for streams use edgesep pipe"
        )
    if force:
        return
    if source.exists() and target.samefile(source):
        raise AudioFileError(
            f"{target}: input and output are the same file: give another -o, or --force to replace"
        )
    raise AudioFileError(f"{target}: exists already: give another -o, or --force to overwrite")


@final
class AudioWriter:
    """A sound file in the making.

    The sound goes to a temporary file beside the target. `commit` gives it the target's name
    once it has proved complete; leaving the `with` block without that removes it, and the folders
    that were made for it. Raises AudioFileError with the path, the reason and what helps.

    target: the file; its folder is made when there is none.
    force: replace a target that exists.
    tag: see `temporary_path`.
    """

    def __init__(self, target: Path, format_: Format, *, force: bool, tag: str) -> None:
        self.target = target
        self._place = _resolved(target)
        self._format = format_
        self._force = force
        self._frames = 0
        self._file: soundfile.SoundFile | None = None
        self._temporary = temporary_path(target, tag)
        self._made_folders = _make_folders(self._place.parent)
        try:
            self._descriptor = _create(self._temporary)
        except OSError as error:
            self._remove_folders()
            raise AudioFileError(
                f"{self.target}: cannot be written ({error.strerror}): "
                "check the folder, its permissions and its mount, or give another -o"
            ) from error
        try:
            self._file = self._open()
        except BaseException:
            self.discard()
            raise

    def write(self, block: Samples) -> None:
        """Append a block, (n, channels): int16, or float32 with 1.0 at full scale."""
        assert self._file is not None, "written after commit"
        try:
            self._file.write(self._format.encode(block))
        except (soundfile.SoundFileError, AssertionError) as error:
            raise self._write_error(error) from error
        self._frames += len(block)

    def finish(self) -> None:
        """Complete the temporary file and read back its header: encoders hide a full disk."""
        assert self._file is not None, "finished twice"
        try:
            file, self._file = self._file, None
            file.close()
            os.fsync(self._descriptor)
            with soundfile.SoundFile(os.fsencode(self._temporary)) as written:
                frames = written.frames
        except (soundfile.SoundFileError, OSError) as error:
            raise self._write_error(error) from error
        if frames != self._frames:
            raise self._write_error(
                RuntimeError(f"{frames} of {self._frames} samples a channel arrived")
            )

    def commit(self) -> None:
        """Give the finished file its name."""
        try:
            _rename(self._temporary, self._place, self._force)
        except FileExistsError as error:
            raise AudioFileError(
                f"{self.target}: appeared meanwhile: give another -o, or --force to overwrite"
            ) from error
        except OSError as error:
            raise self._write_error(error) from error
        self._made_folders = []
        os.close(self._descriptor)
        self._descriptor = -1

    def discard(self) -> None:
        """Remove what has been written, unless it is committed."""
        if self._file is not None:
            with contextlib.suppress(soundfile.SoundFileError):  # the reason is being reported
                self._file.close()
            self._file = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._temporary.unlink(missing_ok=True)
            self._remove_folders()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def _open(self) -> soundfile.SoundFile:
        form = self._format
        try:
            return soundfile.SoundFile(
                self._descriptor, "w", form.rate_hz, form.channels, form.subtype,
                format=form.container, closefd=False,
            )  # fmt: skip
        except (soundfile.SoundFileError, ValueError) as error:
            if _free_bytes(self._place.parent) < NEARLY_FULL_BYTES:
                raise self._write_error(error) from error
            raise AudioFileError(
                f"{self.target}: {form.container}/{form.subtype} cannot hold {form.channels} "
                f"channels at {form.rate_hz} Hz: give -o a name that ends with .wav"
            ) from error

    def _write_error(self, error: Exception) -> AudioFileError:
        folder = self._place.parent
        if _free_bytes(folder) < NEARLY_FULL_BYTES:
            return AudioFileError(f"{self.target}: disk full: make room in {folder}")
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        return AudioFileError(f"{self.target}: cannot be written ({reason}): check {folder}")

    def _remove_folders(self) -> None:
        for folder in self._made_folders:
            with contextlib.suppress(OSError):  # somebody else uses it: stays
                folder.rmdir()
        self._made_folders = []


def _resolved(target: Path) -> Path:
    """Follow symbolic links, so that the file is replaced and not the link to it."""
    return Path(os.path.realpath(target))


def _make_folders(folder: Path) -> list[Path]:
    """Make `folder` and what is missing above it; return what was made, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioFileError(
            f"{folder}: cannot make this folder ({error.strerror}): give another -o"
        ) from error
    return missing


def _create(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def _rename(temporary: Path, target: Path, force: bool) -> None:
    """Rename; without `force` never over a file, not even one that appears this very moment."""
    if force:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network mounts have no hard links: look, then rename
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)
        return
    temporary.unlink()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
