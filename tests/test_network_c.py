"""The network in C by itself: warnings, sanitizers, bad arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgesep.card import read_card
from edgesep.engine.exact import compile_model
from edgesep.engine.source import network_source
from tests import core_jobs, network_jobs
from tests.helpers import BANDS, random_contract, write_random_model

SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FRAMES = 500


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {program})")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["gcc", "clang"])
def sanitized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path
) -> Path:
    need(request.param)
    directory = tmp_path_factory.mktemp("network")
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [request.param, *SANITIZERS, str(probe), "-o", str(directory / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{request.param} has no sanitizer runtime here")
    return network_jobs.build_network_driver(request.param, SANITIZERS, directory, model)


def test_sanitizers_find_nothing(sanitized: Path, model: Path) -> None:
    for features in (
        network_jobs.speech_features(random_contract(), FRAMES),
        network_jobs.random_features(FRAMES, BANDS),
    ):
        result = core_jobs.run_driver([str(sanitized)], features.tobytes())
        assert result == network_jobs.masks(model, features).tobytes()


def test_sanitizers_find_nothing_where_bad_arguments_get_status_codes(sanitized: Path) -> None:
    done = subprocess.run([str(sanitized), "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_tables_and_driver_compile_without_warnings(
    compiler: str, model: Path, tmp_path: Path
) -> None:
    need(compiler)
    flags = ["-O1", "-Wsign-conversion", "-Wshadow"]
    network_jobs.build_network_driver(compiler, flags, tmp_path, model)


def test_equal_models_give_equal_source(model: Path, tmp_path: Path) -> None:
    again = write_random_model(tmp_path)
    plans = [compile_model(m, read_card(m.with_suffix(".json"))) for m in (model, again)]
    first, second = (network_source(plan, "network", "a */ comment") for plan in plans)
    assert first == second
    assert first.startswith("/* a ?/ comment */\n")
    assert max(map(len, first.splitlines())) <= 100
