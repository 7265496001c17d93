"""Builds `network_driver.c` with the tables of a model: the network without Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesep.card import read_card
from edgesep.contract import FrameContract
from edgesep.engine import open_engine
from edgesep.engine.exact import compile_model
from edgesep.engine.source import network_source
from edgesep.frontend import Frontend
from tests import signals
from tests.core_jobs import CORE, STRICT

DRIVER = Path(__file__).with_name("network_driver.c")
SOURCES = [CORE / f"edgesep_{name}.c" for name in ("kernels", "network")]


def build_network_driver(compiler: str, flags: list[str], directory: Path, model: Path) -> Path:
    """Compile core, tables and driver into directory; return the executable."""
    tables = directory / "network.c"
    plan = compile_model(model, read_card(model.with_suffix(".json")))
    tables.write_text(network_source(plan, "network", f"The network of {model.name}."))
    program = directory / "network_driver"
    sources = [str(s) for s in (*SOURCES, tables, DRIVER)]
    command = [compiler, *STRICT, *flags, f"-I{CORE}", *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def masks(model: Path, features: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return what the exact engine makes of features (frames, bands, 2): (frames, bands)."""
    engine = open_engine("exact", model, read_card(model.with_suffix(".json")))
    return np.stack([engine.step(frame) for frame in features])


def speech_features(contract: FrameContract, frames: int, seed: int = 0) -> NDArray[np.int8]:
    """Return features (frames, bands, 2) of something like speech in noise that swells."""
    frontend = Frontend(contract)
    hops = signals.speech_like(frames * contract.hop_samples, -20).reshape(frames, 1, -1)
    noise = np.random.default_rng(seed).normal(0, 100, hops.shape)
    swell = 1 - np.cos(np.linspace(0, 40, frames))[:, np.newaxis, np.newaxis]
    noisy = np.clip(hops + noise * swell, -32768, 32767).astype(np.int16)
    return np.stack([frontend.analyse(hop).copy() for hop in noisy])


def random_features(frames: int, bands: int, seed: int = 0) -> NDArray[np.int8]:
    """Return features (frames, bands, 2) without any structure."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (frames, bands, 2)).astype(np.int8)
