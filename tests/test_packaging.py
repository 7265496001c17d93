"""What a user meets first: the wheel, the commands, the sample, the settings files, the README."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgesep
from edgesep.config import KEYS, Config, read_yaml
from edgesep.firmware import firmware_boards
from edgesep.models import DEFAULT_MODEL, list_models
from edgesep.settings import Settings
from tests.helpers import write_random_model
from tests.sound import said

ROOT = Path(__file__).resolve().parent.parent
BOARDS = (
    "coral_dev_board",
    "coral_usb",
    "laptop",
    "raspberry_pi_4",
    "raspberry_pi_5",
    "raspberry_pi_zero_2w",
)
FOREIGN = {  # package that is imported -> distribution that brings it
    "_cffi_backend": "cffi",
    "ai_edge_litert": "ai-edge-litert",
    "numpy": "numpy",
    "rich": "rich",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "yaml": "pyyaml",
}
OPTIONAL = {"pyaudio"}  # what an extra brings; imported where it is needed
BUILD_TIME = {"edgesep/core/build.py"}
LOADED_BY_NAME = {"_cffi_backend", "ai_edge_litert"}  # by the compiled core, by the runtime

needs_default_model = pytest.mark.skipif(
    DEFAULT_MODEL not in list_models(), reason=f"the model {DEFAULT_MODEL} is not there"
)


# --- settings files ----------------------------------------------------------------------------


def test_every_board_has_a_settings_file() -> None:
    boards = {path.stem for path in (ROOT / "firmware_configs").iterdir()}
    assert boards - set(firmware_boards()) == set(BOARDS)


@pytest.mark.parametrize("board", BOARDS)
def test_a_settings_file_holds_only_what_the_product_reads(board: str) -> None:
    path = ROOT / "firmware_configs" / f"{board}.yaml"
    keys = read_yaml(path)
    config = Config.from_keys(keys)
    assert set(keys) >= set(KEYS) - {"separation.latency_ms"}
    assert config.model == DEFAULT_MODEL
    assert f"firmware_configs/{board}.yaml" in path.read_text()


# --- the sample and the demo -------------------------------------------------------------------


def test_the_sample_is_small_and_noisy() -> None:
    sizes = [(ROOT / "demo" / f"{name}.flac").stat().st_size for name in ("clean", "noisy")]
    assert sum(sizes) <= 400_000
    (clean, rate_hz), (noisy, noisy_rate_hz) = (
        soundfile.read(ROOT / "demo" / f"{name}.flac") for name in ("clean", "noisy")
    )
    assert rate_hz == noisy_rate_hz == 16000
    assert clean.shape == noisy.shape
    assert 8 <= len(clean) / rate_hz <= 10
    snr_db = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    assert snr_db == pytest.approx(5, abs=0.01)
    assert np.abs(noisy).max() < 0.9


def run_demo(*arguments: str | Path, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the demo with the edgesep below `path`; -S keeps an editable one out of its sight."""
    paths = [str(path), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-S", str(ROOT / "demo" / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def check_demo(out: Path, printed: str) -> dict[str, str]:
    """Check what the demo left, and return what it printed: title -> value."""
    noisy, speech, background = (
        soundfile.read(file, dtype="int16")[0].astype(int)
        for file in (ROOT / "demo/noisy.flac", out / "speech.wav", out / "background.wav")
    )
    assert (speech + background == noisy).all()
    assert (out / "spectrogram.png").read_bytes().startswith(b"\x89PNG")
    pairs = (re.split(r"\s{2,}", line, maxsplit=1) for line in printed.splitlines())
    values = dict(pairs)
    assert {"model", "SI-SDR in, out", "latency", "real-time factor"} < set(values)
    assert values["SI-SDR in, out"].startswith("5.1 dB")
    return values


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run_demo("--model", write_random_model(tmp_path), "--out", tmp_path / "out")
    assert (done.returncode, said(done.stderr)) == (0, [])
    values = check_demo(tmp_path / "out", done.stdout)
    assert values["latency"] == "16 ms"


@pytest.mark.slow
@needs_default_model
def test_the_demo_isolates_the_speech(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run_demo("--out", tmp_path)
    assert (done.returncode, said(done.stderr)) == (0, [])
    before_db, after_db = re.findall(r"([-\d.]+) dB", done.stdout)[:2]
    # A hard sample: fan and babble lie right under the voice. small-16ms gains 2.9 dB, and 6.2 on
    # average over recorded noises (README).
    assert float(after_db) >= float(before_db) + 2.5


def test_the_demo_ends_with_a_bad_model(tmp_path: Path) -> None:
    done = run_demo("--model", "nosuch", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "unknown model 'nosuch'" in done.stderr


# --- the wheel ---------------------------------------------------------------------------------


def build_wheel(folder: Path, compiler: str | None) -> Path:
    """Build the wheel from a copy of the checkout, without a network; return its path."""
    source = folder / "source"
    left_out = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for name in ("edgesep", "export", "firmware_configs", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=left_out)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    environment = {**os.environ, **({"CC": compiler} if compiler else {})}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("edgesep-*.whl")
    return wheel


@pytest.fixture(scope="module")
def bare_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of a machine without a C compiler."""
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77")
    return build_wheel(tmp_path_factory.mktemp("bare"), "/bin/false")


@pytest.mark.slow
def test_a_wheel_has_the_product_and_nothing_else(bare_wheel: Path) -> None:
    names = zipfile.ZipFile(bare_wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"edgesep", f"edgesep-{edgesep.__version__}.dist-info"}
    for folder, pattern in (("edgesep/core", "*.[ch]"), ("firmware_configs", "*.yaml"),
                            ("edgesep/models", "*.tflite"), ("edgesep/models", "*.json"),
                            ("edgesep/firmware", "*.json"), ("edgesep/firmware", "template/*"),
                            ("edgesep", "**/*.py")):  # fmt: skip
        target = folder if folder.startswith("edgesep") else f"edgesep/{folder}"
        for path in (ROOT / folder).glob(pattern):
            assert f"{target}/{path.relative_to(ROOT / folder)}" in names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.slow
def test_a_wheel_without_the_core_runs_and_says_so_once(bare_wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    installed = tmp_path / "installed"
    zipfile.ZipFile(bare_wheel).extractall(installed)
    out = tmp_path / "out"
    model = write_random_model(tmp_path)
    done = run_demo("--model", model, "--out", out, path=installed)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the C core is not built") == 1
    values = check_demo(out, done.stdout)
    assert "front end: numpy" in values["model"]


@pytest.mark.slow
def test_a_wheel_with_the_core_serves_every_python(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77")
    if shutil.which("gcc") is None or not python_headers():
        pytest.skip("building the core needs gcc and python3-dev")
    wheel = build_wheel(tmp_path, None)
    assert "-cp310-abi3-linux_" in wheel.name
    assert "edgesep/_core.abi3.so" in zipfile.ZipFile(wheel).namelist()


def python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def test_what_is_imported_is_declared() -> None:
    """The product imports its declared dependencies, the standard library, and nothing else."""
    imported = set()
    for path in (ROOT / "edgesep").rglob("*.py"):
        if str(path.relative_to(ROOT)) in BUILD_TIME:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "edgesep"]
            imported |= {name.partition(".")[0] for name in names}
    imported -= {"edgesep", *OPTIONAL, *sys.stdlib_module_names}
    assert imported | LOADED_BY_NAME == set(FOREIGN)
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    assert declared == set(FOREIGN.values())


# --- documents ---------------------------------------------------------------------------------


def test_the_changelog_knows_this_version() -> None:
    assert f"## {edgesep.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", (ROOT / "README.md").read_text(), re.M)
    listed = {name: default.strip() for name, default in rows}
    for field in fields(Settings):
        default = field.default
        shown = f"{default:g}" if isinstance(default, float) else str(default or "the model's")
        assert listed.get(field.name) == shown


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_files_and_commands_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
