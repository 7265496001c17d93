"""The same bits on 64-bit Arm, emulated by qemu: core, NumPy twin, and the installed wheel.

The Pythons are those of Raspberry Pi OS bookworm and trixie; `scripts/emulated_python.py` makes
them. One wheel, built under the first, is installed in both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import core_jobs, emulated, signals

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

TREES = ["arm64-bookworm", "arm64-trixie"]


@pytest.fixture(scope="module")
def wheel() -> Path:
    return emulated.wheel(emulated.tree("arm64-bookworm"))


def test_the_core_has_the_same_bits(tmp_path: Path) -> None:
    qemu = emulated.need("qemu-aarch64", "qemu-user")
    compiler = emulated.need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    emulated.check_core([qemu], compiler, tmp_path)


def test_the_network_has_the_same_bits(tmp_path: Path) -> None:
    qemu = emulated.need("qemu-aarch64", "qemu-user")
    compiler = emulated.need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    emulated.check_network([qemu], compiler, tmp_path)


def test_one_wheel_serves_every_python(wheel: Path) -> None:
    assert "-cp310-abi3-linux_aarch64" in wheel.name


@pytest.mark.parametrize("name", TREES)
def test_the_installed_wheel_gives_the_same_bytes(name: str, wheel: Path, tmp_path: Path) -> None:
    """The fast engine's, too: LiteRT has the same version, on another processor."""
    tree = emulated.tree(name)
    emulated.install(tree, wheel)
    results, said = emulated.isolate_both(tree, tmp_path, ["exact", "fast"])
    assert said["core"] is True
    emulated.assert_same_bytes(results)


TWIN = """
import platform, sys
sys.path.insert(0, sys.argv[1])  # the checkout, whose compiled core is for another processor
import numpy as np
from edgesep import native
from tests import core_jobs
frames = np.load(sys.argv[2])
result = core_jobs.frames_result(frames, "numpy")
result += b"".join(core_jobs.stream_result(s, "numpy") for s in core_jobs.streams(4))
open(sys.argv[3], "wb").write(result)
print(platform.machine(), native.available())
"""


def test_the_emulated_numpy_twin_has_the_same_bits(tmp_path: Path) -> None:
    frames = signals.adversarial_frames(emulated.FRAMES, 12)
    np.save(tmp_path / "frames.npy", frames)
    tree = emulated.tree("arm64-bookworm")
    done = emulated.python(
        tree, "-c", TWIN, emulated.ROOT, tmp_path / "frames.npy", tmp_path / "result"
    )
    assert (done.returncode, done.stdout) == (0, "aarch64 False\n"), done.stderr
    backend = emulated.BACKENDS[0]
    expected = core_jobs.frames_result(frames, backend)
    expected += b"".join(core_jobs.stream_result(s, backend) for s in core_jobs.streams(4))
    assert (tmp_path / "result").read_bytes() == expected
