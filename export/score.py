"""Score a model, or any system's output folder, on dev speech in dev noise.

The sound takes the user's way: noisy files are written, `edgesep file` isolates the folder, what
it wrote is measured. SI-SDR (Le Roux et al., 2019), PESQ-WB (ITU-T P.862.2) by `pesq`, ESTOI
(Jensen and Taal, 2016) by `pystoi`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from edgesep.errors import EdgesepError

from .corpus import RATE_HZ, Corpus
from .levels import active_rms, rms, to_int16
from .measure import si_sdr_db

CLIP_S = 6.0
LEVEL_DBFS = (-32.0, -20.0)
CLEAN_SNR_DB = 40.0
EXTRA_CLIPS = 12
SILENT_LSB = 0.1  # what silence counts as


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
    extra: int = EXTRA_CLIPS,
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
    command = [sys.executable, "-m", "edgesep", "file", str(noisy), "-o", str(out)]
    command += ["--model", model, "--engine", engine]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise EdgesepError(f"edgesep file failed: {lines[-1] if lines else result.returncode}")


def score(
    clips: list[Clip],
    process: Callable[[Path, Path], None],
    work: Path | None = None,
    outputs: Path | None = None,
) -> list[dict[str, object]]:
    """Write the noisy clips, let `process(noisy, out)` isolate the folder; return a row per clip.

    work: folder to keep the sound in (noisy/, clean/, out/); None throws it away.
    outputs: measure the files found here instead; nothing is processed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = work or Path(scratch)
        for part in ("noisy", "clean"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for clip in clips:
            soundfile.write(folder / "noisy" / f"{clip.name}.wav", clip.noisy, RATE_HZ)
            soundfile.write(folder / "clean" / f"{clip.name}.wav", clip.clean, RATE_HZ)
        if outputs is None:
            outputs = folder / "out"
            process(folder / "noisy", outputs)
        return [
            _measure(clip, outputs / f"{clip.name}.wav")
            for clip in tqdm(clips, desc="scoring", unit="clip", disable=None)
        ]


def _measure(clip: Clip, path: Path) -> dict[str, object]:
    try:
        ours, rate_hz = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError as error:
        raise EdgesepError(f"{path}: cannot read the output to score ({error})") from error
    if rate_hz != RATE_HZ or ours.shape != clip.noisy.shape:
        raise EdgesepError(
            f"{path}: {ours.shape} samples at {rate_hz} Hz, "
            f"expected {clip.noisy.shape} at {RATE_HZ}"
        )
    row: dict[str, object] = {"name": clip.name, "kind": clip.kind, "snr_db": clip.snr_db}
    if clip.kind == "noise":
        row["attenuation_db"] = 20.0 * np.log10(rms(clip.noisy) / max(rms(ours), SILENT_LSB))
        return row
    for label, sound in (("noisy", clip.noisy), ("out", ours)):
        row |= {f"{key}_{label}": value for key, value in _quality(sound, clip.clean).items()}
    return row


def _quality(sound: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    from pesq import pesq
    from pystoi import stoi

    return {
        "si_sdr_db": si_sdr_db(sound, clean),
        "pesq": float(pesq(RATE_HZ, clean, sound, "wb")),
        "estoi": float(stoi(clean.astype(float), sound.astype(float), RATE_HZ, extended=True)),
    }


def summary(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Return means and 95% half-widths: all mixes, thirds by SNR, clean speech, noise alone."""
    mixes = [row for row in rows if row["kind"] == "mix"]
    groups = {"mixes": mixes}
    for third in np.array_split(np.array(mixes, dtype=object), 3):
        low, high = (float(third[i]["snr_db"]) for i in (0, -1))
        groups[f"mixes {low:.0f}..{high:.0f} dB"] = list(third)
    groups["speech at 40 dB"] = [row for row in rows if row["kind"] == "clean"]
    groups["noise alone"] = [row for row in rows if row["kind"] == "noise"]
    return {name: _means(group) for name, group in groups.items() if group}


def _means(rows: list[dict[str, object]]) -> dict[str, float]:
    result: dict[str, float] = {"clips": float(len(rows))}
    for key in rows[0]:
        if key in ("name", "kind", "snr_db"):
            continue
        values = np.array([row[key] for row in rows], float)
        result[key] = float(values.mean())
        result[f"{key}_ci95"] = _half_width(values)
    if "si_sdr_db_out" in rows[0]:
        gains = np.array([float(r["si_sdr_db_out"]) - float(r["si_sdr_db_noisy"]) for r in rows])  # type: ignore[arg-type]
        result["si_sdri_db"] = float(gains.mean())
        result["si_sdri_db_ci95"] = _half_width(gains)
        result["worse_share"] = float(np.mean(gains < 0.0))
    return result


def _half_width(values: np.ndarray) -> float:
    """Return the half-width of the mean's 95% interval; one clip alone has none and counts as 0."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def table(groups: dict[str, dict[str, float]]) -> str:
    """Return the summary as a text table."""
    head = (
        f"{'':22}{'clips':>6}{'SI-SDR in':>11}{'out':>7}{'gain dB':>15}"
        f"{'PESQ in':>9}{'out':>13}{'ESTOI in':>10}{'out':>7}{'worse':>7}"
    )
    lines = [head]
    for name, g in groups.items():
        start = f"{name:22}{g['clips']:6.0f}"
        if "attenuation_db" in g:
            lines.append(f"{start}   attenuated by {g['attenuation_db']:.1f} dB")
            continue
        lines.append(
            f"{start}{g['si_sdr_db_noisy']:11.2f}{g['si_sdr_db_out']:7.2f}"
            f"{g['si_sdri_db']:8.2f} +-{g['si_sdri_db_ci95']:4.2f}"
            f"{g['pesq_noisy']:9.3f}{g['pesq_out']:7.3f} +-{g['pesq_out_ci95']:.2f}"
            f"{g['estoi_noisy']:9.3f}{g['estoi_out']:7.3f}{g['worse_share']:7.1%}"
        )
    return "\n".join(lines)


def save(rows: list[dict[str, object]], groups: dict[str, dict[str, float]], path: Path) -> None:
    """Write rows and summary as JSON."""
    path.write_text(json.dumps({"summary": groups, "clips": rows}, indent=1) + "\n")
