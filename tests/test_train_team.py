"""Several processes that train together: what one would learn, and an end in order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from edgesep.errors import EdgesepError, SettingsError
from export.cli import build_parser, main
from export.cli_corpus import sources_of
from export.feed import as_floats, make_batch
from export.launch import launch
from export.team import join
from export.train import _optimizer, compiled_network, load_checkpoint, save_checkpoint
from export.train_log import read_log
from tests.training_jobs import tiny_recipe, write_audio, write_recipe

ROOT = Path(__file__).parents[1]
PATIENCE_S = float(os.environ.get("EDGESEP_TEST_PATIENCE_S", "300"))
FIRST = 3  # steps that one process takes before two go on

needs_keras = pytest.mark.skipif(  # find_spec: where slow tests are left out, it is not imported
    not (find_spec("keras") and find_spec("jax")) or os.environ["KERAS_BACKEND"] != "jax",
    reason="several processes train on Keras with JAX: pip install -e .[export]",
)
looks_for_processes = pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc"
)


def running_with(text: Path) -> list[int]:
    """Return the processes that have `text` in their command line, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(text) in path.read_text() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            pass  # it has just ended
    return found


def wait_for(happened: Callable[[], bool]) -> bool:
    """Return whether it happened before patience was at its end."""
    until = time.monotonic() + PATIENCE_S
    while not happened() and time.monotonic() < until:
        time.sleep(0.05)
    return happened()


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Path]:
    """Return a folder; processes that have it in their command line do not outlive the test."""
    yield tmp_path
    for process in running_with(tmp_path):
        os.kill(process, signal.SIGKILL)


@looks_for_processes
@pytest.mark.slow
@needs_keras
def test_two_processes_go_on_learn_and_stop_as_one_does(marked: Path) -> None:
    recipe = tiny_recipe(learning_rate=0.001, steps=10**6, epoch_steps=10)
    path, out, said = marked / "tiny.yaml", marked / "out", marked / "said"
    line = ["train", str(write_recipe(recipe, path)), *write_audio(marked), f"--out={out}"]
    mixer = sources_of(build_parser().parse_args(line))["train"].mixer(recipe)
    alone, _ = compiled_network(recipe, _optimizer(recipe))
    losses = []

    def learn(last: int) -> None:
        for step in range(len(losses), last):
            alone.reset_metrics()
            batch = as_floats(*make_batch(mixer, recipe, step))
            losses.append(float(alone.train_on_batch(*batch)))

    learn(FIRST)
    out.mkdir()
    save_checkpoint(alone, out)
    with said.open("w") as log:
        pair = subprocess.Popen(
            [sys.executable, "-m", "export", *line, "--processes=2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    rows = out / "log.csv"
    wait_for(lambda: pair.poll() is not None or (rows.exists() and len(read_log(rows)) > 1))
    pair.send_signal(signal.SIGTERM)
    assert wait_for(lambda: pair.poll() is not None), said.read_text()
    assert pair.returncode == 128 + signal.SIGTERM, said.read_text()
    assert f"going on after step {FIRST}" in said.read_text()
    assert said.read_text().count("epoch 2:") == 1  # one of them writes
    assert not running_with(marked)

    stopped = int(re.findall(r"stopped after step (\d+)", said.read_text())[0])
    learn(stopped)
    together, _ = compiled_network(recipe, _optimizer(recipe))
    assert load_checkpoint(together, out) == stopped >= 20
    ours, theirs = (
        [np.asarray(v.value) for v in [*model.weights, *model.optimizer.variables]]
        for model in (alone, together)
    )
    far = max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))
    first, second = read_log(rows)[:2]
    print(f"{far:.1e} apart after {stopped} steps")
    assert far < 1e-4
    assert first.loss == pytest.approx(np.mean(losses[FIRST:10]), abs=1e-4)
    assert second.loss == pytest.approx(np.mean(losses[10:20]), abs=1e-4)


@looks_for_processes
def test_where_one_ends_badly_the_others_are_ended(marked: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "if '--process-id=1' in sys.argv: os.kill(os.getpid(), 9)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])\n"
        "time.sleep(600)"
    )
    with pytest.raises(EdgesepError, match=r"process 1 of 2 ended \(killed by SIGKILL\), and so"):
        launch([sys.executable, "-c", code, str(marked)], 2)
    assert wait_for(lambda: not running_with(marked))


def test_one_that_stops_in_order_is_no_failure() -> None:
    code = "import sys, time; time.sleep('--process-id=0' in sys.argv); raise SystemExit(143)"
    assert launch([sys.executable, "-c", code], 2) == 143


@looks_for_processes
def test_none_outlives_the_launcher(marked: Path) -> None:
    code = (
        "import time; from export.launch import end_with_launcher\n"
        "end_with_launcher(); print('up', flush=True); time.sleep(600)"
    )
    start = "import sys; from export.launch import launch; launch(sys.argv[1:], 2)"
    command = [sys.executable, "-c", start, sys.executable, "-c", code, str(marked)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert [launcher.stdout.readline() for _ in range(2)] == ["up\n"] * 2
        launcher.kill()
    assert wait_for(lambda: not running_with(marked))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", 0, 2), "give HOST:PORT"),
        (("127.0.0.1:7000", 2, 2), "--process-id 2: give 0 to 1"),
    ],
)
def test_what_cannot_be_a_team_is_refused(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        join(*arguments)


def test_a_machine_that_others_cannot_reach_by_its_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(host: str, port: object) -> list[object]:
        if host == "10.0.0.1":
            return [(0, 0, 0, "", (host, 0))]
        if host == "here":
            return [(0, 0, 0, "", ("127.0.1.1", 0))]
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    with pytest.raises(SettingsError, match=r"name, here, stands for 127\.0\.1\.1, where other"):
        join("10.0.0.1:7000", 1, 2)
    with pytest.raises(SettingsError, match="no address is known of elsewhere"):
        join("elsewhere:7000", 1, 2)


def test_flags_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = str(write_recipe(tiny_recipe(), tmp_path / "tiny.yaml"))

    def refused(*flags: str) -> str:
        assert main(["train", recipe, "--speech=none", "--noise=none", *flags]) == 1
        return capsys.readouterr().err

    assert "--processes 0: give 1 or more" in refused("--processes=0")
    assert "--cluster and --process-id go together" in refused("--cluster=a:1")
    other = replace(tiny_recipe(), name="nano-16ms")  # kept weights of that name have another shape
    mine = write_recipe(other, tmp_path / "mine.yaml")
    assert "nano-16ms.npz: enc0/kernel is (" in (said := refused(f"--from={mine}"))
    assert "name the recipe that trained them" in said
    assert "batch of 4 clips: not to be divided among 3 devices" in refused("--processes=3")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert "train on JAX alone, not on torch" in refused("--processes=2")
