"""Isolate speech in recordings and live sound: integer arithmetic from hop to hop.

    isolate(samples, rate_hz)       a whole recording in memory
    Isolator().process(hop)         a stream, one hop after the other

Everything is imported when it is first used, so that `import edgesep` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgesep.errors import EdgesepError
    from edgesep.isolator import Isolator
    from edgesep.models import list_models
    from edgesep.offline import isolate
    from edgesep.settings import Settings

__all__ = ["EdgesepError", "Isolator", "Settings", "__version__", "isolate", "list_models"]

__version__ = "0.1.0"

_HOME = {
    "EdgesepError": "errors",
    "Isolator": "isolator",
    "Settings": "settings",
    "isolate": "offline",
    "list_models": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
