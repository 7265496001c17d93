"""Count the instructions of single steps on emulated boards and fit edgesep/firmware/costs.json.

    python benchmarks/firmware_costs.py [--write] [--profile MODEL]

Wants gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm and the extras dev and export.
Prints how far the estimate of a whole hop lies from its count, for every model and processor;
--write replaces costs.json: do that when kernels have changed. --profile prints the counts of
a model's steps, the largest first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edgesep.card import write_card
from edgesep.engine.exact import compile_model
from edgesep.firmware import generate, read_board
from edgesep.firmware.boards import Board
from edgesep.firmware.costs import frame_terms, processor, step_terms
from edgesep.firmware.measure import INSTRUCTION_NS, tool_versions
from edgesep.models import find_model
from edgesep.settings import Settings
from export.convert import make_card
from export.graph import Graph, UNetShape
from export.quantize import calibrate, quantize
from export.recipe import RECIPES, Recipe, load_recipe
from export.tflite import write_tflite
from tests.helpers import write_random_model

BOARDS = ("cortex_m4f", "cortex_m7", "cortex_m33", "cortex_m55")
COSTS = ROOT / "edgesep" / "firmware" / "costs.json"
PROFILE = Path(__file__).with_name("firmware_profile.c")
SHAPES = {  # name -> hop, shape: nets beside those of export/recipes
    "odd": (32, UNetShape((6, 10, 22, 36), 50, (1, 3, 9), 3)),
    "wide": (256, UNetShape((24, 40, 56, 72), 120, (1, 2, 4, 8, 16, 32))),
}


def random_weights(graph: Graph) -> dict[str, np.ndarray]:
    """Return weights of unit gain for every layer."""
    rng = np.random.default_rng(0)
    weights = {}
    for layer in graph.layers.values():
        if layer.has_weights:
            fan = () if layer.kind == "depthwise" else (graph.shape(layer.inputs[0])[1],)
            shape = (layer.kernel_frames, layer.kernel_bands, *fan, layer.channels)
            gain = 1 / np.sqrt(np.prod(shape[:-1]))
            weights[f"{layer.name}/kernel"] = (rng.normal(size=shape) * gain).astype(np.float32)
            weights[f"{layer.name}/bias"] = np.zeros(layer.channels, np.float32)
    return weights


def recipes() -> list[Recipe]:
    """Return the recipes of models, and those of SHAPES."""
    found = [load_recipe(path.stem) for path in sorted(RECIPES.glob("*.yaml"))]
    for name, (hop, shape) in SHAPES.items():
        frame = replace(found[0].frame, hop_samples=hop, fade_samples=min(hop, 128))
        found.append(replace(found[0], name=name, network=shape, frame=frame))
    return found


def write_model(recipe: Recipe, folder: Path) -> Path:
    """Write the model of a recipe with random weights; return its path."""
    graph = recipe.graph()
    weights = random_weights(graph)
    clip = np.random.default_rng(1).integers(-128, 128, (20, recipe.frame.bands, 2))
    qgraph = quantize(
        graph, weights, calibrate(graph, weights, [clip.astype(np.int8)]), recipe.name
    )
    content = write_tflite(qgraph)
    path = folder / f"{recipe.name}.tflite"
    path.write_bytes(content)
    write_card(make_card(recipe, graph, qgraph, content, {}), path.with_suffix(".json"))
    return path


def profile(board: Board, model: str, project: Path) -> tuple[float, float, list[float]]:
    """Return instructions of the front end, of an empty network, and of each step.

    project: folder that keeps the core's objects from model to model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "project"
        generate(board.roomy(), model, Settings(), fresh)
        if not project.exists():
            fresh.rename(project)
        else:
            for path in (fresh / "model").iterdir():
                path.rename(project / "model" / path.name)
    (project / "example" / "main_wav.c").write_text(PROFILE.read_text())
    make = ["make", "-s", "-C", str(project)]
    run(["rm", "-rf", f"{project}/build/model", f"{project}/build/example/main_wav.o"])
    run(["rm", "-f", f"{project}/build/edgesep.o"])
    run([*make, "firmware.elf"])
    assert board.qemu is not None
    scale = board.qemu.tick_ns / INSTRUCTION_NS
    rows = [line.split() for line in run([*make, "qemu", "IN=x", "OUT=x"]).splitlines()]
    found = defaultdict(list)
    for kind, ticks in rows:
        found[kind].append(int(ticks) * scale)
    return found["frame"][0], found["none"][0], found["step"]


def run(command: list[str]) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stdout


def fit(rows: dict[str, list[tuple[tuple[float, ...], float]]]) -> dict[str, list[float]]:
    """Return for each kind the costs with the least squares of relative errors."""
    costs = {}
    for kind, pairs in sorted(rows.items()):
        numbers = np.array([terms for terms, _ in pairs], np.float64)
        counts = np.array([count for _, count in pairs])
        weight = 1 / np.sqrt(np.maximum(counts, 1))  # between absolute and relative errors
        scale = np.maximum(np.abs(numbers).max(axis=0), 1)
        solution = np.linalg.lstsq(numbers / scale * weight[:, None], counts * weight, rcond=1e-9)
        costs[kind] = [float(f"{x:.6g}") for x in solution[0] / scale]
    return costs


def print_profile(board: Board, model: str, folder: Path) -> None:
    """Print the counts of a model's steps."""
    path, card = find_model(model)
    plan = compile_model(path, card)
    groups = (plan.filters, plan.filters, plan.sums, plan.copies, plan.recalls, plan.lookups)
    frame, _, steps = profile(board, model, folder / board.name)
    kinds = [kind for kind, _ in step_terms(plan)]
    names = [groups[kind][index].name for kind, index in plan.steps]
    print(f"\n{board.name}: front end {frame:,.0f}, network {sum(steps):,.0f}")
    for count, kind, name in sorted(zip(steps, kinds, names, strict=True), reverse=True):
        print(f"{count:12,.0f}  {kind:<12} {name}")


def main() -> None:
    """Print the errors of the fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"replace {COSTS.name}")
    parser.add_argument("--profile", metavar="MODEL", help="print the steps of a model and end")
    arguments = parser.parse_args()
    tools = tool_versions()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        boards = [read_board(name) for name in BOARDS]
        if arguments.profile:
            for board in boards:
                print_profile(board, arguments.profile, folder)
            return
        models = [str(write_model(recipe, folder)) for recipe in recipes()]
        models += [str(write_random_model(folder, hop)) for hop in (64, 128)]
        costs = {}
        for board in boards:
            costs[processor(board.cpu_flags)] = fit_board(board, models, folder)
    if arguments.write:
        document = {"tools": tools, "processors": costs}
        COSTS.write_text(json.dumps(document, indent=2) + "\n")


def fit_board(board: Board, models: list[str], folder: Path) -> dict[str, list[float]]:
    """Count the steps of all models on a board, fit, and print the errors."""
    rows: dict[str, list[tuple[tuple[float, ...], float]]] = defaultdict(list)
    whole = []
    for model in models:
        path, card = find_model(model)
        plan = compile_model(path, card)
        frame, none, counts = profile(board, model, folder / board.name)
        terms = [frame_terms(card.contract), *step_terms(plan)]
        counts = [frame + none, *counts]
        for (kind, numbers), count in zip(terms, counts, strict=True):
            rows[kind].append((numbers, count))
        whole.append((card.name, terms, sum(counts)))
    costs = fit(rows)
    print(f"\n{board.name}")
    for name, terms, count in whole:
        guess = sum(np.dot(costs[kind], numbers) for kind, numbers in terms)
        print(f"  {name:<14} counted {count:>10,.0f}  estimated {100 * (guess / count - 1):+.1f}%")
    return costs


if __name__ == "__main__":
    main()
