"""How corpora lie on disk: which files are speech or noise, and whose they are.

A recording's owner, its speaker or its noise, is held out whole and sampled as one. Names are made
so that a speaker who is in two corpora has one name: VCTK is part of DNS-Challenge, and LibriSpeech
and DNS-Challenge both number the readers of LibriVox.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from edgesep.errors import AudioFileError, SettingsError, unknown_name

from .corpus import voice_of

KINDS = ("speech", "noise")
SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"}
)
FOREIGN_SUFFIXES = frozenset({".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape", ".wv"})
FEWEST_SPEAKER_FOLDERS = 4  # as many folders of speech or more: taken for one speaker each


@dataclass(frozen=True)
class Recording:
    """A file; split is "train" or "dev" where the corpus says so itself, else ""."""

    path: Path
    name: str
    owner: str
    split: str = ""


@dataclass(frozen=True)
class Found:
    """What a folder holds of one kind; left_out: files of it that are not wanted, by reason."""

    folder: Path
    kind: str
    layout: str
    title: str
    recordings: tuple[Recording, ...]
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Place:
    """Where a file belongs: its owner and split, or why it is left out."""

    owner: str = ""
    split: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Layout:
    """A corpus's way to lie on disk.

    claims: whether these files, named from the given folder's own name on, lie that way.
    place: kind and such a name -> Place.
    """

    title: str
    kinds: tuple[str, ...]
    claims: Callable[[Sequence[PurePath]], bool]
    place: Callable[[str, PurePath], Place]


def find(folder: Path, kind: str, layout: str | None = None) -> Found:
    """List a folder's recordings of a kind, "speech" or "noise", at any depth.

    layout: a key of `LAYOUTS`; None detects it. Raises SettingsError for an unknown layout,
    AudioFileError for a folder that holds no file of this kind, with the reason.
    """
    files = _named_files(folder)
    readable = [name for _, name in files if name.suffix.lower() in SUFFIXES]
    if layout is not None and layout not in LAYOUTS:
        raise SettingsError(unknown_name("layout", layout, LAYOUTS))
    layout = layout or detect(readable, kind)
    rules = LAYOUTS[layout]
    recordings, left_out = [], Counter[str]()
    for path, name in files:
        place = Place(left_out=f"no decoder for {name.suffix.lower()}")
        if name.suffix.lower() in SUFFIXES:
            place = rules.place(kind, name)
        if place.left_out:
            left_out[place.left_out] += 1
            continue
        recordings.append(Recording(path, str(PurePath(*name.parts[1:])), place.owner, place.split))
    if not recordings:
        raise AudioFileError(_nothing(folder, kind, rules, left_out))
    if layout == "demand":
        recordings, left_out["further channels"] = _first_channels(recordings)
    if layout == "vctk":
        recordings, left_out["second microphone"] = _first_microphones(recordings)
    if {item.split for item in recordings} != {"train", "dev"}:  # half a split is none
        recordings = [replace(item, split="") for item in recordings]
    return Found(folder, kind, layout, rules.title, tuple(recordings), +left_out)


def _nothing(folder: Path, kind: str, rules: Layout, left_out: Counter[str]) -> str:
    if not left_out:
        return f"{folder}: no audio files; give a folder of {', '.join(sorted(SUFFIXES))}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    return f"{folder}: {rules.title} layout, no {kind} in it ({reasons})"


def detect(names: Sequence[PurePath], kind: str) -> str:
    """Return the key of the layout that these files lie in."""
    for key, layout in LAYOUTS.items():
        if layout.claims(names):
            return key
    folders = {name.parent for name in names}
    by_folder = kind == "speech" and len(folders) >= FEWEST_SPEAKER_FOLDERS
    return "folders" if by_folder else "files"


def held_out(owners: Iterable[str], share: float) -> set[str]:
    """Return the owners that are kept from training: about `share` of them, by hash of the name.

    Whoever is held out stays so when others come or go. At least one is, and at least one is not;
    a single owner cannot be, and the set is empty.
    """
    ranks = {owner: _rank(owner) for owner in set(owners)}
    if len(ranks) < 2:
        return set()
    order = sorted(ranks, key=lambda owner: ranks[owner])
    chosen = {owner for owner in order if ranks[owner] < share} | {order[0]}
    return chosen - {order[-1]} if len(chosen) == len(ranks) else chosen


def _rank(owner: str) -> float:
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big") / 2.0**64


def _named_files(folder: Path) -> list[tuple[Path, PurePath]]:
    """Return all audio files and their names from the folder's own on, in order.

    At any depth, links followed, hidden ones left out.
    """
    if not folder.is_dir():
        raise AudioFileError(f"{folder}: no such folder; give one that holds audio files")
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place) / name for name in files if not name.startswith(".")]
    wanted = SUFFIXES | FOREIGN_SUFFIXES
    paths = sorted(path for path in found if path.suffix.lower() in wanted)
    return [(path, PurePath(folder.resolve().name) / path.relative_to(folder)) for path in paths]


# --- the corpora ---------------------------------------------------------------------------------

_UTTERANCE = re.compile(r"^(\d+)[-_](\d+)[-_][\d_]+$")  # LibriSpeech, LibriTTS
_VCTK = re.compile(r"^([ps]\d{1,4})_\d{3}(_mic\d)?$")
_MUSAN = re.compile(r"^(noise|music|speech)-[a-z-]+-\d{4}$")
_CHANNEL = re.compile(r"^ch\d{2}$")
_READER = re.compile(r"reader_(\d+)")
_VOICEBANK = re.compile(r"^(clean|noisy)_(trainset|testset)")
_DNS_SPEECH, _DNS_NOISE = {"clean_fullband", "clean"}, {"noise_fullband", "noise"}


def _most(names: Sequence[PurePath], rule: Callable[[PurePath], object]) -> bool:
    return bool(names) and sum(bool(rule(name)) for name in names) >= 0.9 * len(names)


def _is_split(names: Sequence[PurePath]) -> bool:
    tops = [name.parts[1] if len(name.parts) > 2 else "" for name in names]
    return {"train", "dev"} <= set(tops)


def _place_split(kind: str, name: PurePath) -> Place:
    if len(name.parts) < 3 or name.parts[1] not in ("train", "dev"):
        return Place(left_out="neither in train/ nor in dev/")
    return Place(_plain_owner(kind, PurePath(name.parts[0], *name.parts[2:])), name.parts[1])


def _is_librispeech(names: Sequence[PurePath]) -> bool:
    def fits(name: PurePath) -> bool:
        match = _UTTERANCE.match(name.stem)
        return bool(match) and name.parts[-3:-1] == match.groups()  # type: ignore[union-attr]

    return _most(names, fits)


def _place_librispeech(kind: str, name: PurePath) -> Place:
    match = _UTTERANCE.match(name.stem)
    if kind != "speech" or not match:
        return Place(left_out="speech" if match else "not named SPEAKER-CHAPTER-UTTERANCE")
    split = name.parts[1].split("-")[0] if len(name.parts) > 2 else ""
    if split == "test":
        return Place(left_out="of the test sets")
    return Place(_reader(match[1]), split if split in ("train", "dev") else "")


def _reader(number: str) -> str:
    return f"reader-{int(number)}"


def _place_vctk(kind: str, name: PurePath) -> Place:
    match = _VCTK.match(name.stem)
    if kind != "speech" or not match:
        return Place(left_out="speech" if match else "not named SPEAKER_NUMBER")
    if any(part.startswith("noisy_") for part in name.parts):
        return Place(left_out="noisy mixtures")
    if any(part.startswith("clean_testset") for part in name.parts[1:]):
        return Place(left_out="of the test set")
    return Place(match[1])


def _is_voicebank(names: Sequence[PurePath]) -> bool:
    return _most(names, lambda name: _VCTK.match(name.stem)) and any(
        _VOICEBANK.match(part) for name in names for part in name.parts[:-1]
    )


def _musan_part(name: PurePath) -> str:
    match = _MUSAN.match(name.stem)
    if match:
        return match[1]
    return next((part for part in name.parts[:-1] if part in ("noise", "music", "speech")), "")


def _is_musan(names: Sequence[PurePath]) -> bool:
    parts = {name.parts[1] for name in names if len(name.parts) > 2}
    return _most(names, lambda name: _MUSAN.match(name.stem)) or {"noise", "speech"} <= parts


def _place_musan(kind: str, name: PurePath) -> Place:
    part = _musan_part(name)
    wanted = ("speech",) if kind == "speech" else ("noise", "music")
    if part not in wanted:
        return Place(left_out=part or "neither noise, music nor speech")
    return Place(name.stem if _MUSAN.match(name.stem) else _plain_owner(kind, name))


def _place_demand(kind: str, name: PurePath) -> Place:
    if kind != "noise":
        return Place(left_out="noise")
    if not _CHANNEL.match(name.stem):
        return Place(left_out="not named chNN")
    return Place(name.parts[-2] if len(name.parts) > 1 else name.stem)


def _first_channels(recordings: list[Recording]) -> tuple[list[Recording], int]:
    """Keep one channel of each environment: the others hold the same noise."""
    first: dict[Path, Recording] = {}
    for item in recordings:  # in order
        first.setdefault(item.path.parent, item)
    return list(first.values()), len(recordings) - len(first)


def _first_microphones(recordings: list[Recording]) -> tuple[list[Recording], int]:
    first: dict[str, Recording] = {}
    for item in recordings:
        first.setdefault(re.sub(r"_mic\d$", "", str(item.path.with_suffix(""))), item)
    return list(first.values()), len(recordings) - len(first)


def _is_dns(names: Sequence[PurePath]) -> bool:
    folders = {part for name in names for part in name.parts[:-1]}
    return (
        bool(folders & {"clean_fullband", "noise_fullband"})
        or {"clean", "noise"} <= folders
        or _most(names, lambda name: _READER.search(name.stem))
    )


def _dns_part(name: PurePath) -> str:
    for part in name.parts[:-1]:
        if part.startswith("impulse_responses"):
            return "impulse responses"
        if part.startswith(("dev_testset", "test_set")):
            return "of the test sets"
        if part in _DNS_SPEECH:
            return "speech"
        if part in _DNS_NOISE:
            return "noise"
    return "speech" if _READER.search(name.stem) else "in none of the corpus's folders"


def _place_dns(kind: str, name: PurePath) -> Place:
    part = _dns_part(name)
    if part != kind:
        return Place(left_out=part)
    reader, vctk = _READER.search(name.stem), _VCTK.match(name.stem)
    if kind == "speech" and reader:
        return Place(_reader(reader[1]))
    if kind == "speech" and vctk:
        return Place(vctk[1])
    return Place(_plain_owner(kind, name))


def _plain_owner(kind: str, name: PurePath) -> str:
    """Return the name without its last number; mere numbers are of the folder's one speaker."""
    voice = voice_of(str(name))
    if re.search(r"[^\W\d_]", PurePath(voice).name) and not voice.endswith("/"):
        return voice
    return str(name.parent if kind == "speech" else name.with_suffix(""))


def _place_file(kind: str, name: PurePath) -> Place:
    return Place(_plain_owner(kind, name))


def _place_folder(kind: str, name: PurePath) -> Place:
    return Place(str(name.parent))


def _never(names: Sequence[PurePath]) -> bool:
    return False


LAYOUTS: dict[str, Layout] = {
    "split": Layout("train/ and dev/", KINDS, _is_split, _place_split),
    "dns": Layout("DNS-Challenge", KINDS, _is_dns, _place_dns),
    "musan": Layout("MUSAN", KINDS, _is_musan, _place_musan),
    "demand": Layout(
        "DEMAND", ("noise",), lambda n: _most(n, lambda x: _CHANNEL.match(x.stem)), _place_demand
    ),
    "librispeech": Layout("LibriSpeech", ("speech",), _is_librispeech, _place_librispeech),
    "voicebank": Layout("VoiceBank-DEMAND", ("speech",), _is_voicebank, _place_vctk),
    "vctk": Layout(
        "VCTK", ("speech",), lambda n: _most(n, lambda x: _VCTK.match(x.stem)), _place_vctk
    ),
    "folders": Layout("one speaker per folder", KINDS, _never, _place_folder),
    "files": Layout("plain folder", KINDS, _never, _place_file),
}
"""Every layout by the name that --layout takes, in the order in which they are tried."""


def kinds_of(folder: Path, layout: str | None = None) -> tuple[str, ...]:
    """Return the kinds that a folder holds: by its layout, else by its name, speech if in doubt."""
    names = [name for _, name in _named_files(folder) if name.suffix.lower() in SUFFIXES]
    key = layout or detect(names, "speech")
    if key not in LAYOUTS:
        raise SettingsError(unknown_name("layout", key, LAYOUTS))
    if key in ("split", "folders", "files"):
        return ("noise",) if "noise" in folder.resolve().name.lower() else ("speech",)
    places = {kind: [LAYOUTS[key].place(kind, name) for name in names] for kind in KINDS}
    return tuple(kind for kind in KINDS if any(not place.left_out for place in places[kind]))
