"""Coral's Edge TPU: check a model for it, compile one, see whether one can be used here."""

from __future__ import annotations

from edgesep.coral.device import Probe, probe

__all__ = ["Probe", "probe"]
