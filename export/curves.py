"""Training curves of one or several runs in one picture: loss and dev SI-SDR improvement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .plots import figure, save_png
from .train_log import LogRow


def draw_curves(logs: Mapping[str, list[LogRow]], path: Path) -> None:
    """Write a PNG with a line per run over its steps; `logs` maps a run's label to its epochs."""
    made, ((loss, gain),) = figure(1, 2, 11.0, 4.0)
    for label, rows in logs.items():
        steps = [row.step for row in rows]
        loss.plot(steps, [row.loss for row in rows], label=label)
        gain.plot(steps, [row.dev_si_sdri_db for row in rows], label=label)
    loss.set(xlabel="step", ylabel="training loss, mean of an epoch")
    gain.set(xlabel="step", ylabel="dev SI-SDR improvement, dB")
    for axes in (loss, gain):
        axes.grid(alpha=0.3)
        axes.legend()
    save_png(made, path)
