"""Speech to mix a user's noise with: a share of a corpus that is read in seconds, or synthesized.

Some minutes of training hear no more than an hour of speech many times over, so of a large corpus
only so much is read, the speakers in turn.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edgesep.errors import AudioFileError

from .checks import read_checked
from .corpus import RATE_HZ, Corpus
from .layouts import Recording, find, held_out
from .recordings import Split

MOST_S = 3600.0
HELD_OUT_SHARE = 0.1
HELD_OUT_MOST_S = 360.0
LEAST_S = 60.0


def read_share(folder: Path, kind: str, least_s: float = LEAST_S) -> Split:
    """Read at most an hour of a corpus to train on, and held-out speakers or noises beside it.

    kind: "speech" or "noise"; any layout of `layouts.py`. Raises AudioFileError where the folder
    holds too little, or nobody who could be held out.
    """
    found = find(folder, kind)
    owners = held_out((item.owner for item in found.recordings if not item.split), HELD_OUT_SHARE)
    dev = [r for r in found.recordings if r.split == "dev" or (not r.split and r.owner in owners)]
    train = [r for r in found.recordings if r not in set(dev)]
    if not dev or not train:
        who = "speaker" if kind == "speech" else "noise"
        raise AudioFileError(
            f"{folder}: {len(found.recordings)} files of one {who}, but another one has to be held "
            f"out: give several {who}s, told apart by folder or file name"
        )
    skipped: Counter[str] = Counter()
    split = Split(_read(train, kind, MOST_S, skipped), _read(dev, kind, HELD_OUT_MOST_S, skipped))
    for fault, count in skipped.items():
        print(f"{folder}: {count} files skipped: {fault}")
    seconds = sum(len(part.samples) for part in (split.train, split.held_out)) / RATE_HZ
    if seconds < least_s:
        raise AudioFileError(
            f"{folder}: {seconds:.0f} s of {kind} that can be used, at least {least_s:g} s are "
            "needed: ten minutes of several speakers and more are better"
        )
    return split


def _read(
    recordings: Sequence[Recording], kind: str, most_s: float, skipped: Counter[str]
) -> Corpus:
    """Read one file of each owner after the other until `most_s` are together."""
    clips: list[np.ndarray] = []
    names: list[str] = []
    samples = 0
    bar = tqdm(total=round(most_s), desc=f"reading {kind}", unit="s", disable=None, leave=False)
    for item in _in_turn(recordings):
        if samples > most_s * RATE_HZ:
            break
        reading = read_checked(item.path, kind)
        if reading.fault:
            skipped[reading.fault] += 1
            continue
        clips.append(reading.samples)
        names.append(f"{item.owner}_{len(names)}")  # so that `voice_of` finds the owner again
        samples += len(reading.samples)
        bar.update(len(reading.samples) / RATE_HZ)
    bar.close()
    if not clips:
        reasons = ", ".join(f"{count} {fault}" for fault, count in skipped.items())
        raise AudioFileError(
            f"{recordings[0].path.parent}: no {kind} that can be used among {len(recordings)} "
            f"files ({reasons}): give clean recordings of 16 kHz and more"
        )
    return Corpus.of(clips, names)


def _in_turn(recordings: Sequence[Recording]) -> list[Recording]:
    """Return the first of each owner, then the second ..; an owner's files in order of a hash."""
    by_owner: dict[str, list[Recording]] = defaultdict(list)
    for item in sorted(recordings, key=lambda item: hashlib.sha256(item.name.encode()).digest()):
        by_owner[item.owner].append(item)
    rounds = zip_longest(*by_owner.values())
    return [item for turn in rounds for item in turn if item is not None]
