"""Projects for an Ethos-U: what Vela makes of a model, and the code that would run it."""

from __future__ import annotations

import importlib.util
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
from edgesep.card import read_card
from edgesep.cli import main
from edgesep.engine.graph import read_graph
from edgesep.errors import EngineError, ModelError
from edgesep.firmware import npu as npu_module
from edgesep.firmware.layout import read_layout
from edgesep.firmware.npu import ACCELERATORS, compile_for_npu
from edgesep.models import find_model, list_models
from export.tflite import write_tflite
from tests import network_jobs, tflm_jobs
from tests.core_jobs import STRICT
from tests.helpers import write_random_model
from tests.test_tflite_writer import one_layer
from tests.tflm_jobs import error_of, need

pytestmark = pytest.mark.skipif(not native.available(), reason="the C core is not built")

BOARD = "cortex_m55_ethos_u55"
NPU = "ethos-u55-128"

needs_vela = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="needs `pip install 'edgesep[npu]'`"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("npu") / "project"
    assert main(["firmware", *arguments(model, folder)]) == 0
    return folder


def arguments(model: Path, folder: Path, npu: str = NPU, board: str = BOARD) -> list[str]:
    return ["--board", board, "--npu", npu, "--model", str(model), "-o", str(folder)]


def quantizations(content: bytes) -> dict[bytes, tuple[float, int]]:
    """Return scale and zero point of the ends: what the frame path puts in and takes out."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)).subgraphs[0]
    ends = [tree.tensors[i] for i in (*tree.inputs, *tree.outputs)]
    return {t.name: (t.quantization.scale[0], t.quantization.zeroPoint[0]) for t in ends}


# --- Vela ----------------------------------------------------------------------------------------


@needs_vela
@pytest.mark.slow
def test_the_names_are_those_that_vela_takes() -> None:
    command = [sys.executable, "-m", "ethosu.vela", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"--accelerator-config \{([^}]*)\}", text)
    assert found is not None
    assert set(re.sub(r"\s", "", found[1]).split(",")) == set(ACCELERATORS)


@needs_vela
@pytest.mark.slow
@pytest.mark.parametrize("npu", [NPU, "ethos-u65-256", "ethos-u85-256"])
@pytest.mark.parametrize("name", list_models())
def test_shipped_models_run_on_the_npu_alone(name: str, npu: str) -> None:
    path, card = find_model(name)
    compiled = compile_for_npu(path.read_bytes(), npu, name)
    layout = read_layout(compiled.content)
    assert layout.counts() == {"ethos-u": 1}
    graph = read_graph(path.read_bytes())
    assert set(layout.inputs) == {tensor.name for tensor in graph.inputs}
    assert set(layout.outputs) == {tensor.name for tensor in graph.outputs}
    assert quantizations(compiled.content) == quantizations(path.read_bytes())
    estimate = compiled.estimate
    print(f"{name} on {npu}: {estimate}")
    assert (estimate.cpu_operators, estimate.memory_mode) == (0, "Shared_Sram")
    assert estimate.npu_operators > 20
    assert estimate.flash_bytes > 0.5 * (card.parameters or 0)  # Vela compresses weights
    assert 0 < estimate.sram_bytes < layout.arena_bytes()
    hop_cycles = estimate.npu_clock_mhz * 1e3 * card.contract.hop_samples / 16
    assert 1000 < estimate.cycles_per_hop < hop_cycles


@needs_vela
@pytest.mark.slow
def test_operators_that_would_stay_on_the_cpu_are_listed() -> None:
    wide = one_layer("depthwise", (3, 3), (1, 5), "SAME", "none", 1, 0.01, 3, 1)  # strides: to 3
    with pytest.raises(ModelError, match=r"leave 1 operators .*: DEPTHWISE_CONV_2D makes 'y'$"):
        compile_for_npu(write_tflite(wide), NPU, "wide")


@needs_vela
@pytest.mark.slow
def test_a_file_that_vela_cannot_read_is_one_line() -> None:
    with pytest.raises(EngineError, match="Vela") as caught:
        compile_for_npu(b"\x1c\0\0\0TFL3" + bytes(100), NPU, "broken")
    assert "\n" not in str(caught.value)


# --- the project ---------------------------------------------------------------------------------


@needs_vela
@pytest.mark.slow
def test_a_project_holds_the_compiled_model_and_velas_figures(
    project: Path, model: Path, tmp_path: Path
) -> None:
    content = tflm_jobs.model_bytes(project / "npu")
    compiled = compile_for_npu(model.read_bytes(), NPU, "model")
    assert content == compiled.content
    resolver = (project / "npu" / "edgesep_resolver.h").read_text()
    assert re.findall(r"resolver\.(\w+)\(\)", resolver) == ["AddEthosU"]
    figures = json.loads((project / "MANIFEST.json").read_text())["npu"]
    estimate = compiled.estimate
    assert figures["cycles_per_hop"] == estimate.cycles_per_hop
    assert (figures["sram_bytes"], figures["flash_bytes"]) == (
        estimate.sram_bytes,
        estimate.flash_bytes,
    )
    share = estimate.cycles_per_hop / (estimate.npu_clock_mhz * 1e6 * 0.008)
    assert figures["percent_of_hop"] == pytest.approx(100 * share, abs=0.051)
    assert figures["arena_bytes"] == tflm_jobs.define(project / "npu", "EDGESEP_ARENA_BYTES")
    assert figures["arena_bytes"] > estimate.sram_bytes
    files = [p for p in (project / "npu").iterdir() if p.is_file()]
    assert not [p for p in files if re.search(r"@[A-Z_]+@", p.read_text())]
    again = tmp_path / "again"
    assert main(["firmware", *arguments(model, again)]) == 0
    names = sorted(p.relative_to(project) for p in project.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((project / n).read_bytes() == (again / n).read_bytes() for n in names)


def test_bad_input_is_one_line_and_leaves_nothing(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "new"
    wrong = error_of(capsys, *arguments(model, target, npu="ethos-u55-129"))
    assert "did you mean 'ethos-u55-12" in wrong
    assert "cortex_m4f has no Ethos-U" in error_of(
        capsys, *arguments(model, target, board="cortex_m4f")
    )
    monkeypatch.setattr(npu_module.importlib.util, "find_spec", lambda _: None)
    assert "pip install 'edgesep[npu]'" in error_of(capsys, *arguments(model, target))
    assert not list(tmp_path.iterdir())


# --- the generated code --------------------------------------------------------------------------


@needs_vela
@pytest.mark.slow
def test_the_code_runs_with_stand_ins_for_tflm_and_the_driver(
    project: Path, model: Path, tmp_path: Path
) -> None:
    """Strict C and C++; starts the NPU, feeds the states back, in the compiled model's order."""
    need("gcc")
    need("g++")
    folder = project / "npu"
    content = tflm_jobs.model_bytes(folder)
    compilers = ("gcc", "g++")
    program = tflm_jobs.build(folder, project / "core", content, compilers, ["-O1"], tmp_path)
    card = read_card(model.with_suffix(".json"))
    frames = network_jobs.random_features(30, card.contract.bands)
    done = subprocess.run([program], input=frames.tobytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    layout = read_layout(content)
    ends = [list(names) for names in (layout.inputs, layout.outputs)]
    truth = tflm_jobs.stub_masks(read_graph(model.read_bytes()), card, *ends, frames).tobytes()
    assert np.unique(np.frombuffer(truth, np.int8)).size > 20
    assert done.stdout == truth + truth


@needs_vela
@pytest.mark.slow
def test_the_makefile_builds_the_library(project: Path, tmp_path: Path) -> None:
    for program in ("make", "gcc", "g++"):
        need(program)
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    content = tflm_jobs.model_bytes(project / "npu")
    members = tflm_jobs.make_library(copy / "npu", content, tmp_path)
    assert {"edgesep_ethosu.o", "edgesep_tflm.o", "edgesep_frontend.o"} <= set(members)
    assert "edgesep_network.o" not in members


@needs_vela
@pytest.mark.slow
def test_the_code_compiles_with_the_headers_of_tflm_and_the_driver(project: Path) -> None:
    sources = os.environ.get("EDGESEP_TFLM_SOURCES")
    if sources is None:
        pytest.skip("EDGESEP_TFLM_SOURCES does not name a folder as benchmarks/tflm.py wants it")
    driver = Path(sources) / "ethos-u-core-driver" / "include"
    if not driver.is_dir():
        pytest.skip("EDGESEP_TFLM_SOURCES has no ethos-u-core-driver")
    parts = ("tflite-micro", "flatbuffers/include", "gemmlowp", "ruy")
    includes = [f"-isystem{Path(sources) / part}" for part in parts]
    includes += [f"-isystem{driver}", f"-I{project / 'npu'}", f"-I{project / 'core'}"]
    cxx = ["g++", *tflm_jobs.STRICT_CXX, "-DTF_LITE_STATIC_MEMORY"]
    jobs: list[Any] = [(cxx, "edgesep_tflm.cc"), (["gcc", *STRICT], "edgesep_ethosu.c")]
    for command, name in jobs:
        done = subprocess.run(
            [*command, "-fsyntax-only", *includes, str(project / "npu" / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
