"""MODELS.md: what the shipped models are and how they score, from their cards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgesep.card import Card
from edgesep.contract import RATE_HZ

PAGE = Path("MODELS.md")
ENGINES = {"exact": "int8", "float": "float"}

_HEAD = """# Models

Made by `python -m export card --page` from the cards beside the models; do not edit.

Scores are means over 120 mixes of speech files and noises that training did not hear (of the
recorded speakers it had heard other sentences), 12 clips of speech at 40 dB SNR and 12 of noise
alone, through `edgesep file` with the exact engine; "float" is the same frame path around the float
network. Mixes lie at {snr}. SI-SDRi is the gain in SI-SDR (Le Roux et al., 2019), PESQ is PESQ-WB
(ITU-T P.862.2), ESTOI that of Jensen and Taal (2016). "Worse" is the share of mixes whose SI-SDR
ends below the input's. "Int8 loses" holds SI-SDR and PESQ of the mixes against float. "Kept" is the
speech energy left in onsets and fricatives of the mixes, where it was measured (docs/training.md).
The cards have thirds by SNR, too.
"""


def page(models: Iterable[tuple[Path, Card]]) -> str:
    """Return the page's text for (model file, card) pairs."""
    pairs = list(models)
    snr = sorted({_snr(card) for _, card in pairs if card.scores})
    return "\n".join(
        [
            _HEAD.format(snr="; ".join(snr) or "no SNR yet"),
            *_sizes(pairs),
            "",
            *_scores(card for _, card in pairs),
            "",
            *_training(card for _, card in pairs),
            "",
        ]
    )


def _sizes(pairs: list[tuple[Path, Card]]) -> list[str]:
    rows = [
        "| model | latency | file | parameters | MMAC/s | licence |",
        "|---|---|---|---|---|---|",
    ]
    for path, card in pairs:
        rate = RATE_HZ / card.contract.hop_samples * (card.macs_per_frame or 0) / 1e6
        rows.append(
            f"| {card.name} | {card.latency_ms:g} ms | {path.stat().st_size:,} bytes "
            f"| {card.parameters:,} | {rate:.1f} | {card.licence} |"
        )
    return rows


def _scores(cards: Iterable[Card]) -> list[str]:
    rows = [
        "| model | arithmetic | SI-SDRi | PESQ | ESTOI | worse | speech at 40 dB: SI-SDR, PESQ "
        "| noise alone | int8 loses | kept |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for card in cards:
        rows += [
            _score_row(card.name, label, card.scores[engine], _lost(card, engine))
            for engine, label in ENGINES.items()
            if engine in card.scores
        ]
    return rows


def _score_row(name: str, label: str, scores: dict[str, Any], lost: str) -> str:
    mixes, clean, noise = scores["mixes"], scores["speech at 40 dB"], scores["noise alone"]
    return (
        f"| {name} | {label} | {mixes['si_sdri_db']:.2f} dB "
        f"| {mixes['pesq_noisy']:.3f} to {mixes['pesq_out']:.3f} "
        f"| {mixes['estoi_noisy']:.3f} to {mixes['estoi_out']:.3f} | {mixes['worse_share']:.1%} "
        f"| {clean['si_sdr_db_out']:.1f} dB, {clean['pesq_noisy']:.2f} to {clean['pesq_out']:.2f} "
        f"| -{noise['attenuation_db']:.1f} dB | {lost} | {_kept(mixes)} |"
    )


def _lost(card: Card, engine: str) -> str:
    """Return what int8 loses where the card has float's scores on the same clips; else ""."""
    ours, theirs = card.scores.get("exact"), card.scores.get("float")
    if engine != "exact" or not ours or not theirs or ours.get("seed") != theirs.get("seed"):
        return ""
    si_sdr_db, pesq = (
        theirs["mixes"][key] - ours["mixes"][key] for key in ("si_sdr_db_out", "pesq_out")
    )
    return f"{_zero(si_sdr_db, 2):.2f} dB, {_zero(pesq, 3):.3f}"


def _zero(value: float, digits: int) -> float:
    """Return the value rounded, without the sign of a zero."""
    return round(value, digits) + 0.0


def _kept(mixes: dict[str, float]) -> str:
    """Return the kept energy, which cards scored before it was measured do not have."""
    figures = [mixes.get(f"{part}_kept_db") for part in ("onsets", "fricatives")]
    return ", ".join(f"{value:.1f} dB" for value in figures if value is not None)


def _training(cards: Iterable[Card]) -> list[str]:
    return [
        f"- **{card.name}**, version {card.version}: {note}"
        for card in cards
        if (note := card.training.get("note"))
    ]


def _snr(card: Card) -> str:
    thirds = [name for name in next(iter(card.scores.values())) if name.startswith("mixes ")]
    ends = "..".join(name.split()[1] for name in thirds).split("..")
    return f"{ends[0]} to {ends[-1]} dB SNR" if thirds else "mixed SNRs"
