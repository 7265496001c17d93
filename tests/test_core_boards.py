"""The front end on emulated Cortex-M boards: the host's bytes, and what its parts take."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from edgesep.firmware import read_board
from tests import core_jobs, signals
from tests.firmware_jobs import BOARDS, build, figures, make, need_board_tools, project
from tests.helpers import write_random_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not native.available(), reason="the C core is not built"),
]

INSTRUCTION_NS = 64  # of the Makefile's -icount shift=6
ADVERSARIAL_FRAMES = 2500  # a board
STFT = ("analysis", "inverse", "window", "overlap_add")
STFT_LIMITS = {
    "cortex_m4f": 75_000,
    "cortex_m7": 75_000,
    "cortex_m33": 75_000,
    "cortex_m55": 14_000,
}
# Instructions of a hop's STFT and inverse, and of the front end's other parts, gcc 12.2; one more
# in fifty fails.
STFT_INSTRUCTIONS = {
    "cortex_m33": 60_076,
    "cortex_m4f": 59_627,
    "cortex_m55": 13_860,
    "cortex_m7": 59_362,
}
OTHER_INSTRUCTIONS = {
    "cortex_m33": 15_786,
    "cortex_m4f": 15_787,
    "cortex_m55": 11_035,
    "cortex_m7": 15_742,
}


@functools.cache
def sound_frames() -> np.ndarray:
    """Return histories of speech, noise, silence, impulses ..: (n, 512) int16."""
    frames = [signals.history_frames(x, 512) for x in signals.signals(16000).values()]
    return np.concatenate(frames)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("models"))


def driver(board: str, model: Path, folder: Path) -> Path:
    """Return a project whose example is core_board.c."""
    project(board, model, folder)
    source = Path(__file__).with_name("core_board.c").read_text()
    included = core_jobs.DRIVER.read_text()
    whole = source.replace('#include "core_driver.c"', included)
    (folder / "example" / "main_wav.c").write_text(whole)
    return folder


def run(folder: Path, job: bytes) -> tuple[bytes, str]:
    """Return the results of jobs, and what was printed."""
    (folder / "jobs").write_bytes(job)
    printed = make(folder, "qemu", f"IN={folder / 'jobs'}", f"OUT={folder / 'results'}")
    return (folder / "results").read_bytes(), printed


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_has_the_bytes_of_the_host(board: str, model: Path, tmp_path: Path) -> None:
    need_board_tools()
    folder = driver(board, model, tmp_path / "project")
    build(folder, board, "firmware.elf")
    check_bytes(folder, seed=BOARDS.index(board))
    check_instructions(board, folder)


def check_bytes(folder: Path, seed: int) -> None:
    adversarial = signals.adversarial_frames(ADVERSARIAL_FRAMES, 20 + seed)
    frames = np.concatenate((sound_frames(), adversarial))
    streams = list(core_jobs.streams(30, seed))
    jobs = core_jobs.frames_job(frames) + b"".join(map(core_jobs.stream_job, streams))
    results, _ = run(folder, jobs)
    expected = core_jobs.frames_result(frames, "c")
    assert results[: len(expected)] == expected
    assert results[len(expected) :] == b"".join(core_jobs.stream_result(s, "c") for s in streams)


def check_instructions(board: str, folder: Path) -> None:
    """Print what the parts of a hop take, and hold it against the targets and the tables."""
    frames = signals.history_frames(signals.speech_like(16000, -3), 256)[2:]
    _, printed = run(folder, core_jobs.frames_job(frames).replace(b"F", b"C", 1))
    qemu = read_board(board).qemu
    assert qemu is not None
    parts = {
        name: ticks * qemu.tick_ns / INSTRUCTION_NS for name, ticks in figures(printed).items()
    }
    stft = sum(parts[name] for name in STFT)
    other = sum(parts.values()) - stft
    print(f"\n{board}: STFT and inverse {stft:.0f}, other {other:.0f} instructions per hop")
    print("".join(f"    {name:12} {count:7.0f}\n" for name, count in parts.items()))
    command = ["arm-none-eabi-gcc", "-dumpversion"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if version.startswith("12.2"):
        assert stft < STFT_LIMITS[board]
        assert stft <= 1.02 * STFT_INSTRUCTIONS[board]
        assert other <= 1.02 * OTHER_INSTRUCTIONS[board]


def test_plain_c_on_a_board_has_the_bytes_of_the_host(model: Path, tmp_path: Path) -> None:
    need_board_tools()
    folder = driver("cortex_m55", model, tmp_path / "project")
    make(folder, "firmware.elf", "CPPFLAGS=-DEDGESEP_PLAIN")
    check_bytes(folder, seed=len(BOARDS))
