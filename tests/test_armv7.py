"""The same bits on 32-bit Arm, emulated by qemu, where there is no TFLite runtime to install.

The Python is that of Raspberry Pi OS trixie (32-bit) with NumPy and the rest from Debian;
`scripts/emulated_python.py` makes it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import emulated

pytestmark = [pytest.mark.aarch64, pytest.mark.slow]

CPU = ["-cpu", "cortex-a7"]  # of a Raspberry Pi 2


@pytest.fixture(scope="module")
def wheel() -> Path:
    return emulated.wheel(emulated.tree("armhf-trixie"))


def test_the_core_has_the_same_bits(tmp_path: Path) -> None:
    qemu = emulated.need("qemu-arm", "qemu-user")
    compiler = emulated.need("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
    emulated.check_core([qemu, *CPU], compiler, tmp_path)


def test_the_network_has_the_same_bits(tmp_path: Path) -> None:
    qemu = emulated.need("qemu-arm", "qemu-user")
    compiler = emulated.need("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
    emulated.check_network([qemu, *CPU], compiler, tmp_path)


def test_one_wheel_serves_every_python(wheel: Path) -> None:
    assert "-cp310-abi3-linux_armv7l" in wheel.name


def test_the_installed_wheel_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """And chooses the exact engine by itself, which it says in one line."""
    tree = emulated.tree("armhf-trixie")
    emulated.install(tree, wheel)
    results, said = emulated.isolate_both(tree, tmp_path, ["exact", "auto"])
    assert said["core"] is True
    emulated.assert_same_bytes(results)
    lines = str(said["stderr"]).splitlines()
    assert [line for line in lines if "the engine 'exact' runs" in line] == lines
    assert len(lines) == 1


def test_the_fast_engine_says_what_is_missing(wheel: Path, tmp_path: Path) -> None:
    tree = emulated.tree("armhf-trixie")
    emulated.install(tree, wheel)
    clip, out = emulated.ROOT / "demo" / "noisy.flac", tmp_path / "out.wav"
    said = emulated.run_commands(tree, [["file", str(clip), "-o", str(out), "--engine", "fast"]])
    assert said["status"] == [1]
    assert "no TFLite runtime is installed" in str(said["stderr"])
    assert not out.exists()
