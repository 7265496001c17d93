"""What something beside the exact engine adds to a project, such as the files for an Ethos-U."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """Files and figures that go into a project with the rest, or not at all."""

    name: str
    """Key of its figures in MANIFEST.json."""
    files: Mapping[str, bytes]
    """Path in the project -> content; each in a folder of its own, such as "npu/model.c"."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What stands in MANIFEST.json: numbers and texts."""
