"""The C core by itself: warnings, sanitizers, bad arguments, and what it links to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import core_jobs, signals

COMPILERS = ["gcc", "clang"]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {program})")


@pytest.fixture(scope="module", params=COMPILERS)
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(request.param)
    directory = tmp_path_factory.mktemp("core")
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [request.param, *SANITIZERS, str(probe), "-o", str(directory / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{request.param} has no sanitizer runtime here")
    return core_jobs.build_driver(request.param, SANITIZERS, directory)


def test_sanitizers_find_nothing_in_frames(sanitized: Path) -> None:
    frames = signals.adversarial_frames(1000)
    result = core_jobs.run_driver([str(sanitized)], core_jobs.frames_job(frames))
    assert result == core_jobs.frames_result(frames, "numpy")


def test_sanitizers_find_nothing_in_streams(sanitized: Path) -> None:
    streams = list(core_jobs.streams(40))
    result = core_jobs.run_driver([str(sanitized)], b"".join(map(core_jobs.stream_job, streams)))
    assert result == b"".join(core_jobs.stream_result(s, "numpy") for s in streams)


def test_sanitizers_find_nothing_where_bad_arguments_get_status_codes(sanitized: Path) -> None:
    done = subprocess.run([str(sanitized), "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
def test_the_core_compiles_without_warnings(compiler: str, level: str, tmp_path: Path) -> None:
    need(compiler)
    core_jobs.build_driver(compiler, [level, "-Wsign-conversion", "-Wshadow"], tmp_path)


@pytest.mark.slow
def test_the_core_needs_nothing_but_memory_copies(tmp_path: Path) -> None:
    """No heap, no stdio, no libm, and no writable static data."""
    need("gcc")
    need("nm")
    flags = ["-std=c99", "-O2", "-fno-stack-protector", "-c", f"-I{core_jobs.CORE}"]
    subprocess.run(["gcc", *flags, *map(str, core_jobs.SOURCES)], cwd=tmp_path, check=True)
    objects = [str(o) for o in tmp_path.glob("*.o")]
    listing = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines() if len(line.split()) >= 2]
    foreign = {name for kind, name in symbols if kind == "U"}
    ours = {name for kind, name in symbols if kind in "TR"}
    assert foreign - ours <= {"memcpy", "memmove", "memset"}
    assert not [name for kind, name in symbols if kind in "BbDdC"]


@pytest.mark.slow
def test_a_missing_compiler_does_not_fail_the_install(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    pytest.importorskip("cffi")
    root = core_jobs.CORE.parent.parent
    shutil.copy(root / "setup.py", tmp_path)
    shutil.copytree(core_jobs.CORE, tmp_path / "edgesep" / "core")
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    no_compiler = os.environ | {"CC": "false"}
    done = subprocess.run(
        command, cwd=tmp_path, env=no_compiler, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stderr and not list(tmp_path.glob("edgesep/*.so"))
