"""Folders of any layout -> corpora, checked file by file, whole speakers and noises held out."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edgesep.errors import AudioFileError, EdgesepError, SettingsError

from .checks import DUPLICATE, Reading, Report, read_checked
from .corpus import RATE_HZ, Corpus, owner_weights, read_folder
from .feed import Source
from .files import whole_folder, write_whole
from .layouts import KINDS, Found, Recording, find, held_out
from .pack import PIECE_MIB, PieceWriter, check_pieces, index_arrays, pieces_of, save_index

SPLITS = ("train", "dev")
HELD_OUT = 0.1
FILES_PER_WORKER = 200  # fewer are read before another process has started
VERSION = 1  # of layouts and checks: another one reads folders anew
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Selection:
    """The folders of one kind, "speech" or "noise"; layout: a key of LAYOUTS, None detects it.

    held_out: share of the speakers or noises that only dev hears, where a corpus has no split.
    """

    folders: tuple[Path, ...]
    kind: str
    layout: str | None = None
    held_out: float = HELD_OUT

    def __post_init__(self) -> None:
        if not 0.0 < self.held_out < 1.0:
            raise SettingsError(f"held-out share {self.held_out}: use more than 0, less than 1")
        for folder in self.folders:
            if not folder.is_dir():
                raise AudioFileError(f"{folder}: no such folder; give one that holds audio files")

    @property
    def is_split(self) -> bool:
        """Whether this is one folder with train/ or dev/, which is read into memory as it lies."""
        only = self.folders[0]
        split = any((only / name).is_dir() for name in SPLITS)
        return len(self.folders) == 1 and self.layout is None and split

    @property
    def key(self) -> str:
        """Eight hex digits that differ where something else would be read."""
        if self.is_split:
            parts = str(self.folders[0].resolve())
        else:
            folders = [str(folder.resolve()) for folder in self.folders]
            parts = repr((VERSION, folders, self.kind, self.layout, self.held_out))
        return hashlib.sha256(parts.encode()).hexdigest()[:8]


def prepare_corpora(
    speech: Path | Sequence[Path],
    noise: Path | Sequence[Path],
    cache: Path,
    layouts: Mapping[str, str] | None = None,
    held_out_share: float = HELD_OUT,
) -> dict[str, Source]:
    """Read all folders into `cache` (once) and return the sources "train" and "dev".

    layouts: kind -> key of LAYOUTS, where it is not to be detected. Raises AudioFileError where
    nothing usable is found.
    """
    paths = {}
    for kind, given in (("speech", speech), ("noise", noise)):
        selection = Selection(_folders(given), kind, (layouts or {}).get(kind), held_out_share)
        paths[kind] = _cached(selection, cache)
    return {split: Source(paths["speech"][split], paths["noise"][split]) for split in SPLITS}


def _folders(given: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (given,) if isinstance(given, Path) else tuple(given)


def _cached(selection: Selection, cache: Path) -> dict[str, Path]:
    """Return the corpora of a selection, read where the cache does not have them."""
    kind = selection.kind
    if selection.is_split:
        return {split: _cached_split(selection, split, cache) for split in SPLITS}
    folder = cache / f"{kind}-{selection.key}"
    if folder.exists():
        print(f"{kind} from {folder}: delete it to read {_shown(selection.folders)} again")
    else:
        with whole_folder(folder) as part:
            gather(selection, part)
    return {split: folder / f"{kind}-{split}.npz" for split in SPLITS}


def _cached_split(selection: Selection, split: str, cache: Path) -> Path:
    folder = selection.folders[0]
    path = cache / f"{selection.kind}-{split}-{selection.key}.npz"  # another folder, another file
    if not (folder / split).is_dir():
        print(f"{folder} has no {split}/ subfolder: its whole content serves as {split}")
    if not path.exists():
        read_folder(folder, split).save(path)
    return path


def _shown(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


def pack(
    selections: Sequence[Selection],
    cache: Path,
    out: Path,
    codec: str,
    piece_mib: float = PIECE_MIB,
    workers: int | None = None,
) -> None:
    """Write what training on these folders hears into a new folder `out`, in pieces.

    Raises EdgesepError where `out` holds something already, or lies in a folder to be read.
    """
    for folder in (folder for selection in selections for folder in selection.folders):
        if out.resolve().is_relative_to(folder.resolve()):
            raise EdgesepError(f"{out} lies in {folder}, which is to be read: name another folder")
    try:
        with whole_folder(out) as part:
            for selection in selections:
                if not selection.is_split:
                    gather(selection, part, codec, piece_mib, workers)
                    continue
                for split, path in _cached(selection, cache).items():
                    stem = f"{selection.kind}-{split}"
                    pack_corpus(Corpus.load(path), part, stem, codec, piece_mib)
    except FileExistsError as error:
        raise EdgesepError(str(error)) from error


def pack_corpus(corpus: Corpus, folder: Path, stem: str, codec: str, piece_mib: float) -> None:
    """Write a corpus as pieces and index folder/STEM.npz."""
    writer = PieceWriter(folder, stem, codec, piece_mib)
    writer.write(corpus.samples[0 : len(corpus.samples)])
    lengths = np.diff(corpus.starts)
    save_index(
        folder / f"{stem}.npz", index_arrays(lengths, corpus.weights, corpus.names, writer.close())
    )


def packed_sources(folder: Path) -> dict[str, Source]:
    """Return the sources of a packed folder, after FLAC pieces are unpacked.

    Raises AudioFileError that names every index and piece that is missing or not whole.
    """
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: no such folder; give one that `export pack` wrote")
    paths = {(k, s): folder / f"{k}-{s}.npz" for k in KINDS for s in SPLITS}
    missing = [path.name for path in paths.values() if not path.exists()]
    if missing:
        raise AudioFileError(
            f"{folder}: {', '.join(missing)} missing; `export pack` writes it beside the pieces"
        )
    pieces = []
    for path in paths.values():
        with np.load(path, allow_pickle=False) as index:
            pieces += pieces_of(index)
    check_pieces(folder, pieces)  # all that is missing, in one message
    for path in paths.values():
        Corpus.load(path)
    return {s: Source(paths["speech", s], paths["noise", s]) for s in SPLITS}


# --- reading -------------------------------------------------------------------------------------


@dataclass
class _Split:
    """One split while it is read."""

    writer: PieceWriter | None
    lengths: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)

    def add(self, name: str, owner: str, samples: np.ndarray) -> None:
        self.lengths.append(len(samples))
        self.names.append(name)
        self.owners.append(owner)
        if self.writer:
            self.writer.write(samples)

    def save(self, path: Path) -> None:
        if self.writer:
            weights, pieces = owner_weights(self.owners), self.writer.close()
            save_index(path, index_arrays(self.lengths, weights, self.names, pieces))


def gather(
    selection: Selection,
    out: Path | None = None,
    codec: str = "pcm",
    piece_mib: float = PIECE_MIB,
    workers: int | None = None,
) -> Report:
    """Read and check all folders of a selection; print a line on each; return the report.

    out: folder for the packed corpora and the report; None only checks. workers: reading processes,
    None for as many as there are processors, where there is enough to read.
    Raises AudioFileError with the reasons where no file can be used, or none for train or dev.
    """
    kind = selection.kind
    found = [find(folder, kind, selection.layout) for folder in selection.folders]
    report = Report(kind, sum(len(part.recordings) for part in found))
    for part in found:
        report.left_out += part.left_out
    loose = [item.owner for part in found for item in part.recordings if not item.split]
    kept_out = held_out(loose, selection.held_out)
    splits = {
        split: _Split(PieceWriter(out, f"{kind}-{split}", codec, piece_mib) if out else None)
        for split in SPLITS
    }
    seen: dict[bytes, Path] = {}
    for part in found:
        _gather_folder(part, kept_out, splits, seen, report, workers)
    if loose and not kept_out:
        print(
            f"{_shown(selection.folders)}: {_counted(kind, 1)} cannot be held out: "
            "it serves train and dev, so dev figures count nothing"
        )
    _check_used(selection, report, splits)
    if out:
        for split, content in splits.items():
            content.save(out / f"{kind}-{split}.npz")
        save_report([report], out / f"{kind}-{REPORT_FILE}")
    return report


def _gather_folder(
    found: Found,
    kept_out: set[str],
    splits: Mapping[str, _Split],
    seen: dict[bytes, Path],
    report: Report,
    workers: int | None,
) -> None:
    owners: dict[str, set[str]] = {split: set() for split in SPLITS}
    files = samples = 0
    for item, reading in _read_all(found, workers):
        if not reading.fault:
            reading = _unless_seen(item, reading, seen)
        if reading.fault:
            report.skip(item.path, reading)
            continue
        for split in _splits_of(item, kept_out):
            splits[split].add(f"{found.folder.name}/{item.name}", item.owner, reading.samples)
            owners[split].add(item.owner)
        files, samples = files + 1, samples + len(reading.samples)
    report.used_samples += samples
    both = owners["train"] | owners["dev"]
    kind = found.kind
    print(
        f"{found.folder}: {found.title} layout, {_counted(kind, len(both))}, {files:,} files, "
        f"{samples / RATE_HZ / 3600.0:.1f} h, {_counted(kind, len(owners['dev']))} held out"
    )


def _counted(kind: str, count: int) -> str:
    word = "speaker" if kind == "speech" else "noise"
    return f"{count:,} {word if count == 1 else word + 's'}"


def _splits_of(item: Recording, kept_out: set[str]) -> tuple[str, ...]:
    if item.split:
        return (item.split,)
    if not kept_out:  # one owner alone
        return SPLITS
    return ("dev",) if item.owner in kept_out else ("train",)


def _unless_seen(item: Recording, reading: Reading, seen: dict[bytes, Path]) -> Reading:
    digest = hashlib.blake2b(reading.samples.tobytes(), digest_size=16).digest()
    first = seen.setdefault(digest, item.path)
    return reading if first == item.path else Reading(reading.samples, DUPLICATE, f"of {first}")


def _read_all(found: Found, workers: int | None) -> Iterator[tuple[Recording, Reading]]:
    """Yield every recording with what was read, in order."""
    items = found.recordings
    if workers is None:
        workers = min(os.cpu_count() or 1, len(items) // FILES_PER_WORKER)
    bar = partial(tqdm, total=len(items), desc=f"reading {found.folder}", unit="file", disable=None)
    read = partial(read_checked, kind=found.kind)
    paths = (item.path for item in items)
    if workers < 2:
        yield from zip(items, bar(map(read, paths)), strict=True)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        yield from zip(items, bar(pool.imap(read, paths, chunksize=8)), strict=True)


def _check_used(selection: Selection, report: Report, splits: Mapping[str, _Split]) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.reasons.most_common())
    for split, content in splits.items():
        if not content.lengths:
            every = report.used_samples == 0
            raise AudioFileError(
                f"{_shown(selection.folders)}: {report.files} files of {selection.kind}, "
                f"{'none' if every else f'none held for {split}'} can be used ({reasons})"
                f"{'' if every else '; give another --held-out'}"
            )


def save_report(reports: Iterable[Report], path: Path) -> None:
    """Write what the checks found as JSON, every skipped file with its reason."""
    text = json.dumps([report.as_json() for report in reports], indent=1, ensure_ascii=False)
    write_whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))
