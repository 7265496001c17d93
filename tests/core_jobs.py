"""Builds and feeds `core_driver.c`: the core without Python, on this processor or another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgesep import stft
from edgesep.contract import FrameContract
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15
from tests import signals

DRIVER = Path(__file__).with_name("core_driver.c")
CORE = Path(stft.__file__).parent / "core"
SOURCES = sorted(CORE.glob("*.c"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


def build_driver(compiler: str, flags: list[str], directory: Path) -> Path:
    """Compile core and driver into directory; return the executable."""
    program = directory / "core_driver"
    sources = [str(s) for s in (*SOURCES, DRIVER)]
    command = [compiler, *STRICT, *flags, f"-I{CORE}", *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run_driver(command: list[str], job: bytes) -> bytes:
    """Run the driver, emulated or not, on jobs; return its results."""
    done = subprocess.run(command, input=job, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def frames_job(frames: np.ndarray) -> bytes:
    """Ask for the transforms of frames (n, 512) int16."""
    return np.array([ord("F"), len(frames), *[0] * 6], np.int32).tobytes() + frames.tobytes()


def frames_result(frames: np.ndarray, backend: str) -> bytes:
    """Return what `frames_job` must give, as Python computes it."""
    re, im, exponent = stft.forward(frames, backend)
    samples, out_exponent = stft.inverse(re, im, exponent, backend)
    columns = (re, im, exponent[:, None], samples, out_exponent[:, None])
    return np.concatenate(columns, axis=1).tobytes()


Stream = tuple[FrameContract, np.ndarray, np.ndarray, np.ndarray]


def streams(hops: int, seed: int = 0) -> Iterator[Stream]:
    """Yield (contract, hops (n, channels, H), masks (n, bands), gains) for every hop and fade."""
    rng = np.random.default_rng(seed)
    for i, (hop, fade) in enumerate(signals.HOPS_AND_FADES):
        inner = rng.choice(np.arange(1, 256), rng.integers(0, 256), replace=False)
        edges = (0, *sorted(inner.tolist()), 256)
        contract = FrameContract(hop, fade, edges, int(rng.integers(17)), int(rng.integers(17)))
        x = signals.adversarial_frames(hops * (1 + i % 3), seed + i)[:, :hop]
        masks = rng.integers(-128, 128, (hops, contract.bands)).astype(np.int8)
        gains = gain_table_q15(rng.uniform(0, 100), rng.random(), ("speech", "background")[i % 2])
        yield contract, np.ascontiguousarray(x.reshape(hops, 1 + i % 3, hop)), masks, gains


def stream_job(stream: Stream) -> bytes:
    """Ask for the features and the output of a stream."""
    contract, hops, masks, gains = stream
    header = (
        ord("S"),
        len(hops),
        contract.hop_samples,
        contract.fade_samples,
        hops.shape[1],
        contract.bands,
        contract.floor_rise_shift,
        contract.floor_fall_shift,
    )
    edges = np.array(contract.band_edges, np.uint16)
    job = np.array(header, np.int32).tobytes() + edges.tobytes() + gains.tobytes()
    return job + b"".join(h.tobytes() + m.tobytes() for h, m in zip(hops, masks, strict=True))


def stream_result(stream: Stream, backend: str) -> bytes:
    """Return what `stream_job` must give, as Python computes it."""
    contract, hops, masks, gains = stream
    frontend = Frontend(contract, hops.shape[1], backend)
    return b"".join(
        frontend.analyse(hop).tobytes() + frontend.synthesise(mask, gains).tobytes()
        for hop, mask in zip(hops, masks, strict=True)
    )
