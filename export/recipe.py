"""One YAML recipe per model: what it hears, how it is built and trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from edgesep.contract import FrameContract
from edgesep.errors import SettingsError, unknown_name

from .bands import band_edges
from .graph import Graph, UNetShape, unet
from .loss_weights import LossWeights
from .mix import MixRanges

FEATURE_CHANNELS = 2
RECIPES = Path(__file__).parent / "recipes"

T = TypeVar("T")


@dataclass(frozen=True)
class FrameRecipe:
    """The `frame:` section; bands and single_bins make the band table."""

    hop_samples: int = 128
    fade_samples: int = 128
    bands: int = 128
    single_bins: int = 64
    floor_rise_shift: int = 8
    floor_fall_shift: int = 3

    def contract(self) -> FrameContract:
        """Return the frame contract that goes into the card."""
        return FrameContract(
            self.hop_samples,
            self.fade_samples,
            band_edges(self.bands, self.single_bins),
            self.floor_rise_shift,
            self.floor_fall_shift,
        )


@dataclass(frozen=True)
class Training:
    """The `training:` section: steps of `batch` clips; an epoch ends in a checkpoint."""

    steps: int = 8000
    epoch_steps: int = 250
    batch: int = 8
    clip_s: float = 4.0
    learning_rate: float = 0.002
    warmup_steps: int = 250
    weight_decay: float = 0.001
    ema_momentum: float = 0.998
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model, apart from the audio."""

    name: str
    frame: FrameRecipe
    network: UNetShape
    mix: MixRanges
    loss: LossWeights
    training: Training

    def graph(self) -> Graph:
        """Return the network's layers."""
        return unet(self.frame.bands, FEATURE_CHANNELS, self.network)

    @property
    def clip_frames(self) -> int:
        """Frames of one training clip."""
        return int(self.training.clip_s * 16000) // self.frame.hop_samples

    @property
    def clip_samples(self) -> int:
        """Samples of one training clip."""
        return self.clip_frames * self.frame.hop_samples


SECTIONS: dict[str, type] = {
    "frame": FrameRecipe,
    "network": UNetShape,
    "mix": MixRanges,
    "loss": LossWeights,
    "training": Training,
}


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by name (export/recipes/NAME.yaml) or path.

    Raises SettingsError for an unknown recipe, section or key, with the nearest valid one.
    """
    path = RECIPES / f"{name_or_path}.yaml"
    if not path.exists():
        path = Path(name_or_path)
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise SettingsError(f"recipe {name_or_path}: {error}; known recipes: {known}") from error
    if not isinstance(data, dict) or "name" not in data:
        raise SettingsError(f"recipe {path}: no `name:` in it; copy one of {RECIPES}")
    _check_keys(f"recipe {path}", set(data), {"name", *SECTIONS})
    sections: dict[str, Any] = {
        key: _section(path, key, kind, data.get(key) or {}) for key, kind in SECTIONS.items()
    }
    return Recipe(name=str(data["name"]), **sections)


def _section(path: Path, key: str, kind: type[T], values: dict[str, Any]) -> T:
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _check_keys(f"recipe {path}: {key}", set(values), fields)
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingsError(f"recipe {path}: {key}: {error}") from error


def _check_keys(where: str, given: set[str], known: set[str]) -> None:
    for key in sorted(given - known):
        raise SettingsError(f"{where}: {unknown_name('key', key, sorted(known))}")
