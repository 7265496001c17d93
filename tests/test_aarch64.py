"""The same bits on aarch64, emulated by qemu: the C core, and the NumPy twin where Python runs.

`scripts/aarch64_sysroot.sh` makes the emulated Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from tests import core_jobs, network_jobs, signals
from tests.helpers import BANDS, random_contract, write_random_model

pytestmark = pytest.mark.aarch64

ROOT = Path(__file__).resolve().parent.parent
SYSROOT = Path(os.environ.get("EDGESEP_AARCH64", ROOT / "build" / "aarch64"))
FRAMES = 10_000


def need(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (apt install {package})")
    return path


@pytest.fixture(scope="module")
def emulated_core(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command that runs the core's driver, built for aarch64."""
    qemu = need("qemu-aarch64", "qemu-user")
    compiler = need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    directory = tmp_path_factory.mktemp("aarch64")
    return [qemu, str(core_jobs.build_driver(compiler, ["-O3", "-static"], directory))]


BACKENDS = ["c", "numpy"] if native.available() else ["numpy"]


def test_frames_have_the_same_bits(emulated_core: list[str]) -> None:
    frames = signals.adversarial_frames(FRAMES, 11)
    result = core_jobs.run_driver(emulated_core, core_jobs.frames_job(frames))
    for backend in BACKENDS:
        assert result == core_jobs.frames_result(frames, backend)


def test_streams_have_the_same_bits(emulated_core: list[str]) -> None:
    streams = list(core_jobs.streams(100))
    result = core_jobs.run_driver(emulated_core, b"".join(map(core_jobs.stream_job, streams)))
    for backend in BACKENDS:
        assert result == b"".join(core_jobs.stream_result(s, backend) for s in streams)


def test_bad_arguments_get_status_codes(emulated_core: list[str]) -> None:
    done = subprocess.run([*emulated_core, "check"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_network_has_the_same_bits(tmp_path: Path) -> None:
    qemu = need("qemu-aarch64", "qemu-user")
    compiler = need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    model = write_random_model(tmp_path)
    flags = ["-O3", "-static"]
    driver = network_jobs.build_network_driver(compiler, flags, tmp_path, model)
    for features in (
        network_jobs.speech_features(random_contract(), 1000),
        network_jobs.random_features(1000, BANDS),
    ):
        result = core_jobs.run_driver([qemu, str(driver)], features.tobytes())
        assert result == network_jobs.masks(model, features).tobytes()


TWIN = """
import sys
import numpy as np
from edgesep import native
from tests import core_jobs
frames = np.load(sys.argv[1])
result = core_jobs.frames_result(frames, "numpy")
result += b"".join(core_jobs.stream_result(s, "numpy") for s in core_jobs.streams(4))
open(sys.argv[2], "wb").write(result)
import platform
print(platform.machine(), native.available())
"""


def test_the_emulated_numpy_twin_has_the_same_bits(tmp_path: Path) -> None:
    python = SYSROOT / "python"
    if not python.exists():
        pytest.skip("no emulated Python (scripts/aarch64_sysroot.sh makes it)")
    frames = signals.adversarial_frames(FRAMES, 12)
    np.save(tmp_path / "frames.npy", frames)
    command = [str(python), "-c", TWIN, str(tmp_path / "frames.npy"), str(tmp_path / "result")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "aarch64 False\n"), done.stderr
    expected = core_jobs.frames_result(frames, BACKENDS[0])
    expected += b"".join(core_jobs.stream_result(s, BACKENDS[0]) for s in core_jobs.streams(4))
    assert (tmp_path / "result").read_bytes() == expected
