"""The float network in the device's own frame path: what int8 costs shows beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edgesep.contract import RATE_HZ, FrameContract
from edgesep.features import signal_features
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15

from .float_model import Weights, float_mask
from .graph import Graph
from .qgraph import FEATURES_SCALE

MASK_STEPS = 256.0


def isolate_folder_float(
    graph: Graph, weights: Weights, contract: FrameContract, noisy: Path, out: Path
) -> None:
    """Isolate a folder of int16 mono WAV files at 16 kHz with the float mask.

    Features, mask bytes, gains and transforms are the device's; the network between features and
    mask computes in float32.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(noisy.glob("*.wav")):
        samples, _ = soundfile.read(path, dtype="int16")
        soundfile.write(out / path.name, isolate_float(graph, weights, contract, samples), RATE_HZ)


def isolate_float(
    graph: Graph, weights: Weights, contract: FrameContract, samples: np.ndarray
) -> np.ndarray:
    """Return int16 samples isolated by the float mask, aligned with the input and as long."""
    hop, delay = contract.hop_samples, contract.delay_samples
    spare = delay + -(len(samples) + delay) % hop
    padded = np.concatenate([samples, np.zeros(spare, np.int16)])
    features = signal_features(padded, contract).astype(np.float32) * np.float32(FEATURES_SCALE)
    steps = np.clip(np.round(float_mask(graph, weights, features) * MASK_STEPS), 0, MASK_STEPS - 1)
    masks = (steps - 128.0).astype(np.int8)
    frontend, gains_q15 = Frontend(contract), gain_table_q15()
    hops = []
    for frame, mask in zip(padded.reshape(-1, 1, hop), masks, strict=True):
        frontend.analyse(frame)
        hops.append(frontend.synthesise(mask, gains_q15)[0])
    return np.concatenate(hops)[delay : delay + len(samples)]
