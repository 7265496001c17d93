"""From mask bytes to gains, and from gains to a masked spectrum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgesep.contract import FrameContract
from edgesep.errors import SamplesError, SettingsError, unknown_name
from edgesep.fixed import Int64, mulhr, rshr
from edgesep.stft import MASK_EXPONENT, Spectrum

UNITY_Q15 = 32768
MASK_LEVELS = 256
FULL_MASK = 240  # mask bytes from here on are a gain of one
MAX_ATTENUATION_DB = 100.0
OUTPUTS = ("speech", "background")


def gain_table_q15(
    max_attenuation_db: float = 40.0, wet: float = 1.0, output: str = "speech"
) -> NDArray[np.uint16]:
    """Return the gain of each mask byte (mask + 128): (256,) uint16, Q15, 0 .. 32768 (one).

    max_attenuation_db: 0 .. 100, the least gain that speech mode gives. wet: 0 (input) .. 1.
    output: "speech" or "background" (one minus the mask, without a floor). Raises SettingsError.
    """
    _check_range("max_attenuation_db", max_attenuation_db, MAX_ATTENUATION_DB)
    _check_range("wet", wet, 1.0)
    if output not in OUTPUTS:
        raise SettingsError(unknown_name("output", output, OUTPUTS))
    floor = round(UNITY_Q15 * 10 ** (-max_attenuation_db / 20))
    steps = np.minimum(np.arange(MASK_LEVELS, dtype=np.int64), FULL_MASK)
    speech = (steps * UNITY_Q15 + FULL_MASK // 2) // FULL_MASK
    target = np.maximum(speech, floor) if output == "speech" else UNITY_Q15 - speech
    gains = UNITY_Q15 + rshr(round(UNITY_Q15 * wet) * (target - UNITY_Q15), 15)
    return gains.astype(np.uint16)


def _check_range(name: str, value: float, highest: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= highest):
        raise SettingsError(f"{name} is {value}: use 0 to {highest:g}")


def check_gain_table(gains_q15: NDArray[np.uint16]) -> None:
    """Raise SamplesError unless the gain table is C-contiguous uint16 (256,)."""
    shape, contiguous = gains_q15.shape, gains_q15.flags.c_contiguous
    if shape != (MASK_LEVELS,) or gains_q15.dtype != np.uint16 or not contiguous:
        raise SamplesError(
            f"gains_q15 is {gains_q15.dtype} {shape}: give C-contiguous uint16 ({MASK_LEVELS},)"
        )


def band_gains(
    mask: NDArray[np.int8], gains_q15: NDArray[np.uint16], contract: FrameContract
) -> Int64:
    """Return the gain of each bin, (256,) Q15, from the mask (bands,) and the gain table.

    Raises SamplesError for a gain above one.
    """
    of_band = gains_q15[mask.astype(np.int64) + 128].astype(np.int64)
    if of_band.max() > UNITY_Q15:
        raise SamplesError(f"gains_q15 holds {of_band.max()}: use at most {UNITY_Q15}")
    return np.repeat(of_band, np.diff(contract.band_edges))


def apply_gains(x: Spectrum, gains: Int64) -> Spectrum:
    """Multiply spectra (..., 256) by gains per bin (256,) Q15; Nyquist takes the last one."""
    gains_re = gains << 15
    gains_im = gains_re.copy()
    gains_im[0] = gains_re[-1]
    return Spectrum(mulhr(x.re, gains_re), mulhr(x.im, gains_im), x.exponent + MASK_EXPONENT)
