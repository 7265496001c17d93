"""Score a model, or any system's output folder, on dev speech in dev noise.

The sound takes the user's way: noisy files are written, `edgesep file` isolates the folder, what
it wrote is measured. SI-SDR (Le Roux et al., 2019), PESQ-WB (ITU-T P.862.2) by `pesq`, ESTOI
(Jensen and Taal, 2016) by `pystoi`, onsets and fricatives kept as `speech_parts.py` defines them.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from edgesep.errors import EdgesepError

from .corpus import RATE_HZ, Corpus
from .levels import active_rms, rms, to_int16
from .measure import si_sdr_db
from .outputs import advance, read_outputs
from .speech_parts import fricatives, kept_db, onsets
from .workers import end_with_parent

CLIP_S = 6.0
LEVEL_DBFS = (-32.0, -20.0)
CLEAN_SNR_DB = 40.0
SILENT_LSB = 0.1  # what silence counts as

Row = dict[str, object]
Groups = dict[str, dict[str, float]]
Map = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Clip:
    """A test clip, int16 at 16 kHz; kind: "mix", "clean" (speech at 40 dB SNR), "noise" (alone)."""

    name: str
    kind: str
    snr_db: float
    noisy: np.ndarray
    clean: np.ndarray


def make_clips(
    speech: Corpus,
    noise: Corpus,
    count: int,
    snr_db: tuple[float, float],
    seed: int,
    extra: int,
) -> Iterator[Clip]:
    """Yield `count` mixes at SNRs spread evenly over `snr_db`, `extra` clean, `extra` noise-only.

    Speech is sampled by voice, noises go round; level -32 to -20 dBFS RMS of the mixture.
    """
    rng = np.random.default_rng(seed)
    kinds = ["mix"] * count + ["clean"] * extra + ["noise"] * extra
    for i, kind in enumerate(kinds):
        snr = float(np.linspace(*snr_db, count)[i]) if kind == "mix" else CLEAN_SNR_DB
        voice = _speech(speech, rng)
        sound = _noise(noise, i % len(noise), len(voice), rng)
        sound *= active_rms(voice) / rms(sound) * 10.0 ** (-snr / 20.0)
        if kind == "noise":
            voice, sound = np.zeros_like(voice), sound / rms(sound)
        gain = 10.0 ** (rng.uniform(*LEVEL_DBFS) / 20.0) / rms(voice + sound)
        gain = min(gain, 0.99 / float(np.abs(voice + sound).max()))
        yield Clip(
            f"{i:03d}_{kind}", kind, snr, to_int16((voice + sound) * gain), to_int16(voice * gain)
        )


def _speech(corpus: Corpus, rng: np.random.Generator) -> np.ndarray:
    """Return utterances of one voice draw after another, with short pauses, `CLIP_S` long."""
    wanted = int(CLIP_S * RATE_HZ)
    parts: list[np.ndarray] = [np.zeros(int(0.3 * RATE_HZ), np.float32)]
    while sum(map(len, parts)) < wanted:
        clip = corpus.clip(int(rng.choice(len(corpus), p=corpus.weights)))
        parts += [clip * (0.1 / active_rms(clip)), np.zeros(int(0.25 * RATE_HZ), np.float32)]
    return np.concatenate(parts)[:wanted]


def _noise(corpus: Corpus, index: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    clip = corpus.clip(index)
    while True:  # a recording may hold a silent stretch: no noise, no test
        start = int(rng.integers(len(clip)))
        piece = np.take(clip, np.arange(start, start + samples), mode="wrap")
        if rms(piece) > 0.1 * rms(clip):
            return piece


def isolate_folder(model: str, engine: str, noisy: Path, out: Path) -> None:
    """Run `edgesep file` on a folder. Raises EdgesepError with its last line where it fails."""
    command = [sys.executable, "-m", "edgesep", "file", str(noisy), "-o", str(out), "--force"]
    command += ["--model", model, "--engine", engine]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise EdgesepError(f"edgesep file failed: {lines[-1] if lines else result.returncode}")


def write_clips(clips: Iterable[Clip], folder: Path) -> None:
    """Write noisy/NAME.wav and clean/NAME.wav of every clip below `folder`."""
    for part in ("noisy", "clean"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for clip in clips:
        soundfile.write(folder / "noisy" / f"{clip.name}.wav", clip.noisy, RATE_HZ)
        soundfile.write(folder / "clean" / f"{clip.name}.wav", clip.clean, RATE_HZ)


def score(
    clips: list[Clip],
    process: Callable[[Path, Path], None],
    work: Path | None = None,
    outputs: Path | None = None,
    workers: int = 1,
) -> list[Row]:
    """Write the noisy clips, let `process(noisy, out)` isolate the folder; return a row per clip.

    work: folder to keep the sound in (noisy/, clean/, out/); None throws it away.
    outputs: measure the files found here instead; nothing is processed.
    workers: processes that measure; the rows are the same.
    """
    with tempfile.TemporaryDirectory() as scratch, mapping(workers) as map_:
        folder = work or Path(scratch)
        write_clips(clips, folder)
        if outputs is None:
            outputs = folder / "out"
            process(folder / "noisy", outputs)
        sounds = read_outputs(clips, outputs)
        return measure(clips, input_quality(clips, map_), sounds, map_)


@contextmanager
def mapping(workers: int) -> Iterator[Map]:
    """Yield a `map` that spreads calls over processes and keeps their order; 1: none but this."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
        yield pool.map


def input_quality(clips: Sequence[Clip], map_: Map = map) -> list[dict[str, float]]:
    """Return SI-SDR, PESQ and ESTOI of the noisy input, per clip; nothing for noise alone."""
    return list(_progress(map_(_input_quality, clips), len(clips), "scoring the input"))


def measure(
    clips: Sequence[Clip],
    before: Sequence[dict[str, float]],
    sounds: Sequence[np.ndarray],
    map_: Map = map,
    late_samples: int = 0,
) -> list[Row]:
    """Return a row per clip of a system that gave `sounds`, which may lie `late_samples` late.

    before: what `input_quality` returned for these clips.
    """
    jobs = zip(clips, (advance(sound, late_samples) for sound in sounds), strict=True)
    after = _progress(map_(_output_quality, jobs), len(clips), "scoring")
    return [
        {"name": clip.name, "kind": clip.kind, "snr_db": clip.snr_db}
        | {f"{key}_noisy": value for key, value in noisy.items()}
        | ours
        for clip, noisy, ours in zip(clips, before, after, strict=True)
    ]


def _progress(results: Iterable[Any], count: int, what: str) -> Iterator[Any]:
    yield from tqdm(results, desc=what, total=count, unit="clip", disable=None)


def _input_quality(clip: Clip) -> dict[str, float]:
    return {} if clip.kind == "noise" else _quality(clip.noisy, clip.clean)


def _output_quality(job: tuple[Clip, np.ndarray]) -> dict[str, float]:
    clip, ours = job
    if clip.kind == "noise":
        return {"attenuation_db": 20.0 * np.log10(rms(clip.noisy) / max(rms(ours), SILENT_LSB))}
    row = {f"{key}_out": value for key, value in _quality(ours, clip.clean).items()}
    for part, spans in (("onsets", onsets(clip.clean)), ("fricatives", fricatives(clip.clean))):
        if spans:
            row[f"{part}_kept_db"] = kept_db(ours, clip.clean, spans)
    return row


def _quality(sound: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    pesq, stoi = libraries()
    with _same_random_numbers():
        estoi = stoi(clean.astype(float), sound.astype(float), RATE_HZ, extended=True)
    return {
        "si_sdr_db": si_sdr_db(sound, clean),
        "pesq": float(pesq(RATE_HZ, clean, sound, "wb")),
        "estoi": float(estoi),
    }


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Start NumPy's global generator anew: pystoi adds noise of 1e-16, which would not repeat."""
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)


def libraries() -> tuple[Any, Any]:
    """Return `pesq` and `stoi`. Raises EdgesepError, with what to install, where one is missing."""
    try:
        from pesq import pesq
        from pystoi import stoi
    except ImportError as error:
        raise EdgesepError(
            f"scoring needs pesq and pystoi ({error}): pip install -e .[score], "
            "which compiles PESQ: apt install gcc python3-dev"
        ) from error
    return pesq, stoi


def summary(rows: Sequence[Row]) -> Groups:
    """Return means and 95% half-widths: all mixes, thirds by SNR, clean speech, noise alone."""
    mixes = [row for row in rows if row["kind"] == "mix"]
    groups = {"mixes": mixes}
    for third in np.array_split(np.array(mixes, dtype=object), 3):
        if len(third):
            low, high = (float(third[i]["snr_db"]) for i in (0, -1))
            groups[f"mixes {low:.0f}..{high:.0f} dB"] = list(third)
    groups["speech at 40 dB"] = [row for row in rows if row["kind"] == "clean"]
    groups["noise alone"] = [row for row in rows if row["kind"] == "noise"]
    return {name: _means(group) for name, group in groups.items() if group}


def _means(rows: Sequence[Row]) -> dict[str, float]:
    result: dict[str, float] = {"clips": float(len(rows))}
    for key in dict.fromkeys(key for row in rows for key in row):
        if key in ("name", "kind", "snr_db"):
            continue
        values = _figures(rows, key)
        result[key], result[f"{key}_ci95"] = float(values.mean()), half_width(values)
    if "si_sdr_db_out" in rows[0]:
        gains = _figures(rows, "si_sdr_db_out") - _figures(rows, "si_sdr_db_noisy")
        result["si_sdri_db"], result["si_sdri_db_ci95"] = float(gains.mean()), half_width(gains)
        result["worse_share"] = float(np.mean(gains < 0.0))
    if "pesq_out" in rows[0]:
        better = _figures(rows, "pesq_out") - _figures(rows, "pesq_noisy")
        result["pesq_gain"], result["pesq_gain_ci95"] = float(better.mean()), half_width(better)
    return result


def _figures(rows: Iterable[Row], key: str) -> np.ndarray:
    """Return a figure of all clips that have it: not every one holds a fricative."""
    return np.array([row[key] for row in rows if key in row], float)


def cost(rows: Sequence[Row], reference: Sequence[Row]) -> dict[str, float]:
    """Return what `rows` lose against `reference` on the same mixes: means and 95% half-widths.

    Clip by clip, which is far closer than the distance of two means.
    """
    result = {}
    for key in ("si_sdr_db", "pesq", "estoi"):
        theirs, ours = (
            _figures((row for row in both if row["kind"] == "mix"), f"{key}_out")
            for both in (reference, rows)
        )
        lost = theirs - ours
        if len(lost):
            result[key], result[f"{key}_ci95"] = float(lost.mean()), half_width(lost)
    return result


def half_width(values: np.ndarray) -> float:
    """Return the half-width of the mean's 95% interval; one clip alone has none and counts as 0."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
