"""What int8 does to a network: to each tensor, and what each layer's rounding costs in the end.

Measured on dev mixtures that calibration has not seen. The mask's error is the RMS of its change
against the float network, in dB of a full mask (1.0): -40 dB is one part in a hundred. SI-SDR lost
is SI-SDR under the float mask less that under the changed one, through the device's own front end,
mean over the clips; a layer's cost is that of its weights, bias and output in int8 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from edgesep.contract import FrameContract
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15

from .fake_quant import FakeQuant, round_to
from .feed import Source, make_batch
from .float_model import activations
from .graph import OUTPUT
from .measure import si_sdr_db
from .qgraph import BIAS, FEATURES_SCALE, WEIGHTS, QTensor
from .recipe import Recipe

DEV_FIRST = 1 << 42  # batch numbers that neither training nor calibration reaches
MOST_BATCHES = 20
SNR_DB = (-10.0, 20.0)
SMALLEST = 1e-30
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class DevClip:
    """A mixture as the network and the front end take it."""

    features: np.ndarray  # (frames, bands, 2) int8
    noisy: np.ndarray  # (frames, hop) int16
    clean: np.ndarray  # (frames * hop,) int16


@dataclass(frozen=True)
class LayerCost:
    """What one layer, or a group of them, costs in int8 while the rest stays float."""

    layer: str
    mask_error_db: float
    si_sdr_lost_db: float


@dataclass(frozen=True)
class TensorFigures:
    """One tensor; of weights and biases, scale and range are those of the widest channel."""

    tensor: str
    role: str
    """"weights", "bias" or "activation"."""
    scale: float
    zero_point: int
    low: float
    """Lowest value that int8 (a bias: int32) holds."""
    high: float
    seen_low: float
    seen_high: float
    clipped_share: float
    """Of the values seen, those outside low .. high by more than half a step."""
    sqnr_db: float
    """Power of the values over that of the error of rounding and clipping; inf: no error."""


def dev_clips(recipe: Recipe, source: Source, count: int) -> list[DevClip]:
    """Return `count` dev mixtures of -10 to 20 dB SI-SDR, fewer where there are no more."""
    mixer, hop = source.mixer(recipe), recipe.frame.hop_samples
    found: list[DevClip] = []
    for i in range(MOST_BATCHES):
        for features, hops in zip(*make_batch(mixer, recipe, DEV_FIRST + i), strict=True):
            noisy, clean = np.ascontiguousarray(hops[:, :hop]), hops[:, hop:].ravel()
            if clean.any() and SNR_DB[0] < si_sdr_db(noisy.ravel(), clean) < SNR_DB[1]:
                found.append(DevClip(features, noisy, clean))
            if len(found) == count:
                return found
    return found


class Sensitivity:
    """Float activations of the clips, against which int8 is held."""

    def __init__(self, net: FakeQuant, clips: Sequence[DevClip], contract: FrameContract) -> None:
        self._net, self._clips, self._contract = net, clips, contract
        self._values = [
            activations(net.graph, net.weights, clip.features * np.float32(FEATURES_SCALE))
            for clip in clips
        ]
        self._si_sdr_db = [
            self._masked_si_sdr_db(clip, values[OUTPUT][..., 0])
            for clip, values in zip(clips, self._values, strict=True)
        ]

    def layers(self) -> list[LayerCost]:
        """Return each layer's cost, the greatest mask error first; reshapes round nothing."""
        names = [layer.name for layer in self._net.graph.layers.values() if layer.kind != "reshape"]
        costs = [
            self.cost(name, {name}, {name})
            for name in tqdm(names, desc="sensitivity", unit="layer", disable=None)
        ]
        return sorted(costs, key=lambda cost: -cost.mask_error_db)

    def groups(self) -> list[LayerCost]:
        """Return the cost of all weights, of all activations, and of both."""
        every = set(self._net.graph.layers)
        return [
            self.cost("all weights", every, set()),
            self.cost("all activations", set(), every),
            self.cost("all", every, every),
        ]

    def cost(self, label: str, weighted: set[str], put_out: set[str]) -> LayerCost:
        """Return the cost of rounding the weights of some layers and the outputs of some."""
        with_weights = {n for n in weighted if self._net.graph.layers[n].has_weights}
        squares, lost = [], []
        for clip, values, before_db in zip(self._clips, self._values, self._si_sdr_db, strict=True):
            mask = self._net.rerun(values, with_weights, put_out)[OUTPUT][..., 0]
            squares.append(np.mean(np.square(mask - values[OUTPUT][..., 0], dtype=np.float64)))
            lost.append(before_db - self._masked_si_sdr_db(clip, mask))
        error_db = 10.0 * np.log10(max(float(np.mean(squares)), SMALLEST))
        return LayerCost(label, float(error_db), float(np.mean(lost)))

    def tensors(self) -> list[TensorFigures]:
        """Return figures of all weights, biases and layer outputs, in the network's order."""
        rows = []
        for layer in self._net.graph.layers.values():
            if layer.has_weights:
                rows += [self._constant(layer.name, part) for part in ("kernel", "bias")]
            if layer.kind != "reshape":
                rows.append(self._activation(layer.name))
        return rows

    def _activation(self, name: str) -> TensorFigures:
        tensor = self._net.outputs[name]
        seen = np.concatenate([values[name].ravel() for values in self._values])
        scale, low, high = _range(tensor)
        outside = (seen < low - scale / 2.0) | (seen > high + scale / 2.0)
        return TensorFigures(
            tensor=tensor.name,
            role="activation",
            scale=scale,
            zero_point=tensor.zero_point,
            low=low,
            high=high,
            seen_low=float(seen.min()),
            seen_high=float(seen.max()),
            clipped_share=float(np.mean(outside)),
            sqnr_db=sqnr_db(seen, round_to(seen, tensor)),
        )

    def _constant(self, name: str, part: str) -> TensorFigures:
        role, steps = ("weights", 127.0) if part == "kernel" else ("bias", 2.0**31 - 1.0)
        tensor = self._net.constants[name + (WEIGHTS if part == "kernel" else BIAS)]
        real = self._net.weights[f"{name}/{part}"]
        scale = float(tensor.scales.max())
        return TensorFigures(
            tensor=tensor.name,
            role=role,
            scale=scale,
            zero_point=0,
            low=-steps * scale,
            high=steps * scale,
            seen_low=float(real.min()),
            seen_high=float(real.max()),
            clipped_share=0.0,  # a channel's scale is made of its largest weight
            sqnr_db=sqnr_db(real, self._net.rounded[f"{name}/{part}"]),
        )

    def _masked_si_sdr_db(self, clip: DevClip, mask: np.ndarray) -> float:
        return si_sdr_db(*_aligned(self._isolate(clip, mask), clip.clean, self._contract))

    def _isolate(self, clip: DevClip, mask: np.ndarray) -> np.ndarray:
        """Return the samples under a float mask (frames, bands); they lie `delay_samples` late."""
        steps = np.clip(np.round(mask * 256.0), 0, 255)
        frontend, gains_q15 = Frontend(self._contract), gain_table_q15()
        hops = []
        for hop, row in zip(clip.noisy, (steps - 128.0).astype(np.int8), strict=True):
            frontend.analyse(hop[None])
            hops.append(frontend.synthesise(row, gains_q15)[0])
        return np.concatenate(hops)


def _aligned(
    late: np.ndarray, clean: np.ndarray, contract: FrameContract
) -> tuple[np.ndarray, np.ndarray]:
    delay = contract.delay_samples
    return late[delay:], clean[: len(clean) - delay]


def _range(tensor: QTensor) -> tuple[float, float, float]:
    scale = float(tensor.scales[0])
    low, high = ((end - tensor.zero_point) * scale for end in (-128, 127))
    return scale, low, high


def sqnr_db(values: np.ndarray, rounded: np.ndarray) -> float:
    """Return the signal-to-quantization-noise ratio in dB; inf where nothing was lost."""
    error = np.sum(np.square(values.astype(np.float64) - rounded))
    power = np.sum(np.square(values, dtype=np.float64))
    return float(10.0 * np.log10(max(power, SMALLEST) / error)) if error else float("inf")
