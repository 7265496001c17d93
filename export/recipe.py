"""One YAML recipe per model: what it hears, how it is built and trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from edgesep.contract import FrameContract
from edgesep.errors import SettingsError, unknown_name

from .bands import band_edges
from .graph import Graph, UNetShape, unet
from .loss_weights import LossWeights, TeacherTerm
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
    """The `training:` section: steps of `batch` clips; an epoch ends in a checkpoint.

    distinct_batches: after so many the same ones come again, which saves mixing (with a pool) and
    costs a small network nothing that can be measured; 0: no batch comes twice.
    bfloat16: compute the network in half as many bits, for GPUs that gain by it; weights, averages
    and loss stay float32.
    """

    steps: int = 8000
    epoch_steps: int = 250
    batch: int = 8
    clip_s: float = 4.0
    learning_rate: float = 0.002
    warmup_steps: int = 250
    weight_decay: float = 0.001
    ema_momentum: float = 0.998
    seed: int = 1
    distinct_batches: int = 0
    bfloat16: bool = False

    def batch_of(self, step: int) -> int:
        """Return the number of the batch that a step trains on."""
        return step % self.distinct_batches if self.distinct_batches else step


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model, apart from the audio.

    float_only: a teacher, larger than any device's budget; it is never converted.
    """

    name: str
    frame: FrameRecipe
    network: UNetShape
    mix: MixRanges
    loss: LossWeights
    training: Training
    teacher: TeacherTerm = field(default_factory=TeacherTerm)
    float_only: bool = False

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
    "teacher": TeacherTerm,
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
    _check_keys(f"recipe {path}", set(data), {"name", "float_only", *SECTIONS})
    sections: dict[str, Any] = {
        key: _section(path, key, kind, data.get(key) or {}) for key, kind in SECTIONS.items()
    }
    return Recipe(name=str(data["name"]), float_only=bool(data.get("float_only")), **sections)


def device_recipes() -> list[str]:
    """Return the names of the recipes whose models are made for devices, teachers left out."""
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    return [name for name in names if not load_recipe(name).float_only]


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
