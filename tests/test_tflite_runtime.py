"""edgesep with tflite-runtime, in an environment of its own: the same bytes as with LiteRT.

`scripts/tflite_runtime_env.sh` makes the environment under build/, once; where it cannot, for want
of a Python up to 3.11 or of a package index, these tests are skipped and say so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgesep.card import read_card
from edgesep.cli import main
from edgesep.coral.record import Record, record_path, record_text
from edgesep.engine.litert import LiteRTEngine
from edgesep.models import find_model, list_models
from tests.helpers import write_random_model
from tests.test_packaging import build_wheel
from tests.tflite_files import compiled_twin

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("EDGESEP_TFLITE_RUNTIME", ROOT / "build" / "tflite-runtime"))
LIMIT_S = 900
FRAMES = 200


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has tflite-runtime and no LiteRT."""
    made = subprocess.run(
        [str(ROOT / "scripts" / "tflite_runtime_env.sh"), str(FOLDER)],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"no tflite-runtime: {(made.stderr.strip() or 'no reason').splitlines()[-1]}")
    return FOLDER / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def bare(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """edgesep as it is installed there, without its core: `exact` runs the reference kernels."""
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77")
    folder = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(folder, None if has_compiler() else "/bin/false")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    site = folder / "site"
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    for core in (site / "edgesep").glob("_core*.so"):
        (folder / "core").mkdir()
        core.rename(folder / "core" / core.name)
    return site


@pytest.fixture(scope="module")
def cored(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its core, which needs no TFLite runtime for `exact`."""
    if not has_compiler():
        pytest.skip("building the core needs gcc and python3-dev")
    site = tmp_path_factory.mktemp("cored") / "site"
    shutil.copytree(bare, site)
    (core,) = (bare.parent / "core").iterdir()
    shutil.copy(core, site / "edgesep")
    return site


def has_compiler() -> bool:
    header = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which("gcc") is not None and header.exists()


def run(
    python: Path, paths: list[Path], *arguments: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run that Python, with these folders on its path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), **variables}
    return subprocess.run(
        [str(python), *map(str, arguments)],
        capture_output=True, text=True, env=environment, cwd="/", timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "noisy.wav"
    samples = np.random.default_rng(3).normal(0, 3000, 24_000).astype(np.int16)
    soundfile.write(path, samples, 16_000)
    return path


@pytest.mark.parametrize("site", ["cored", "bare"])
@pytest.mark.parametrize("model", list_models())
def test_files_have_the_bytes_of_litert(model, site, python, noisy, tmp_path, request):
    installed = request.getfixturevalue(site)
    arguments = [noisy, "--engine", "exact", "--model", model, "--quiet"]
    done = run(python, [installed], "-m", "edgesep", "file", *arguments, "-o", tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    here = ["file", *map(str, arguments), "-o", str(tmp_path / "b.wav")]
    assert main(here) == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


MASKS = """
import json, sys
from pathlib import Path
import numpy as np
from edgesep.card import read_card
from edgesep.engine.litert import LiteRTEngine
name, model, frames, out = sys.argv[1:]
engine = LiteRTEngine(name, Path(model), read_card(Path(model).with_suffix(".json")))
np.save(out, np.stack([engine.step(frame) for frame in np.load(frames)]))
print(json.dumps([engine.description, np.__version__]))
"""


def masks_there(
    name: str, model: Path, python: Path, site: Path, folder: Path
) -> tuple[NDArray[np.int8], NDArray[np.int8], str]:
    """Return the masks of random frames there, those of LiteRT here, and what ran there."""
    bands = read_card(model.with_suffix(".json")).contract.bands
    frames = np.random.default_rng(0).integers(-128, 128, (FRAMES, bands, 2)).astype(np.int8)
    np.save(folder / "frames.npy", frames)
    out = folder / "masks.npy"
    done = run(python, [site], "-c", MASKS, name, model, folder / "frames.npy", out)
    assert done.returncode == 0, done.stderr
    description, numpy = json.loads(done.stdout)
    assert numpy.startswith("1.")
    engine = LiteRTEngine(name, model, read_card(model.with_suffix(".json")))
    assert "ai-edge-litert" in engine.description
    return np.load(out), np.stack([engine.step(frame) for frame in frames]), description


@pytest.mark.parametrize("model", list_models())
def test_reference_kernels_have_the_bytes_of_litert(model, python, bare, tmp_path):
    path, _ = find_model(model)
    there, here, description = masks_there("exact", path, python, bare, tmp_path)
    assert description.startswith("exact: tflite-runtime 2.14.0, reference kernels")
    np.testing.assert_array_equal(there, here)


def test_the_fast_engine_runs_and_is_close(python, bare, tmp_path):
    model = write_random_model(tmp_path)
    there, here, description = masks_there("fast", model, python, bare, tmp_path)
    assert description.startswith("fast: tflite-runtime 2.14.0, ")
    # Its rounding is its own: close on the first frame, then through the states anything.
    assert np.abs(there[0].astype(int) - here[0]).mean() < 3


def test_the_runtime_can_be_chosen_where_both_are_installed(python, bare, tmp_path):
    litert = tmp_path / "both" / "ai_edge_litert"
    litert.mkdir(parents=True)
    (litert / "__init__.py").touch()
    (litert / "interpreter.py").write_text("raise ImportError('not this one')\n")
    code = "from edgesep.engine.runtime import runtime_version; print(runtime_version())"
    paths = [tmp_path / "both", bare]
    done = run(python, paths, "-c", code)
    assert "ai-edge-litert is installed but does not work here (not this one)" in done.stderr
    done = run(python, paths, "-c", code, EDGESEP_RUNTIME="tflite-runtime")
    assert done.stdout == "tflite-runtime 2.14.0\n"
    done = run(python, paths, "-c", code, EDGESEP_RUNTIME="tflite-runtme")
    assert "EDGESEP_RUNTIME: unknown runtime 'tflite-runtme': did you mean" in done.stderr


def test_numpy_2_is_one_clear_line(python, bare, noisy, tmp_path):
    paths = [FOLDER / "numpy2", bare]
    arguments = ["-m", "edgesep", "file", noisy, "-o", tmp_path / "out.wav"]
    done = run(python, paths, *arguments, "--engine", "fast")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "edgesep: error: tflite-runtime 2.14.0 does not work with NumPy 2."
    )
    assert "pip install 'numpy<2'" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: apt install gcc")
@pytest.mark.parametrize(("how", "expected"), [("", ""), ("crash", "crashed with SIGSEGV")])
def test_delegates_are_loaded_and_crashes_survived(how, expected, python, bare, tmp_path):
    library = tmp_path / "libedgetpu.so.1"
    source = ROOT / "tests" / "edgetpu_stand_in.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    model = write_random_model(tmp_path)
    twin = model.with_name(f"{model.stem}_edgetpu.tflite")
    twin.write_bytes(compiled_twin(model.read_bytes()))
    record_path(twin).write_text(record_text(record_of(model, twin)))
    code = (
        "import sys; from pathlib import Path; from edgesep.card import read_card; "
        "from edgesep.engine import open_engine; import numpy as np; path = Path(sys.argv[1]); "
        "engine = open_engine('edgetpu:usb', path, read_card(path.with_suffix('.json'))); "
        "engine.step(np.zeros((64, 2), np.int8)); print(engine.description)"
    )
    variables = {"EDGESEP_LIBEDGETPU": str(library), "STAND_IN": how}
    log = tmp_path / "log"
    done = run(python, [bare], "-c", code, model, **variables, STAND_IN_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert expected in done.stderr and done.stderr.count("\n") == (1 if expected else 0)
    assert done.stdout.startswith(
        "fast: tflite" if expected else "edgetpu:usb: tflite-runtime 2.14.0"
    )
    assert ("claimed 0" in log.read_text()) == (not expected)


def record_of(model: Path, twin: Path) -> Record:
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (model, twin))
    return Record(*digests, "none", 24)
