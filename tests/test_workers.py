"""Worker processes of `export`: who ends them, and who does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training_jobs import tiny_source

ROOT = Path(__file__).parents[1]
LONG_S = 120  # a machine may be busy

FEED = """
import sys
from pathlib import Path
from export.feed import Source, batches
from tests.training_jobs import tiny_recipe
folder = Path(sys.argv[1])
feed = batches(Source(folder / "speech.npz", folder / "noise.npz"), tiny_recipe(), 0, workers=1)
while next(feed):
    print("mixed", flush=True)
"""

START = """
import multiprocessing, os, signal
from export.workers import start
signal.signal(signal.SIGINT, lambda *_: None)
process = multiprocessing.get_context("spawn").Process(target=print, args=("alive",))
start([process])
os.killpg(0, signal.SIGINT)
process.join()
"""


def begin(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait until nobody is left who could write, and return what was written."""
    try:
        return process.communicate(timeout=LONG_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("a worker outlived the process that had started it")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_mixing_ends_with_the_process_that_trains(how: str, tmp_path: Path) -> None:
    tiny_source(tmp_path)
    process = begin(FEED, tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "mixed\n"
    process.send_signal(signal.Signals[how])
    finish(process)
    assert process.returncode == -signal.Signals[how]


@pytest.mark.slow
def test_ctrl_c_in_the_terminal_is_for_the_process_that_trains(tmp_path: Path) -> None:
    tiny_source(tmp_path)
    process = begin(FEED, tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "mixed\n"
    os.killpg(process.pid, signal.SIGINT)
    _, error = finish(process)
    assert error.count("Traceback") == error.count("KeyboardInterrupt") == 1  # its own


def test_ctrl_c_does_not_reach_a_worker_that_starts() -> None:
    process = begin(START)
    assert finish(process) == ("alive\n", "") and process.returncode == 0
