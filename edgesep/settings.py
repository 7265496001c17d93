"""What a user may choose about the isolation, apart from the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from edgesep.engine import engine_problem
from edgesep.errors import SettingsError, unknown_name

__all__ = ["OUTPUTS", "Settings", "check_range"]

OUTPUTS = ("speech", "background")
MAX_ATTENUATION_DB = 100.0


@dataclass(frozen=True)
class Settings:
    """Frozen settings of an `Isolator`. All but `engine` and `latency_ms` may change between hops.

    They act on the mask, so none of them costs latency.

    Raises SettingsError for a value of the wrong type, out of range or unknown.
    """

    max_attenuation_db: float = 40.0
    """Background is never turned down by more than this: 0 .. 100 dB."""
    wet: float = 1.0
    """Share of the processed signal: 0 (the input, delayed) .. 1 (the isolated signal)."""
    output: str = "speech"
    """What comes out: "speech", or "background", which is the input minus the unfloored speech."""
    engine: str = "auto"
    """"fast" (LiteRT with XNNPACK), "exact" (reference kernels, the same bits on every board),
    "edgetpu" (Coral; "edgetpu:usb", "edgetpu:pci:1" .. choose one) or "auto" (fast where a TFLite
    runtime is installed, else exact)."""
    latency_ms: float | None = None
    """Algorithmic latency: (hop + fade) / 16 per ms, fade 32, 64 or 128. None: as the card says."""

    def __post_init__(self) -> None:
        check_range("max_attenuation_db", self.max_attenuation_db, 0.0, MAX_ATTENUATION_DB)
        check_range("wet", self.wet, 0.0, 1.0)
        _check_choice("output", self.output, OUTPUTS)
        problem = engine_problem(self.engine)
        if problem:
            raise SettingsError(problem)
        if self.latency_ms is not None:
            check_range("latency_ms", self.latency_ms, 0.0, 1000.0)


def check_range(name: str, value: object, low: float, high: float) -> None:
    """Raise SettingsError unless `value` is a finite number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} is {value!r}: give a number from {low:g} to {high:g}")
    if not math.isfinite(value) or not low <= float(value) <= high:
        raise SettingsError(f"{name} is {value}: it must lie from {low:g} to {high:g}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(unknown_name(name, value, choices))
