"""The frame contract: the numbers that a model, the C core and the firmware must agree on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import index

from edgesep.errors import SettingsError

RATE_HZ = 16000
WINDOW_SAMPLES = 512
BINS = WINDOW_SAMPLES // 2  # bin 0 is DC; the Nyquist bin rides in its imaginary part

HOP_CHOICES = (32, 64, 128, 256)
FADE_CHOICES = (32, 64, 128)
MAX_FLOOR_SHIFT = 16
MAX_CHANNELS = 64  # keeps the summed band power of all channels below 2^63


@dataclass(frozen=True)
class FrameContract:
    """Describe one hop: its length, its overlap, its bands and its noise-floor track.

    Raises SettingsError, naming the value, the reason and the fix, when a field is out of range.
    `docs/frame_contract.md` is the specification.
    """

    hop_samples: int
    """Samples between two frames, H: 32, 64, 128 or 256."""
    fade_samples: int
    """Overlap between two synthesis windows, F: 32, 64 or 128, at most the hop."""
    band_edges: tuple[int, ...]
    """(bands + 1,) bin numbers: band b holds bins edge[b] .. edge[b + 1] - 1; from 0 to 256."""
    floor_rise_shift: int
    """The noise floor rises by 2^-shift of the difference per frame: 0 to 16."""
    floor_fall_shift: int
    """The noise floor falls by 2^-shift of the difference per frame: 0 to 16."""

    def __post_init__(self) -> None:
        for name in ("hop_samples", "fade_samples", "floor_rise_shift", "floor_fall_shift"):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name)))
        object.__setattr__(self, "band_edges", _band_edges(self.band_edges))
        _check_choice("hop_samples", self.hop_samples, HOP_CHOICES)
        _check_choice("fade_samples", self.fade_samples, FADE_CHOICES)
        if self.fade_samples > self.hop_samples:
            raise SettingsError(
                f"fade_samples is {self.fade_samples}, longer than the hop of "
                f"{self.hop_samples} samples: use at most {self.hop_samples}"
            )
        for name in ("floor_rise_shift", "floor_fall_shift"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_FLOOR_SHIFT:
                raise SettingsError(f"{name} is {value}: use 0 to {MAX_FLOOR_SHIFT}")

    @property
    def bands(self) -> int:
        """Number of bands, B: 1 to 256."""
        return len(self.band_edges) - 1

    @property
    def synthesis_samples(self) -> int:
        """Length of the synthesis window, S = H + F."""
        return self.hop_samples + self.fade_samples

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency from microphone to output, S samples."""
        return self.synthesis_samples

    @property
    def delay_samples(self) -> int:
        """Shift between the input and the output stream, F samples."""
        return self.fade_samples


def _whole_number(name: str, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SettingsError(f"{name} is {value!r}: use a whole number") from None


def _band_edges(values: object) -> tuple[int, ...]:
    try:
        edges = tuple(_whole_number("band_edges", v) for v in values)  # type: ignore[attr-defined]
    except TypeError:
        raise SettingsError(f"band_edges is {values!r}: use a list of bin numbers") from None
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != BINS:
        raise SettingsError(
            f"band_edges is {_brief(edges)}: it must start with 0 and end with {BINS}"
        )
    for left, right in pairwise(edges):
        if left >= right:
            raise SettingsError(f"band_edges has {right} after {left}: each must be larger")
    return edges


def _brief(edges: tuple[int, ...]) -> str:
    return str(list(edges)) if len(edges) < 8 else f"[{edges[0]}, {edges[1]}, ..., {edges[-1]}]"


def _check_choice(name: str, value: int, choices: tuple[int, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value}: use one of {', '.join(map(str, choices))}")
