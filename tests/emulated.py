"""Emulated Pythons for tests: the wheel built for them, installed into them, and run.

`scripts/emulated_python.py` makes them. The compiler is this machine's cross compiler, called by
the emulated Python: setuptools and pip see the other processor and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgesep import native
from edgesep.cli import main
from edgesep.models import list_models
from scripts.emulated_python import KNOWN, TREES, Tree
from tests import core_jobs, network_jobs, signals
from tests.helpers import BANDS, random_contract, write_random_model

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("edgesep", "export", "firmware_configs")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FRAMES, STREAMS = 10_000, 100
CLIP_SECONDS = 2.5
BACKENDS = ["c", "numpy"] if native.available() else ["numpy"]
NOT_SOURCE = ("*.so", "*.egg-info", "__pycache__")


def need(program: str, package: str) -> str:
    """Return where a program is, or skip."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (apt install {package})")
    return path


def tree(name: str) -> Tree:
    """Return a tree that is complete, or skip."""
    found = KNOWN[name]
    if not found.is_complete():
        pytest.skip(f"no emulated Python {name} (python scripts/emulated_python.py {name})")
    need(found.qemu, "qemu-user")
    return found


def python(
    where: Tree, *arguments: str | Path, timeout_s: float = 900, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the tree's Python, away from the checkout and from this machine's settings of pip."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    return subprocess.run(
        [where.command, *map(str, arguments)], capture_output=True, text=True, check=False,
        env={**kept, "PIP_CONFIG_FILE": os.devnull, **environment}, cwd=where.folder,
        timeout=timeout_s,
    )  # fmt: skip


def wheel(builder: Tree) -> Path:
    """Return edgesep's wheel for a tree's processor, built by that tree's Python."""
    folder = TREES / "wheels" / f"{builder.name}-{_checkout_hash()[:16]}"
    ready = list(folder.glob("*.whl"))
    if ready:
        return ready[0]
    need(builder.compiler, f"gcc-{builder.multiarch}")
    for old in folder.parent.glob(f"{builder.name}-*"):
        shutil.rmtree(old)
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    done = python(
        builder, "-c", "import os, sys; os.chdir(sys.argv.pop()); exec(open('setup.py').read())",
        "-q", "bdist_wheel", "-d", folder / "made", source,
        CC=builder.compiler, CFLAGS=f"-I{builder.system}/usr/include",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "made").glob("edgesep-*.whl")
    shutil.rmtree(source)
    return Path(shutil.move(made, folder / made.name))


def install(where: Tree, built: Path) -> None:
    """Install the wheel with the tree's own pip, which checks its tags and its dependencies."""
    mark = where.folder / "installed"
    if mark.is_file() and mark.read_text() == str(built):
        return
    mark.unlink(missing_ok=True)
    for old in where.site.glob("edgesep*"):
        shutil.rmtree(old)
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-compile")
    done = python(where, *pip, built)
    assert done.returncode == 0, done.stderr
    mark.write_text(str(built))


RUN = """
import json, sys
import edgesep
from edgesep import native
from edgesep.cli import main
status = [main(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps({"status": status, "file": edgesep.__file__, "core": native.available()}))
"""


def run_commands(where: Tree, commands: Iterable[list[str]]) -> dict[str, object]:
    """Run command lines of edgesep one after the other in one emulated process.

    Returns their exit "status", the "file" of the package, whether it has its "core", and
    "stderr".
    """
    done = python(where, "-c", RUN, json.dumps(list(commands)))
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


def check_core(run: list[str], compiler: str, folder: Path) -> None:
    """Build the core's driver with a cross compiler, run it with `run`, compare every byte."""
    driver = [*run, str(core_jobs.build_driver(compiler, ["-O3", "-static"], folder))]
    frames = signals.adversarial_frames(FRAMES, 11)
    result = core_jobs.run_driver(driver, core_jobs.frames_job(frames))
    for backend in BACKENDS:
        assert result == core_jobs.frames_result(frames, backend)
    streams = list(core_jobs.streams(STREAMS))
    result = core_jobs.run_driver(driver, b"".join(map(core_jobs.stream_job, streams)))
    for backend in BACKENDS:
        assert result == b"".join(core_jobs.stream_result(s, backend) for s in streams)
    done = subprocess.run([*driver, "check"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def check_network(run: list[str], compiler: str, folder: Path) -> None:
    """Build the int8 kernels with a cross compiler, run them with `run`, compare every mask."""
    model = write_random_model(folder)
    driver = network_jobs.build_network_driver(compiler, ["-O3", "-static"], folder, model)
    for features in (
        network_jobs.speech_features(random_contract(), 1000),
        network_jobs.random_features(1000, BANDS),
    ):
        result = core_jobs.run_driver([*run, str(driver)], features.tobytes())
        assert result == network_jobs.masks(model, features).tobytes()


def isolate_both(
    where: Tree, folder: Path, engines: Iterable[str]
) -> tuple[dict[tuple[str, str], tuple[np.ndarray, np.ndarray]], dict[str, object]]:
    """Run `edgesep file` with every shipped model and these engines, here and in the tree.

    Returns the int16 samples of here and there by (model, engine), after comparing nothing but
    the exit status, and what `run_commands` says.
    """
    sound, rate_hz = soundfile.read(ROOT / "demo" / "noisy.flac", dtype="int16")
    clip = folder / "clip.wav"
    soundfile.write(clip, sound[: round(CLIP_SECONDS * rate_hz)], rate_hz)
    pairs = [(model, engine) for model in list_models() for engine in engines]
    (folder / "there").mkdir()
    (folder / "here").mkdir()

    def commands(place: str) -> list[list[str]]:
        return [
            ["file", str(clip), "-o", str(folder / place / f"{model}-{engine}.wav"), "--quiet",
             "--model", model, "--engine", engine]
            for model, engine in pairs
        ]  # fmt: skip

    said = run_commands(where, commands("there"))
    assert said["status"] == [0] * len(pairs), said
    assert Path(str(said["file"])).is_relative_to(where.site)
    results = {}
    for (model, engine), command in zip(pairs, commands("here"), strict=True):
        if engine == "auto":  # what runs there
            command[-1] = "exact"
        assert main(command) == 0
        results[model, engine] = tuple(
            soundfile.read(folder / place / f"{model}-{engine}.wav", dtype="int16")[0]
            for place in ("here", "there")
        )
        assert len(results[model, engine][0]) == round(CLIP_SECONDS * rate_hz)
    return results, said


def assert_same_bytes(results: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]) -> None:
    """Compare the samples of here and there; say how many differ, and by how much."""
    problems = []
    for (model, engine), (here, there) in results.items():
        apart = np.abs(here.astype(int) - there)
        if apart.any():
            problems.append(
                f"{model} with {engine}: {np.count_nonzero(apart)} of {len(here)} samples differ, "
                f"by up to {apart.max()}"
            )
    assert not problems, problems


def _checkout_hash() -> str:
    """Return a hash of all that a wheel is made from."""
    digest = hashlib.sha256()
    paths = [ROOT / name for name in FILES]
    for name in SOURCES:
        paths += sorted(p for p in (ROOT / name).rglob("*") if p.is_file())
    for path in paths:
        if not any(path.match(pattern) for pattern in NOT_SOURCE) and "__pycache__" not in str(
            path
        ):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
