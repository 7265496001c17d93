"""The training loss: compare speech after re-synthesis, as the device will play it.

The mask is applied to the noisy spectrum at the true analysis window, transformed back, windowed by
the true synthesis window and overlap-added; estimate and target are then compared as compressed
spectra (magnitude and complex, power 0.3), by SI-SDR, and as listeners do (`perceptual.py`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from keras import ops

from .loss_weights import LossWeights
from .perceptual import envelope_decorrelation, loudness_disturbance

WINDOW = 512
COMPRESSION = 0.3
COMPARED_HOP = 256  # samples between compared spectra: half a window; more of them only cost time
MASK_STEPS, FULL_STEP = 256.0, 240.0  # the device reads mask bytes of 240 and up as a gain of one
POWER_FLOOR = 1e-4  # of spectra, where white noise of the mixture's level has 190
SPEECH_POWER = 1e-2  # mean of a spectrum: below it there is none
BEYOND_ONE = 0.1  # slope of the gradient above it: what is held at one must find its way down


class ResynthesisLoss:
    """Loss of a mask (batch, frames, bands), for hops (batch, frames, 2 * hop): noisy | target."""

    def __init__(
        self,
        analysis_window: np.ndarray,  # (512,) float
        synthesis_window: np.ndarray,  # (2 * hop,) float
        band_edges: tuple[int, ...],
        weights: LossWeights,
    ) -> None:
        self.hop = len(synthesis_window) // 2
        self.weights = weights
        self._analysis = analysis_window.astype("float32")
        self._synthesis = synthesis_window.astype("float32")
        self._hann = np.hanning(WINDOW + 1)[:WINDOW].astype("float32")
        expand = np.zeros((len(band_edges) - 1, WINDOW // 2 + 1), "float32")
        for band, (start, stop) in enumerate(pairwise(band_edges)):
            expand[band, start:stop] = 1.0
        expand[-1, -1] = 1.0  # Nyquist goes with the last band
        self._expand = expand

    def __call__(self, hops: Any, mask: Any) -> Any:
        """Return the scalar loss."""
        noisy, target = hops[..., : self.hop], hops[..., self.hop :]
        estimate = self.resynthesise(noisy, mask)
        target = target[:, :-1]  # the estimate lags one hop
        level = ops.sqrt(ops.mean(ops.square(noisy), axis=(1, 2), keepdims=True) + 1e-8)
        estimate, target = estimate / level, target / level
        return self._spectral(estimate, target) - self.weights.si_sdr_db * self._si_sdr(
            estimate, target
        )

    def distance(self, hops: Any, mask: Any, other: Any) -> Any:
        """Return the spectral part of the loss with what another mask leaves as the target."""
        noisy = hops[..., : self.hop]
        level = ops.sqrt(ops.mean(ops.square(noisy), axis=(1, 2), keepdims=True) + 1e-8)
        ours, theirs = (self.resynthesise(noisy, m) / level for m in (mask, other))
        return self._spectral(ours, theirs)

    def resynthesise(self, noisy: Any, mask: Any) -> Any:
        """Return the estimate's hops (batch, frames - 1, hop), aligned with the noisy hops."""
        real, imag = ops.rfft(ops.multiply(self._frames(noisy), self._analysis))
        gain = mask * (MASK_STEPS / FULL_STEP)
        beyond = ops.relu(gain - 1.0)
        gain = ops.matmul(
            gain - beyond + BEYOND_ONE * (beyond - ops.stop_gradient(beyond)), self._expand
        )
        wave = ops.irfft((real * gain, imag * gain))[..., -2 * self.hop :]
        wave = ops.multiply(wave, self._synthesis)
        return wave[:, 1:, : self.hop] + wave[:, :-1, self.hop :]

    def _frames(self, hops: Any, step: int = 1) -> Any:
        """Return windows (batch, frames // step, 512) that end with every `step`-th hop."""
        past = WINDOW // self.hop - 1
        frames = hops.shape[1]
        padded = ops.pad(hops, ((0, 0), (past, 0), (0, 0)))
        return ops.concatenate([padded[:, i : i + frames : step] for i in range(past + 1)], axis=-1)

    def _spectral(self, estimate: Any, target: Any) -> Any:
        step = COMPARED_HOP // self.hop
        (er, ei), (tr, ti) = (
            ops.rfft(ops.multiply(self._frames(x, step), self._hann)) for x in (estimate, target)
        )
        ep, tp = er * er + ei * ei + POWER_FLOOR, tr * tr + ti * ti + POWER_FLOOR
        em, tm = ep ** (COMPRESSION / 2), tp ** (COMPRESSION / 2)
        eg, tg = ep ** ((COMPRESSION - 1) / 2), tp ** ((COMPRESSION - 1) / 2)
        magnitude = ops.square(tm - em)
        missing = ops.square(ops.relu(tm - em))
        phase = ops.square(er * eg - tr * tg) + ops.square(ei * eg - ti * tg)
        w = self.weights
        compressed = ops.mean(w.magnitude * magnitude + w.suppression * missing + w.complex * phase)
        return compressed + self._perceptual(ep, tp)

    def _perceptual(self, estimate_power: Any, target_power: Any) -> Any:
        """Return the weighted mean over clips that hold speech."""
        w = self.weights
        if not w.loudness and not w.envelopes:
            return 0.0
        present = ops.cast(ops.mean(target_power, axis=(1, 2)) > SPEECH_POWER, "float32")
        clips = w.loudness * loudness_disturbance(target_power, estimate_power)
        clips = clips + w.envelopes * envelope_decorrelation(target_power, estimate_power)
        return ops.sum(present * clips) / (ops.sum(present) + 1e-3)

    def _si_sdr(self, estimate: Any, target: Any) -> Any:
        """Return the batch mean in dB over clips that hold speech, soft-limited at the ceiling."""
        dot = ops.sum(estimate * target, axis=(1, 2))
        energy = ops.sum(target * target, axis=(1, 2))
        present = ops.cast(energy > 1.0, "float32")
        scale = dot / (energy + 1e-3)
        wanted = scale * scale * energy
        error = ops.sum(ops.square(estimate - scale[:, None, None] * target), axis=(1, 2))
        soft = 10.0 ** (-self.weights.si_sdr_ceiling_db / 10.0)
        ratio = (wanted + 1e-3) / (error + soft * wanted + 1e-3)
        return ops.sum(present * 10.0 * ops.log10(ratio)) / (ops.sum(present) + 1e-3)
