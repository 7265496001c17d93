"""From the names on a command line to one job per file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesep.audio.reader import AUDIO_SUFFIXES
from edgesep.audio.separate import FileJob
from edgesep.errors import AudioFileError

__all__ = ["Plan", "plan_jobs"]

STEMS = ("speech.wav", "background.wav")


@dataclass(frozen=True)
class Plan:
    """Jobs to run, and inputs that failed before they became one."""

    jobs: tuple[FileJob, ...]
    failures: tuple[tuple[str, AudioFileError], ...]
    """(input as it was given, why)."""


@dataclass(frozen=True)
class _Found:
    source: Path
    place: Path
    """Where it stands below the output folder: its name, or its path below an input folder."""


def plan_jobs(inputs: Sequence[str], output: str, *, stems: bool, force: bool) -> Plan:
    """Find the input files and say where the sound of each goes.

    inputs: files, folders (searched below, by file name), and glob patterns, ** included.
    output: with one file, the file to write (or a folder that exists or ends with a slash);
        with several, with a folder or with stems, the folder to write to, where files keep their
        names, and files from folders their places.
    stems: targets are speech.wav and background.wav: in `output` for one file, in a folder
        named after each file for several.
    Raises AudioFileError when there is nothing to do, or `output` cannot be what it must be.
    """
    into = Path(output)
    found: list[_Found] = []
    failures: list[tuple[str, AudioFileError]] = []
    for name in inputs:
        try:
            found += _find(name, into)
        except AudioFileError as error:
            failures.append((name, error))
    found = list({os.path.realpath(item.source): item for item in found}.values())
    several = len(found) + len(failures) > 1 or any(Path(name).is_dir() for name in inputs)
    as_folder = stems or several or into.is_dir() or output.endswith(("/", os.sep))
    if as_folder and into.exists() and not into.is_dir():
        raise AudioFileError(f"{into}: a file, but a folder is needed here: give another -o")
    if not as_folder and not into.absolute().parent.is_dir():
        raise AudioFileError(f"{into}: there is no folder {into.parent}: make it, or check -o")
    jobs: list[FileJob] = []
    owners: dict[str, Path] = {os.path.realpath(item.source): item.source for item in found}
    for item in found:
        targets = _targets(item, into, as_folder=as_folder, several=several, stems=stems)
        try:
            _claim(item.source, targets, owners)
        except AudioFileError as error:
            failures.append((str(item.source), error))
            continue
        jobs.append(FileJob(item.source, targets, stems=stems, force=force))
    return Plan(tuple(jobs), tuple(failures))


def _find(name: str, into: Path) -> list[_Found]:
    path = Path(name)
    if path.is_dir():
        sources = sorted(_search(path, into))
        if not sources:
            raise AudioFileError(f"{path}: no audio files in this folder: check its name")
        return [_Found(source, source.relative_to(path)) for source in sources]
    if not path.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        files = [match for match in matches if not match.is_dir()]
        if not files:
            raise AudioFileError(f"{name}: no file matches this pattern: check it")
        return [_Found(source, Path(source.name)) for source in files]
    return [_Found(path, Path(path.name))]


def _search(folder: Path, into: Path) -> Iterable[Path]:
    """Yield the audio files below `folder`, but neither hidden ones nor earlier output."""
    skipped = os.path.realpath(into)
    for root, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(root, name)) != skipped
        ]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES:
                yield Path(root, name)


def _targets(
    item: _Found, into: Path, *, as_folder: bool, several: bool, stems: bool
) -> tuple[Path, ...]:
    if stems:
        folder = into / item.place.with_suffix("") if several else into
        return tuple(folder / name for name in STEMS)
    return (into / item.place if as_folder else into,)


def _claim(source: Path, targets: Iterable[Path], owners: dict[str, Path]) -> None:
    """Note whose targets these are; refuse another input's file or target."""
    for target in targets:
        key = os.path.realpath(target)
        owner = owners.get(key)
        if owner is not None and owner != source:
            raise AudioFileError(
                f"{source}: its output {target} would replace that of, or the input, {owner}: "
                "give a folder instead of file names, or process them one by one"
            )
    owners.update({os.path.realpath(target): source for target in targets})
