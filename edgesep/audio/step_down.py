"""Which smaller models stand ready for an overload."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgesep.card import Card
from edgesep.errors import ModelError, SettingsError
from edgesep.isolator import with_latency
from edgesep.live_settings import AUTO, OFF, parse_step_down
from edgesep.models import find_model, list_models, user_models

__all__ = ["smaller_models"]


def smaller_models(model: str, step_down: str, latency_ms: float | None = None) -> list[str]:
    """Return the models to step down to from `model`, the first step first.

    step_down: "auto": every shipped model, one of the user's, or one beside `model` that needs
    fewer multiplications and has the same hop and latency; "off": none; else names or paths,
    parted by commas. latency_ms: of the settings.
    Raises ModelError for a model that cannot be read, SettingsError for one that does not fit.
    """
    path, card = find_model(model)
    if step_down == OFF:
        return []
    if step_down != AUTO:
        return [_fitting(name, card, latency_ms) for name in parse_step_down(step_down)]
    found: dict[Path, tuple[int, str]] = {}
    for name in _candidates(path):
        try:
            other_path, other = find_model(name)
        except ModelError:  # not asked for, so not worth a word here: `edgesep model verify`
            continue
        size = _size(other_path, other, path, card)
        if size < 0 and _times(other, latency_ms) == _times(card, latency_ms):
            found.setdefault(other_path.resolve(), (size, name))
    return [name for _, name in sorted(found.values(), reverse=True)]


def _candidates(path: Path) -> Iterable[str]:
    yield from list_models()
    yield from user_models()
    yield from (str(file) for file in sorted(path.parent.glob("*.tflite")))


def _size(path: Path, card: Card, reference: Path, reference_card: Card) -> int:
    """Return by how much it is larger: in multiplications where cards say them, else in bytes."""
    if card.macs_per_frame is not None and reference_card.macs_per_frame is not None:
        return card.macs_per_frame - reference_card.macs_per_frame
    return path.stat().st_size - reference.stat().st_size


def _times(card: Card, latency_ms: float | None) -> tuple[int, int] | None:
    """Return hop and latency in samples, None where the model does not run at `latency_ms`."""
    try:
        contract = with_latency(card.contract, latency_ms)
    except SettingsError:
        return None
    return contract.hop_samples, contract.latency_samples


def _fitting(name: str, card: Card, latency_ms: float | None) -> str:
    times, wanted = _times(find_model(name)[1], latency_ms), _times(card, latency_ms)
    if times != wanted:
        raise SettingsError(
            f"overload.step_down: {name} has another hop or latency than {card.name}: "
            "give models with the same, or auto, or off"
        )
    return name
