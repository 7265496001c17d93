"""Wheel and source package as users get them: in an environment of their own, without a checkout.

The network is not used: dependencies are those of the environment that runs the tests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from tests.test_packaging import build_wheel, python_headers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CHECK = ROOT / "tests" / "check_install.py"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, cwd="/",
        env={**kept, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def fresh_environment(folder: Path) -> Path:
    """Make an environment with the dependencies of this one, and no edgesep; return its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout
    # A path file's lines are not searched for path files: an editable edgesep stays out of sight.
    Path(site.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, package: Path, **environment: str) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
    run(*pip, "install", *options, package, **environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77")
    if shutil.which("gcc") is None or not python_headers():
        pytest.skip("building the core needs gcc and python3-dev")
    return build_wheel(tmp_path_factory.mktemp("wheel"), None)


@pytest.fixture(scope="module")
def source_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source package of a copy of the checkout."""
    pytest.importorskip("setuptools", "77", reason="building needs setuptools 77")
    folder = tmp_path_factory.mktemp("sdist")
    left_out = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for name in ("edgesep", "firmware_configs", "tests", "export"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=left_out)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = "import os, sys; os.chdir(sys.argv.pop()); exec(open('setup.py').read())"
    run(sys.executable, "-c", build, "-q", "sdist", "-d", folder, folder / "source")
    (made,) = folder.glob("edgesep-*.tar.gz")
    return made


def check_found(found: str, python: Path) -> None:
    """Check what check_install.py printed: all that the checkout has was installed."""
    said = json.loads(found.splitlines()[-1])
    assert Path(said["where"]).is_relative_to(python.parent.parent)
    assert said["boards"] == sorted(p.stem for p in (ROOT / "firmware_configs").glob("*.yaml"))
    assert said["models"] == sorted(p.stem for p in (ROOT / "edgesep/models").glob("*.tflite"))


def test_an_installed_wheel_finds_all_its_files(wheel: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "venv")
    install(python, wheel)
    check_found(run(python, CHECK).stdout, python)
    assert "edgesep 0." in run(tmp_path / "venv" / "bin" / "edgesep", "--version").stdout


def test_a_wheel_suits_old_systems(wheel: Path) -> None:
    pytest.importorskip("auditwheel", reason="pip install '.[release]' brings auditwheel")
    shown = run(sys.executable, "-m", "auditwheel", "show", wheel).stdout
    tag = re.search(r'"manylinux_2_(\d+)_\w+"', shown)
    assert tag, shown
    assert int(tag[1]) <= 28  # LiteRT's is 2.27: nothing older gets it anyway


def test_the_source_package_installs_without_a_compiler(
    source_package: Path, tmp_path: Path
) -> None:
    """The install goes on without the core, and what runs says so, in one line."""
    with tarfile.open(source_package) as package:
        names = {Path(*Path(name).parts[1:]) for name in package.getnames()}
    for pattern in ("core/*.[ch]", "models/*", "firmware/template/*"):
        for path in (ROOT / "edgesep").glob(pattern):
            if path.is_file():
                assert path.relative_to(ROOT) in names, path
    python = fresh_environment(tmp_path / "venv")
    install(python, source_package, CC="/bin/false")
    done = run(python, CHECK, "--no-core")
    check_found(done.stdout, python)
    assert [line for line in done.stderr.splitlines() if "the C core is not built" in line] == (
        done.stderr.splitlines()
    )
    assert len(done.stderr.splitlines()) == 1


def test_the_lowest_versions_are_the_declared_ones() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = dict(re.match(r"([\w-]+)>=([\d.]+)", d).groups() for d in project["dependencies"])
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert tested.keys() == declared.keys()
    for name, version in tested.items():
        assert re.fullmatch(re.escape(declared[name]) + r"(\.0)*", version), name


@pytest.mark.parametrize(
    ("platform", "wheels"),
    [
        ("linux", ["manylinux_x86_64", "manylinux_aarch64", "manylinux_armv7l"]),
        ("macos", ["macosx_arm64"]),
        ("windows", ["win_amd64"]),
    ],
)
def test_cibuildwheel_builds_one_wheel_per_platform(platform: str, wheels: list[str]) -> None:
    if importlib.util.find_spec("cibuildwheel") is None:
        pytest.skip("cibuildwheel is not installed (pip install '.[release]')")
    command = ("--platform", platform, "--print-build-identifiers", ROOT)
    archs = {"linux": "x86_64 aarch64 armv7l", "macos": "arm64", "windows": "AMD64"}[platform]
    done = run(sys.executable, "-m", "cibuildwheel", *command)
    assert done.stdout.split() == [f"cp310-{name}" for name in wheels]
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text()
    for arch in archs.split():
        assert f"archs: {arch} " in workflow
