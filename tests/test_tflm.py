"""What TFLM users get: the model's bytes, its operators, a large enough arena, the frame loop."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesep import native
from edgesep.card import Card, read_card
from edgesep.cli import main
from edgesep.engine import open_engine
from edgesep.engine.graph import read_graph
from edgesep.models import find_model, list_models
from tests import network_jobs, tflm_jobs
from tests.helpers import write_random_model
from tests.test_exact import TFLMEngine, features, steps
from tests.tflm_jobs import SANITIZERS, error_of, need

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

MODELS = ["random 0", *list_models()]
QUICK_AND_SLOW = ["random 0", *(pytest.param(n, marks=pytest.mark.slow) for n in list_models())]
RESOLVER = {
    "ADD": "AddAdd",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "LOGISTIC": "AddLogistic",
    "RESHAPE": "AddReshape",
}
FRAMES = 300


class Folders(dict[str, tuple[Path, Card, Path]]):
    """A model's path, card, and what `--for tflm` made of it, when first asked for."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self._base = base

    def __missing__(self, name: str) -> tuple[Path, Card, Path]:
        path, card = named_model(name, self._base)
        folder = self._base / name.replace(" ", "-")
        assert main(["firmware", "--for", "tflm", "--model", str(path), "-o", str(folder)]) == 0
        self[name] = (path, card, folder)
        return self[name]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("tflm"))


def named_model(name: str, base: Path) -> tuple[Path, Card]:
    if not name.startswith("random"):
        return find_model(name)
    path = write_random_model(base)
    return path, read_card(path.with_suffix(".json"))


# --- the folder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK_AND_SLOW)
def test_the_folder_holds_the_model_and_the_operators_it_needs(
    name: str, folders: dict[str, Any]
) -> None:
    path, card, folder = folders[name]
    content = path.read_bytes()
    assert tflm_jobs.model_bytes(folder) == content
    kinds = [operation.kind for operation in read_graph(content).operations]
    resolver = (folder / "edgesep_resolver.h").read_text()
    assert set(re.findall(r"resolver\.(\w+)\(\)", resolver)) == {RESOLVER[kind] for kind in kinds}
    assert f"MicroMutableOpResolver<{len(set(kinds))}>" in resolver
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["tflm"]["operators"] == {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    assert manifest["tflm"]["arena_bytes"] == tflm_jobs.define(folder, "EDGESEP_ARENA_BYTES")
    assert manifest["model"]["sha256"] == card.sha256
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "MANIFEST.json"]
    hashes = {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    assert manifest["files"] == hashes
    assert not [p for p in files if re.search(r"@[A-Z_]+@", p.read_text())]


def test_a_folder_is_the_same_from_run_to_run(folders: dict[str, Any], tmp_path: Path) -> None:
    path, _, first = folders["random 0"]
    second = tmp_path / "again"
    assert main(["firmware", "--for", "tflm", "--model", str(path), "-o", str(second)]) == 0
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_bad_input_is_one_line_and_leaves_nothing(
    folders: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = folders["random 0"]
    target = ("-o", str(tmp_path / "new"))
    assert "--board is missing" in error_of(capsys, *target)
    for extra in (("--board", "cortex_m4f"), ("--npu", "ethos-u55-128"), ("--measure",)):
        assert f"{extra[0]} does not go" in error_of(capsys, "--for", "tflm", *extra, *target)
    assert "unknown model" in error_of(capsys, "--for", "tflm", "--model", "nosuch", *target)
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(path.read_bytes()[:-1])
    shutil.copy(path.with_suffix(".json"), damaged.with_suffix(".json"))
    assert "damaged" in error_of(capsys, "--for", "tflm", "--model", str(damaged), *target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged.json", "damaged.tflite"]
    assert "not an empty folder" in error_of(capsys, "--for", "tflm", "-o", str(tmp_path))


# --- TFLM itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK_AND_SLOW)
def test_tflm_gives_the_exact_bytes_in_the_arena_that_is_stated(
    name: str, folders: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("tflite_micro", reason="needs `pip install --pre tflite-micro`")
    path, card, folder = folders[name]
    model = tmp_path / "model.tflite"
    model.write_bytes(tflm_jobs.model_bytes(folder))
    arena_bytes = tflm_jobs.define(folder, "EDGESEP_ARENA_BYTES")
    halves = [features(kind, card, FRAMES // 2) for kind in ("speech", "random")]
    frames = np.concatenate(halves)
    tflm = steps(TFLMEngine(model, card, arena_bytes), frames)
    np.testing.assert_array_equal(tflm, steps(open_engine("exact", path, card), frames))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_arena_that_is_stated_is_large_enough_and_not_wasteful(
    name: str, folders: dict[str, Any]
) -> None:
    """TFLM's reference kernels on this machine need less: they ask for no scratch buffers."""
    pytest.importorskip("tflite_micro", reason="needs `pip install --pre tflite-micro`")
    path, _, folder = folders[name]
    command = [sys.executable, str(Path(__file__).with_name("tflm_arena.py")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    least = int(done.stdout.splitlines()[-1])
    stated = tflm_jobs.define(folder, "EDGESEP_ARENA_BYTES")
    print(f"{name}: TFLM takes {least} bytes here, {stated} are stated")
    assert least <= stated <= 1.3 * least + 5000


# --- the generated code --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compilers", "flags"), [(("gcc", "g++"), SANITIZERS), (("clang", "clang++"), ["-O0"])]
)
def test_generated_code_feeds_states_back_as_the_frame_path_does(
    compilers: tuple[str, str], flags: list[str], folders: dict[str, Any], tmp_path: Path
) -> None:
    """Not TFLM but a stand-in with its interface, whose network spoils its inputs."""
    for compiler in compilers:
        need(compiler)
    path, card, folder = folders["random 0"]
    content = path.read_bytes()
    program = tflm_jobs.build(folder, folder / "core", content, compilers, flags, tmp_path)
    frames = network_jobs.random_features(40, card.contract.bands)
    done = subprocess.run([program], input=frames.tobytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    graph = read_graph(content)
    ends = [[tensor.name for tensor in tensors] for tensors in (graph.inputs, graph.outputs)]
    truth = tflm_jobs.stub_masks(graph, card, *ends, frames).tobytes()
    assert done.stdout == truth + truth  # the driver starts over once


@pytest.mark.slow
def test_the_makefile_builds_the_library(folders: dict[str, Any], tmp_path: Path) -> None:
    for program in ("make", "gcc", "g++"):
        need(program)
    path, _, folder = folders["random 0"]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    members = tflm_jobs.make_library(copy, path.read_bytes(), tmp_path)
    assert {"edgesep.o", "edgesep_tflm.o", "model_data.o", "edgesep_frontend.o"} <= set(members)


@pytest.mark.parametrize("name", MODELS)
def test_generated_code_compiles_with_the_headers_of_tflm(
    name: str, folders: dict[str, Any]
) -> None:
    sources = os.environ.get("EDGESEP_TFLM_SOURCES")
    if sources is None:
        pytest.skip("EDGESEP_TFLM_SOURCES does not name a folder as benchmarks/tflm.py wants it")
    _, _, folder = folders[name]
    parts = ("tflite-micro", "flatbuffers/include", "gemmlowp", "ruy")
    includes = [f"-isystem{Path(sources) / part}" for part in parts]
    command = ["g++", *tflm_jobs.STRICT_CXX, "-fsyntax-only", "-DTF_LITE_STATIC_MEMORY", *includes]
    command += [f"-I{folder}", f"-I{folder / 'core'}", str(folder / "edgesep_tflm.cc")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
