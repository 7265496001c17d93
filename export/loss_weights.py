"""How much each part of the training loss counts; apart from `loss.py`, which needs Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """What counts how much (a recipe's `loss:` section).

    magnitude, complex: of the compressed spectra; suppression: extra on magnitudes below the
    target's; si_sdr_db: per dB of SI-SDR, which is cut off above `si_sdr_ceiling_db`; loudness:
    of a PESQ-like disturbance, per point; envelopes: of one minus an ESTOI-like correlation
    (`perceptual.py`).
    """

    magnitude: float = 0.7
    complex: float = 0.3
    suppression: float = 0.3
    si_sdr_db: float = 0.01
    si_sdr_ceiling_db: float = 30.0
    loudness: float = 0.0
    envelopes: float = 0.0


@dataclass(frozen=True)
class TeacherTerm:
    """What a larger network adds to the loss (a recipe's `teacher:` section; `distill.py`).

    recipe: its name, "" for none; its float weights lie in build/NAME or export/weights. weight:
    of the distance between the student's sound and its own, beside the target's.
    """

    recipe: str = ""
    weight: float = 0.5
