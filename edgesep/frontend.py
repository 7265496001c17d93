"""One hop in, features out; a mask in, one hop out: the frame path around the network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgesep import features, native, stft
from edgesep.contract import BINS, MAX_CHANNELS, WINDOW_SAMPLES, FrameContract
from edgesep.errors import SamplesError, SettingsError
from edgesep.mask import apply_gains, band_gains, check_gain_table

Hop = NDArray[np.int16]
Bytes = NDArray[np.int8]
Gains = NDArray[np.uint16]

_INT16, _INT8 = np.dtype(np.int16), np.dtype(np.int8)  # comparing with these is quick


class Frontend:
    """Analyse hops and synthesise masked hops of one stream, with the bits of the frame contract.

    Channels keep their own spectra and share one feature set and one mask, so that level and
    time differences between them survive. One object serves one stream and one thread.

    contract: the model's FrameContract. channels: 1 to 64. backend: "c", "numpy" (the twin, same
    bits) or "auto": C where it is built, else the twin, said once in the log.
    Raises SettingsError for a bad value, EngineError for a C core that is asked for and missing.
    """

    def __init__(self, contract: FrameContract, channels: int = 1, backend: str = "auto") -> None:
        """Set up a stream; see the class for arguments and errors."""
        if not 1 <= channels <= MAX_CHANNELS:
            raise SettingsError(f"channels is {channels}: use 1 to {MAX_CHANNELS}")
        self.contract = contract
        self.channels = channels
        self.backend = native.resolve(backend)
        self._hop_shape = (channels, contract.hop_samples)
        self._mask_shape = (contract.bands,)
        stream = NumpyStream if self.backend == "numpy" else native.CStream
        self._stream: Stream = stream(contract, channels)
        self._gains: Gains | None = None  # the last gain table that was checked

    def analyse(self, hop: Hop) -> Bytes:
        """Take one hop, int16 (channels, H), C-contiguous; return its features, int8 (bands, 2).

        The array returned is overwritten by the next call. Raises SamplesError for another hop.
        """
        if hop.dtype != _INT16 or hop.shape != self._hop_shape or not hop.flags.c_contiguous:
            raise SamplesError(
                f"hop is {hop.dtype} {hop.shape}: give C-contiguous int16 {self._hop_shape}"
            )
        return self._stream.analyse(hop)

    def synthesise(self, mask: Bytes, gains_q15: Gains) -> Hop:
        """Return the analysed hop under a mask, F samples late: a new int16 (channels, H) array.

        mask: int8 (bands,), 127 is a gain of one. gains_q15: uint16 (256,) from
        `mask.gain_table_q15`, entries 0 .. 32768. Before the first `analyse` the hop is silent.
        Raises SamplesError for other shapes, types or gains.
        """
        if gains_q15 is not self._gains:  # checked when it changes
            check_gain_table(gains_q15)
            self._gains = gains_q15
        if mask.dtype != _INT8 or mask.shape != self._mask_shape or not mask.flags.c_contiguous:
            raise SamplesError(
                f"mask is {mask.dtype} {mask.shape}: give C-contiguous int8 {self._mask_shape}"
            )
        return self._stream.synthesise(mask, gains_q15)

    def reset(self) -> None:
        """Forget the stream: the next hop follows silence."""
        self._stream.reset()


class Stream(Protocol):
    """What Frontend needs of a backend; arguments are validated."""

    def __init__(self, contract: FrameContract, channels: int) -> None: ...

    def analyse(self, hop: Hop) -> Bytes:
        """Take a hop (channels, H); return its features (bands, 2)."""

    def synthesise(self, mask: Bytes, gains_q15: Gains) -> Hop:
        """Return the masked hop (channels, H)."""

    def reset(self) -> None:
        """Forget the stream."""


class NumpyStream:
    """The frame path in NumPy."""

    def __init__(self, contract: FrameContract, channels: int) -> None:
        """Set up a stream of so many channels."""
        self._contract = contract
        self._window = stft.synthesis_window(contract)
        self._history = np.zeros((channels, WINDOW_SAMPLES), dtype=np.int16)
        self._tail = np.zeros((channels, contract.fade_samples), dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        zero = np.zeros((len(self._history), BINS), dtype=np.int64)
        self._history[...] = 0
        self._tail[...] = 0
        self._floor = features.initial_floor(self._contract)
        self._spectrum = stft.Spectrum(zero, zero, np.zeros(len(zero), dtype=np.int64))

    def analyse(self, hop: Hop) -> Bytes:
        """Take a hop (channels, H) into the history; return its features (bands, 2)."""
        step = hop.shape[1]
        self._history[:, :-step] = self._history[:, step:]
        self._history[:, -step:] = hop
        self._spectrum = stft.analyse_frames(self._history)
        silent = stft.is_silent(self._history)
        if silent.all():
            return features.silence(self._contract)
        level = features.levels_q8(*features.mean_power(self._spectrum, silent, self._contract))
        self._floor = features.track_floor(self._floor, level, self._contract)
        return features.quantise(level, self._floor)

    def synthesise(self, mask: Bytes, gains_q15: Gains) -> Hop:
        """Return the masked hop (channels, H)."""
        gains = band_gains(mask, gains_q15, self._contract)
        masked = apply_gains(self._spectrum, gains)
        pieces = stft.synthesise_frames(masked, self._window)
        hop, self._tail = stft.overlap_add(pieces, self._tail)
        return hop
