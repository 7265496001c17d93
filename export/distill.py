"""Learn from a larger network, the teacher, beside the target.

The teacher's masks of the same mixtures travel with the target. The student's sound is compared
with the teacher's after both masks were applied to the same noisy spectrum, by the measure of the
loss itself: what nobody hears, a mask in a silent band, counts nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.errors import SettingsError

from .float_model import Weights
from .graph import Graph
from .loss_weights import TeacherTerm
from .recipe import Recipe, load_recipe
from .team import Team


def load_teacher(recipe: Recipe) -> tuple[Any, Path] | None:
    """Return the recipe's teacher as a Keras model with the path of its weights, None without one.

    Raises SettingsError for a teacher whose frames are cut otherwise than the student's, ModelError
    for one without weights.
    """
    if not recipe.teacher.recipe:
        return None
    from .convert import KEPT, check_weights, load_weights
    from .network import build_network

    teacher = load_recipe(recipe.teacher.recipe)
    check_frames(recipe, teacher)
    trained = Path("build") / teacher.name / "weights.npz"
    path = trained if trained.exists() else KEPT / f"{teacher.name}.npz"
    weights, graph = load_weights(path), teacher.graph()
    check_weights(graph, weights, path)
    model = build_network(graph, recipe.clip_frames)
    set_folded(model, graph, weights)
    return model, path


def check_frames(student: Recipe, teacher: Recipe) -> None:
    """Raise SettingsError where two recipes' networks do not hear the same features."""
    for field in dataclasses.fields(student.frame):
        ours, theirs = (getattr(r.frame, field.name) for r in (student, teacher))
        if ours != theirs:
            raise SettingsError(
                f"teacher {teacher.name} has {field.name} {theirs}, {student.name} has {ours}: "
                "name a teacher with the same `frame:` section"
            )


def set_folded(model: Any, graph: Graph, weights: Weights) -> None:
    """Put folded weights into a Keras model for inference: its normalisations only add biases."""
    from .network import normalised

    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        key = layer.name.replace(".", "_")
        conv, bias = model.get_layer(key), weights[f"{layer.name}/bias"]
        conv.kernel.assign(weights[f"{layer.name}/kernel"])
        if not normalised(layer):
            conv.bias.assign(bias)
            continue
        norm = model.get_layer(f"{key}_norm")
        norm.gamma.assign(bias * 0.0 + (1.0 + norm.epsilon) ** 0.5)
        norm.beta.assign(bias)
        norm.moving_mean.assign(bias * 0.0)
        norm.moving_variance.assign(bias * 0.0 + 1.0)


def with_masks(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], teacher: Any, team: Team
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the batches, the teacher's masks behind the hops: (clips, frames, 2 * hop + bands)."""
    for features, hops in batches:
        with team.apart():
            masks = teacher.predict_on_batch(features)
        yield features, np.concatenate([hops, masks], axis=-1)


def objective(loss: Any, term: TeacherTerm) -> Callable[[Any, Any], Any]:
    """Return what is minimised: of hops, with a teacher's masks behind them if any, and the mask.

    loss: a `ResynthesisLoss`.
    """
    if not term.recipe:
        return lambda hops, mask: loss(hops, mask)

    def both(target: Any, mask: Any) -> Any:
        hops, told = target[..., : 2 * loss.hop], target[..., 2 * loss.hop :]
        return loss(hops, mask) + term.weight * loss.distance(hops, mask, told)

    return both
