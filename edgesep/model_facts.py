"""What can be said about a model: its card, its file, what it costs, and whether it is sound."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep import native
from edgesep.card import Card
from edgesep.contract import RATE_HZ
from edgesep.engine import ENGINE_NAMES, open_engine
from edgesep.engine.exact import compile_model
from edgesep.engine.graph import Graph, read_graph
from edgesep.errors import EdgesepError, EngineError, ModelError
from edgesep.models import find_model, list_models, read_model, user_folder, user_models

if TYPE_CHECKING:
    from edgesep.engine.plan import Plan

__all__ = ["Check", "ModelFacts", "facts", "graph_macs", "named_models", "verify"]

TRIAL_FRAMES = 16


@dataclass(frozen=True)
class ModelFacts:
    """Figures of one model, as `edgesep model list` and `show` print them."""

    name: str
    origin: str
    """"shipped", "own" (added by the user) or "path"."""
    path: str
    version: str
    sha256: str
    licence: str
    latency_ms: float
    hop_ms: float
    file_bytes: int
    parameters: int | None
    macs_per_frame: int
    macs_per_s: int
    memory_bytes: int | None
    """Of one stream with the exact engine, front end included; None where the core is not built."""


@dataclass(frozen=True)
class Check:
    """One step of a verification."""

    what: str
    """"card", "file", "graph", "cost", or the name of an engine."""
    ok: bool
    found: str
    """What is there, or what is wrong, in one line."""


def named_models() -> list[str]:
    """Names of all models that can be used by name: shipped ones, then the user's own."""
    return [*list_models(), *(name for name in user_models() if name not in list_models())]


def facts(model: str) -> ModelFacts:
    """Return the facts of a model, by name or path. Raises ModelError where it is not sound."""
    path, card = find_model(model)
    plan = compile_model(path, card)
    content = read_model(path, card)
    macs = graph_macs(read_graph(content))
    hop = card.contract.hop_samples
    return ModelFacts(
        name=card.name,
        origin=_origin(path),
        path=str(path),
        version=card.version,
        sha256=card.sha256,
        licence=card.licence,
        latency_ms=card.latency_ms,
        hop_ms=hop * 1000 / RATE_HZ,
        file_bytes=len(content),
        parameters=card.parameters,
        macs_per_frame=macs,
        macs_per_s=macs * RATE_HZ // hop,
        memory_bytes=_memory_bytes(card, plan),
    )


def graph_macs(graph: Graph) -> int:
    """Return the multiply-accumulates of one frame, counted in the graph itself."""
    return sum(_macs(operation) for operation in graph.operations)


def verify(model: str) -> Iterator[Check]:
    """Yield the checks of a model, by name or path, up to the first that fails.

    Card, SHA-256, every table and offset of the file, the ends against the card, the bounds of the
    arithmetic; then some frames with every engine that runs here. The bytes go to a runtime only
    after everything else has been found good.
    """
    what = "card"
    try:
        path, card = find_model(model)
        yield Check(what, True, f"{card.name} {card.version}, {card.latency_ms:g} ms")
        what = "file"
        content = read_model(path, card)
        yield Check(what, True, f"{len(content)} bytes, SHA-256 {card.sha256[:12]}...")
        what = "graph"
        compile_model(path, card)
        graph = read_graph(content)
        yield Check(what, True, f"{len(graph.operations)} operations, {len(card.states)} states")
    except EdgesepError as error:
        yield Check(what, False, str(error))
        return
    yield _check_cost(card, graph)
    for name in ENGINE_NAMES:
        yield _check_engine(name, path, card)


def _check_cost(card: Card, graph: Graph) -> Check:
    macs = graph_macs(graph)
    if card.macs_per_frame not in (None, macs):
        found = f"the card says {card.macs_per_frame} MACs per frame, the graph has {macs}"
        return Check("cost", False, found)
    return Check("cost", True, f"{macs} MACs per frame")


def _check_engine(name: str, path: Path, card: Card) -> Check:
    import numpy as np

    shape = (TRIAL_FRAMES, card.contract.bands, 2)
    frames = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    try:
        engine = open_engine(name, path, card)
        first = np.stack([engine.step(frame) for frame in frames])
        engine.reset()
        again = np.stack([engine.step(frame) for frame in frames])
    except EngineError as error:  # no fault of the model
        return Check(name, True, f"not tried: {error}")
    except ModelError as error:
        return Check(name, False, str(error))
    if not np.array_equal(first, again):
        return Check(name, False, "the same frames after a reset gave other masks")
    digest = hashlib.sha256(first.tobytes()).hexdigest()[:12]
    return Check(name, True, f"runs; mask of {TRIAL_FRAMES} random frames {digest}")


def _macs(operation: Any) -> int:
    if operation.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return 0
    weights = operation.inputs[1]
    _, height, width, channels = operation.output.shape
    if operation.kind == "CONV_2D":
        return int(height * width * weights.size)
    return int(height * width * channels * weights.shape[1] * weights.shape[2])


def _memory_bytes(card: Card, plan: Plan) -> int | None:
    return native.stream_memory_bytes(card.contract, plan) if native.available() else None


def _origin(path: Path) -> str:
    if path.parent == Path(__file__).parent / "models":
        return "shipped"
    return "own" if path.parent == user_folder() else "path"
