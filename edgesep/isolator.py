"""The frame path: one hop of samples in, one hop of isolated speech out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesep.contract import FADE_CHOICES, MAX_CHANNELS, RATE_HZ, FrameContract
from edgesep.engine import open_engine
from edgesep.errors import SamplesError, SettingsError
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15
from edgesep.models import DEFAULT_MODEL, find_model
from edgesep.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesep.card import Card

__all__ = ["Isolator", "Settings", "with_latency"]

INT16 = np.dtype(np.int16)


class Isolator:
    """Isolates speech in a stream, hop by hop; all channels share one mask.

    model: name of a shipped model, or path to a .tflite file with its card beside it.
    settings: see `Settings`.
    channels: 1 to 64; with several the mask is made from their mean power, so that level and
        time differences between the ears survive.

    Raises ModelError, EngineError or SettingsError.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        settings: Settings | None = None,
        channels: int = 1,
    ) -> None:
        _check_channels(channels)
        settings = settings or Settings()
        path, self._card = find_model(model)
        self._contract = with_latency(self._card.contract, settings.latency_ms)
        self._engine = open_engine(settings.engine, path, self._card)
        self._frontend = Frontend(self._contract, channels)
        self._channels = channels
        self._shape = (self.hop_samples,) if channels == 1 else (channels, self.hop_samples)
        self._settings = settings
        self._gains_q15 = _gains_q15(settings)

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the stream: 16000."""
        return RATE_HZ

    @property
    def hop_samples(self) -> int:
        """Samples per channel that `process` takes and returns."""
        return self._contract.hop_samples

    @property
    def latency_samples(self) -> int:
        """From microphone to output, the hop's own buffering included."""
        return self._contract.latency_samples

    @property
    def delay_samples(self) -> int:
        """How far the output stream lies behind the input stream, sample against sample."""
        return self._contract.delay_samples

    @property
    def channels(self) -> int:
        """Channels of the stream."""
        return self._channels

    @property
    def card(self) -> Card:
        """The model's card."""
        return self._card

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def description(self) -> str:
        """What runs, for people: engine and front end."""
        return f"{self._engine.description}; front end: {self._frontend.backend}"

    def process(self, hop: NDArray[np.int16]) -> NDArray[np.int16]:
        """Isolate one hop: int16 (hop_samples,), or (channels, hop_samples) with several channels.

        Returns a fresh array of the same shape, `delay_samples` behind the input.
        Raises SamplesError for any other shape or type.
        """
        if not isinstance(hop, np.ndarray) or hop.dtype != INT16 or hop.shape != self._shape:
            raise SamplesError(self._describe_mismatch(hop))
        frames = np.ascontiguousarray(hop).reshape(self._channels, -1)
        mask = self._engine.step(self._frontend.analyse(frames))
        return self._frontend.synthesise(mask, self._gains_q15).reshape(self._shape)

    def reset(self) -> None:
        """Forget the stream; settings stay."""
        self._frontend.reset()
        self._engine.reset()

    def set_settings(self, settings: Settings) -> None:
        """Use `settings` from the next hop on; the stream goes on without a seam.

        Raises SettingsError when `engine` or `latency_ms` differ: those need a new Isolator.
        """
        for name in ("engine", "latency_ms"):
            new, old = getattr(settings, name), getattr(self._settings, name)
            if new != old:
                raise SettingsError(
                    f"{name} cannot change from {old!r} to {new!r} while a stream runs: "
                    "open a new Isolator"
                )
        self._gains_q15 = _gains_q15(settings)
        self._settings = settings

    def _describe_mismatch(self, hop: object) -> str:
        expected = f"process takes exactly one hop, int16 {self._shape}"
        if isinstance(hop, np.ndarray):
            return f"{expected}; this is {hop.dtype} {hop.shape}"
        return f"{expected}, as a NumPy array; this is {type(hop).__name__}"


def _check_channels(channels: int) -> None:
    whole = isinstance(channels, int) and not isinstance(channels, bool)
    if not whole or not 1 <= channels <= MAX_CHANNELS:
        raise SettingsError(
            f"channels is {channels!r}: give a whole number from 1 to {MAX_CHANNELS}"
        )


def with_latency(contract: FrameContract, latency_ms: float | None) -> FrameContract:
    """Return the contract with another fade, so that the latency becomes `latency_ms`."""
    if latency_ms is None:
        return contract
    hop = contract.hop_samples
    choices = {(hop + fade) * 1000 / RATE_HZ: fade for fade in FADE_CHOICES if fade <= hop}
    if latency_ms not in choices:
        listed = ", ".join(f"{value:g}" for value in choices)
        raise SettingsError(f"latency_ms is {latency_ms:g}: this model runs at {listed}")
    return replace(contract, fade_samples=choices[latency_ms])


def _gains_q15(settings: Settings) -> NDArray[np.uint16]:
    return gain_table_q15(settings.max_attenuation_db, settings.wet, settings.output)
