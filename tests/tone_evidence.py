"""Who made a click in a tone: the loop, or somebody who lost samples on the way to it or from it?

The same tone is known at four places: what the microphone's monitor plays, what the loop got, what
it gave (`--record` has both), and what the loudspeaker's monitor plays. PulseAudio passes int16 at
one rate on bit by bit. So a place where two of them differ is a loss between these two, and shows
as another offset after it; a jump inside what the loop gave, with an unbroken tone in what it got,
is the loop's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 48000
CHUNK = 480  # compared at a time; a tenth of a second is looked for around the place expected
REACH = 9600
ROUNDING = 8  # of the recurrence of a tone in int16: four at the most
BEFORE, AFTER = 2400, 9600  # samples around a hole in which what goes out may jump for it

Int16 = NDArray[np.int16]


@dataclass(frozen=True)
class Evidence:
    """Places are in samples of what the loop gave, or of the later of two that are compared."""

    clicks: list[int]
    """Jumps by the loop: nothing but a mistake in it makes them."""
    player_holes: list[int]
    """Breaks of the tone before anybody else had it."""
    holes_in: list[int]
    """Samples lost between the microphone's monitor and the loop."""
    holes_out: list[int]
    """Samples lost, or silence put in, between the loop and the recording."""
    largest_jump: int
    """In what was heard, wherever it comes from."""
    judged: NDArray[np.bool_]
    """Which samples that the loop gave are far enough from holes on the way to it."""

    @property
    def holes(self) -> int:
        """Holes on the way to the loop and from it."""
        return len(self.holes_in) + len(self.holes_out)

    def __str__(self) -> str:
        return (
            f"largest jump {self.largest_jump}, clicks by the loop {self.clicks}, holes: in the "
            f"microphone {self.player_holes}, before the loop {self.holes_in}, after it "
            f"{self.holes_out}; {100 * self.judged.mean():.0f} % judged"
        )


class Kept:
    """A recorder, as `LiveLoop` takes it, that keeps the first channels in memory."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Int16, Int16]] = []

    def begin(self, _: object) -> None:
        """Other devices do not matter here."""

    def push(self, block_in: Int16, block_out: Int16) -> None:
        """Keep int16 (n, channels) of either side."""
        self._pairs.append((block_in[:, 0].copy(), block_out[:, 0].copy()))

    def read(self) -> tuple[Int16, Int16]:
        """Return all of them, each int16 (n,)."""
        got, gave = (np.concatenate(blocks) for blocks in zip(*list(self._pairs), strict=True))
        return got, gave


def read_recorded(folder: Path) -> tuple[Int16, Int16]:
    """Return what `--record` has kept of the first channel in and out, each int16 (n,)."""
    kept = []
    for side in ("in", "out"):
        pieces = [soundfile.read(path, dtype="int16", always_2d=True)[0][:, 0]
                  for path in sorted(folder.glob(f"{side}-*.wav"))]  # fmt: skip
        kept.append(np.concatenate(pieces))
    return kept[0], kept[1]


def examine(
    played: Int16, got: Int16, gave: Int16, heard: Int16, hz: float, most_jump: float
) -> Evidence:
    """Judge a tone of `hz` at the four places, int16 (n,) at 48 kHz, each begun at any time.

    most_jump: between two samples of what the loop gives, when it is switched as it should be.
    """
    altered, holes_in = compare(got, played)
    holes_in += [first for first, _ in altered]
    altered, holes_out = compare(heard, gave)
    broken = breaks(got, hz) * (len(gave) / max(1, len(got)))  # the loop stretches evenly
    judged = np.ones(len(gave), bool)
    for place in broken.astype(int):
        judged[max(0, place - BEFORE) : place + AFTER] = False
    own = [int(place) for place in jumps_above(gave, most_jump) if judged[place]]
    later = jumps_above(heard, most_jump)
    own += [int(place) for place in later if any(a <= place < b for a, b in altered)]
    largest = int(np.abs(np.diff(heard.astype(int))).max(initial=0))
    return Evidence(own, breaks(played, hz).tolist(), holes_in, holes_out, largest, judged)


def jumps_above(samples: Int16, most: float) -> NDArray[np.intp]:
    """Return where a sample differs by more than `most` from the next."""
    return np.flatnonzero(np.abs(np.diff(samples.astype(int))) > most)


def breaks(samples: Int16, hz: float) -> NDArray[np.intp]:
    """Return where a tone of `hz`, or silence before it, does not go on as it should.

    A tone is the solution of x[n+1] = 2 cos(w) x[n] - x[n-1]; places closer than 10 ms are one.
    """
    x = samples.astype(float)
    rest = np.abs(x[2:] - 2 * np.cos(2 * np.pi * hz / RATE_HZ) * x[1:-1] + x[:-2])
    places = np.flatnonzero(rest > ROUNDING) + 1
    if len(places) == 0:
        return places
    return places[np.concatenate(([True], np.diff(places) > RATE_HZ // 100))]


def compare(later: Int16, earlier: Int16) -> tuple[list[tuple[int, int]], list[int]]:
    """Follow `earlier` through `later`, of which it is a part, or which is a part of it.

    Returns stretches of `later` that are not in `earlier` though what surrounds them is, as far
    apart as it should be: somebody has altered them; and places of holes: what follows lies
    elsewhere, or what came too late for PulseAudio has become exact silence.
    """
    altered: list[tuple[int, int]] = []
    moved: list[int] = []
    offset: int | None = None
    lost_at: int | None = None
    for at in range(0, len(later) - CHUNK + 1, CHUNK):
        chunk = later[at : at + CHUNK]
        if offset is not None and _same(chunk, earlier, at + offset):
            if lost_at is not None:
                first, end = lost_at - CHUNK, at + CHUNK
                other = later[first:end] != earlier[first + offset : end + offset]
                if later[first:end][other].any():
                    altered.append((first, end))
                else:
                    moved.append(lost_at)
            lost_at = None
            continue
        found = _find(chunk, earlier, at, offset)
        if found is None:
            lost_at = at if lost_at is None and offset is not None else lost_at
            continue
        if offset is not None:
            moved.append(at if lost_at is None else lost_at)
        offset, lost_at = found, None
    return altered, moved


def _same(chunk: Int16, earlier: Int16, start: int) -> bool:
    return start >= 0 and np.array_equal(chunk, earlier[start : start + len(chunk)])


def _find(chunk: Int16, earlier: Int16, at: int, offset: int | None) -> int | None:
    """Return by how much `chunk`, from place `at` of the later one, lies further in `earlier`."""
    if np.ptp(chunk) < 100 or np.count_nonzero(chunk) < 0.9 * len(chunk):  # silence is everywhere
        return None
    first = 0 if offset is None else max(0, at + offset - REACH)
    last = len(earlier) if offset is None else at + offset + len(chunk) + REACH
    text, wanted = earlier[first:last].tobytes(), chunk.tobytes()
    place = text.find(wanted)
    while place > 0 and place % 2:  # between two samples
        place = text.find(wanted, place + 1)
    return None if place < 0 else first + place // 2 - at
