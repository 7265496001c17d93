"""Folded weights of a recipe -> NAME.tflite and NAME.json, checked by running them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from edgesep.card import Card, StateSpec, write_card
from edgesep.engine import open_engine
from edgesep.errors import ModelError

from .check_model import check_file
from .feed import Source, make_batch
from .float_model import float_mask
from .graph import Graph
from .qgraph import FEATURES_SCALE, QGraph, state_columns
from .quantization import Calibration, load_calibration
from .recipe import Recipe
from .tflite import write_tflite

CALIBRATION_BATCHES = 16
CALIBRATION_FIRST = 1 << 41  # batch numbers that training never reaches
LICENCE = "Apache-2.0"
KEPT = Path(__file__).parent / "weights"
"""The float weights of the shipped models."""


def load_weights(path: Path) -> dict[str, np.ndarray]:
    """Read what training left. Raises ModelError where it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read weights ({error}); run `train` first") from error


def convert(
    recipe: Recipe,
    weights_path: Path,
    source: Source | None,
    folder: Path,
    training: dict[str, object],
    quantization: Path | None = None,
    version: str = "1",
) -> Path:
    """Quantize, write model and card into `folder`, run both; return the model's path.

    source: sound to calibrate with. quantization: what `quantize` wrote, instead of any sound.
    version: of the model, for its card.
    Raises ModelError where the weights do not belong to the recipe, the quantization not to the
    weights, or the graph breaks the model contract, or for a teacher; then nothing is written.
    """
    if recipe.float_only:
        raise ModelError(f"{recipe.name} is a teacher, too large for a device: it stays float")
    graph, weights = recipe.graph(), load_weights(weights_path)
    check_weights(graph, weights, weights_path)
    clips: list[np.ndarray] = []
    if quantization:
        calibration = load_calibration(quantization, graph, weights)
    elif source:
        clips = calibration_clips(recipe, source)
        calibration = Calibration.of(graph, weights, clips)
    else:
        raise ModelError("convert calibrates with sound, or packs what `quantize` wrote: name one")
    qgraph = calibration.quantized(graph, weights, recipe.name)
    content = write_tflite(qgraph)
    card = make_card(recipe, graph, qgraph, content, training, version)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder) as scratch:
        trial = Path(scratch) / f"{recipe.name}.tflite"
        trial.write_bytes(content)
        write_card(card, trial.with_suffix(".json"))
        for finding in check_file(trial):
            if not finding.ok:
                raise ModelError(f"{recipe.name}: {finding.what}: {finding.found}")
        said = f"{len(content)} bytes"
        if clips:
            error = mask_error(trial, card, graph, weights, clips[:4])
            said += f", mask int8 - float: {error:.4f} rms"
        path = folder / trial.name
        for part in (trial.with_suffix(".json"), trial):  # a model is there when its file is
            part.replace(folder / part.name)
    print(f"{path}: {said}")
    return path


def calibration_clips(recipe: Recipe, source: Source) -> list[np.ndarray]:
    """Return the clips, int8 features (frames, bands, 2), that ranges are taken from."""
    mixer = source.mixer(recipe)
    return [
        clip
        for i in range(CALIBRATION_BATCHES)
        for clip in make_batch(mixer, recipe, CALIBRATION_FIRST + i)[0]
    ]


def check_weights(graph: Graph, weights: dict[str, np.ndarray], path: Path) -> None:
    """Raise ModelError where a layer's weights are missing or of another shape."""
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        taps = (layer.kernel_frames, layer.kernel_bands)
        fan = () if layer.kind == "depthwise" else (graph.shape(layer.inputs[0])[1],)
        expected = {"kernel": (*taps, *fan, layer.channels), "bias": (layer.channels,)}
        for part, shape in expected.items():
            found = (
                weights[f"{layer.name}/{part}"].shape if f"{layer.name}/{part}" in weights else None
            )
            if found != shape:
                raise ModelError(
                    f"{path}: {layer.name}/{part} is {found}, the recipe wants {shape}; "
                    "name the recipe that trained them, or a file with a copy of it"
                )


def make_card(
    recipe: Recipe,
    graph: Graph,
    qgraph: QGraph,
    content: bytes,
    training: dict[str, object],
    version: str = "1",
) -> Card:
    """Return the card of a model file's content."""
    tensors = qgraph.by_name()
    states = []
    for name, column in state_columns(qgraph).items():
        _, taps, width, channels = tensors[f"taps.{name}"].shape
        dilation = graph.layers[name].dilation
        states.append(StateSpec(name, taps, dilation, width, channels, column))
    return Card(
        name=recipe.name,
        version=version,
        sha256=hashlib.sha256(content).hexdigest(),
        contract=recipe.frame.contract(),
        states=tuple(states),
        licence=LICENCE,
        parameters=graph.parameters(),
        macs_per_frame=graph.macs_per_frame(),
        training=training,
    )


def mask_error(
    path: Path, card: Card, graph: Graph, weights: dict[str, np.ndarray], clips: list[np.ndarray]
) -> float:
    """Return the RMS distance between the int8 mask (reference kernels) and the float one."""
    engine = open_engine("exact", path, card)
    errors = []
    for clip in clips:
        engine.reset()
        ours = np.stack([engine.step(frame).copy() for frame in clip])
        wanted = float_mask(graph, weights, clip.astype(np.float32) * np.float32(FEATURES_SCALE))
        errors.append((ours.astype(np.float32) + 128.0) / 256.0 - wanted)
    return float(np.sqrt(np.mean(np.square(errors))))
