"""Measure the frame path on this machine: time per hop, per stage, and memory, one thread."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesep import native, stft
from edgesep.contract import RATE_HZ, WINDOW_SAMPLES
from edgesep.engine import EDGETPU, open_engine
from edgesep.errors import EngineError
from edgesep.frontend import Frontend
from edgesep.isolator import Isolator
from edgesep.mask import gain_table_q15
from edgesep.models import find_model
from edgesep.settings import Settings

__all__ = [
    "Result",
    "Stages",
    "measure",
    "peak_memory_mb",
    "percentiles",
    "sample_hops",
    "time_hops",
]

WARM_UP_HOPS = 100
MIN_HOPS = 500
"""Fewer do not have a 99th percentile worth printing."""
BATCH = 16
"""Transforms in one call, to tell their own time from that of the call."""


@dataclass(frozen=True)
class Stages:
    """Median microseconds of a hop, by stage; measured in a run of its own, call by call."""

    stft_us: float
    """History, window, FFT: the slope over calls with one and with sixteen frames."""
    features_us: float
    """Band powers, logarithm, noise floor: `Frontend.analyse` less the STFT; holds its call."""
    model_us: float
    """`Engine.step`."""
    mask_us: float
    """Gains, overlap-add: `Frontend.synthesise` less the iSTFT; holds its call."""
    istft_us: float
    rest_us: float
    """What `Isolator.process` adds: checks and the calls in Python."""
    call_us: float
    """A call into the C core that does nothing; features, mask and model (exact) hold one each."""


@dataclass(frozen=True)
class Result:
    """One model with one engine."""

    model: str
    sha256: str
    engine: str
    description: str
    """What ran, such as runtime, version and kernels."""
    hop_us: float
    """How long a hop of sound lasts: the time there is."""
    hops: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    mean_us: float
    stolen: float
    """Share of the measured time that other programs had the core: 0 on a quiet machine."""
    macs_per_s: int
    memory_mb: float | None
    """Peak resident memory of a process that does nothing else; None where it cannot be told."""
    stages: Stages

    @property
    def real_time_factor(self) -> float:
        """Share of one core that this takes: mean time over the hop's length."""
        return self.mean_us / self.hop_us

    @property
    def headroom(self) -> float:
        """Share of the hop that is left at the 99th percentile; negative where it is not met."""
        return 1 - self.p99_us / self.hop_us


def measure(model: str, engine: str, seconds: float, *, memory: bool = True) -> Result:
    """Isolate test sound hop by hop for `seconds`, MIN_HOPS at least; then time the stages.

    Hops follow each other at once: the machine is at full clock, and caches are warm.
    Raises ModelError, EngineError.
    """
    settings = Settings(engine=engine)
    isolator = Isolator(model, settings)
    ran = isolator.description.partition(":")[0]
    if engine.startswith(EDGETPU) and ran != EDGETPU:
        raise EngineError(f"engine {engine!r} does not run here, the CPU did instead")
    hops = sample_hops(isolator.hop_samples)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    times_us = time_hops(isolator.process, hops, seconds)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    p50, p95, p99, most = percentiles(times_us)
    return Result(
        model=isolator.card.name,
        sha256=isolator.card.sha256,
        engine=engine if ran == EDGETPU else ran,
        description=isolator.description,
        hop_us=isolator.hop_samples * 1e6 / RATE_HZ,
        hops=len(times_us),
        p50_us=p50,
        p95_us=p95,
        p99_us=p99,
        max_us=most,
        mean_us=float(np.mean(times_us)),
        stolen=max(1 - cpu_s / wall_s, 0.0),
        macs_per_s=_macs_per_s(model),
        memory_mb=peak_memory_mb(model, engine) if memory else None,
        stages=_stages(isolator, model, settings, seconds / 4),
    )


def sample_hops(hop_samples: int, seconds: float = 4.0) -> NDArray[np.int16]:
    """Return syllable-like bursts in noise, cut into hops: int16 (hops, hop_samples)."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = np.sin(2 * np.pi * 140 * t)
    bursts = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    voice = bursts * np.tanh(3 * pitch)
    noise = np.random.default_rng(0).standard_normal(t.size)
    samples = np.rint(4000 * voice + 1000 * noise).clip(-32768, 32767).astype(np.int16)
    count = samples.size // hop_samples
    return samples[: count * hop_samples].reshape(count, hop_samples)


def time_hops(
    process: Callable[[NDArray[np.int16]], object],
    hops: NDArray[np.int16],
    seconds: float,
    clock: Callable[[], int] = time.perf_counter_ns,
    least: int = MIN_HOPS,
) -> NDArray[np.float64]:
    """Process hop after hop for `seconds`; return the microseconds of each, after a warm-up.

    clock: nanoseconds. least: hops to process, however long they take.
    """
    for i in range(WARM_UP_HOPS):
        process(hops[i % len(hops)])
    end = clock() + round(seconds * 1e9)
    times_ns = []
    i = 0
    while True:
        hop = hops[i % len(hops)]
        started = clock()
        process(hop)
        done = clock()
        times_ns.append(done - started)
        i += 1
        if done >= end and i >= least:
            return np.array(times_ns) / 1e3


def percentiles(times_us: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return p50, p95, p99 and the largest."""
    p50, p95, p99 = np.percentile(times_us, (50, 95, 99))
    return float(p50), float(p95), float(p99), float(np.max(times_us))


def _macs_per_s(model: str) -> int:
    from edgesep.model_facts import facts

    return facts(model).macs_per_s


_MEMORY_CODE = """
import sys
import numpy as np
from edgesep import Isolator, Settings
isolator = Isolator(sys.argv[1], Settings(engine=sys.argv[2]))
for _ in range(50):
    isolator.process(np.ones(isolator.hop_samples, np.int16))
try:
    lines = open("/proc/self/status").read().splitlines()
    print(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def peak_memory_mb(model: str, engine: str) -> float | None:
    """Return the peak resident memory of a fresh process that isolates with this model, in MB."""
    run = subprocess.run(
        [sys.executable, "-c", _MEMORY_CODE, model, engine], capture_output=True, check=False
    )
    if run.returncode < 0:
        raise EngineError(f"engine {engine!r} ended its process with signal {-run.returncode}")
    try:
        return float(run.stdout)
    except ValueError:
        return None  # no /proc and no resource module: Windows


# --- stages ------------------------------------------------------------------------------------


def _stages(isolator: Isolator, model: str, settings: Settings, seconds: float) -> Stages:
    """Time the parts of `Isolator.process` one by one, on the same sound."""
    path, card = find_model(model)
    frontend, engine = Frontend(card.contract), open_engine(settings.engine, path, card)
    gains = gain_table_q15(settings.max_attenuation_db, settings.wet, settings.output)
    hops = sample_hops(isolator.hop_samples)
    rows: list[tuple[int, ...]] = []
    clock = time.perf_counter_ns
    end = clock() + round(seconds * 1e9)
    while clock() < end or len(rows) < MIN_HOPS:
        flat = hops[len(rows) % len(hops)]
        hop = flat.reshape(1, -1)
        start = clock()
        features = frontend.analyse(hop)
        analysed = clock()
        mask = engine.step(features)
        inferred = clock()
        frontend.synthesise(mask, gains)
        synthesised = clock()
        isolator.process(flat)
        rows.append((start, analysed, inferred, synthesised, clock()))
    parts_us = np.median(np.diff(np.array(rows)[WARM_UP_HOPS:]), axis=0) / 1e3
    analyse, step, synthesise, whole = map(float, parts_us)
    forward, inverse = _transforms_us(frontend.backend)
    return Stages(
        stft_us=forward,
        features_us=max(analyse - forward, 0.0),
        model_us=step,
        mask_us=max(synthesise - inverse, 0.0),
        istft_us=inverse,
        rest_us=max(whole - analyse - step - synthesise, 0.0),
        call_us=_call_us() if frontend.backend == "c" else 0.0,
    )


def _transforms_us(backend: str) -> tuple[float, float]:
    """Return the time of one forward and one inverse transform without that of the call."""
    frames = sample_hops(WINDOW_SAMPLES)[:BATCH]
    re, im, exponent = stft.forward(frames, backend)

    def slope(single: Callable[[], object], many: Callable[[], object]) -> float:
        return max((_median_us(many) - _median_us(single)) / (BATCH - 1), 0.0)

    return (
        slope(lambda: stft.forward(frames[:1], backend), lambda: stft.forward(frames, backend)),
        slope(
            lambda: stft.inverse(re[:1], im[:1], exponent[:1], backend),
            lambda: stft.inverse(re, im, exponent, backend),
        ),
    )


def _call_us() -> float:
    _, lib = native.library()
    return _median_us(lambda: lib.edgesep_status_text(0))


def _median_us(call: Callable[[], object], rounds: int = 100, calls: int = 5) -> float:
    """Return the median over rounds of the time of one call, in microseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for _ in range(calls):
            call()
        times.append((time.perf_counter_ns() - started) / calls / 1e3)
    return float(np.median(times))
