"""Many files: folders, globs, processes, failures, and ends by force."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgesep import native
from edgesep.audio.plan import plan_jobs
from edgesep.cli import main
from edgesep.errors import AudioFileError
from tests.helpers import write_random_model
from tests.sound import environment, noise16, said


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def tree(tmp_path):
    """Make a folder with sound in it, at two depths, and other things."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.wav", "b.FLAC", "deep/a.wav", "deep/er/c.ogg", ".hidden/h.wav", ".h.wav"):
        soundfile.write(folder / name, noise16(3000), 16000)
    (folder / "notes.txt").write_text("not audio")
    return folder


SOUNDS = ["a.wav", "b.FLAC", "deep/a.wav", "deep/er/c.ogg"]


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def places(plan, below):
    return sorted(str(t.relative_to(below)) for job in plan.jobs for t in job.targets)


def test_folders_keep_their_structure(tree, tmp_path, model):
    out = tmp_path / "out"
    assert main(["file", str(tree), "-o", str(out), "--model", model]) == 0
    assert files_below(out) == SOUNDS


def test_stems_of_a_folder(tree, tmp_path, model):
    (tree / "b.FLAC").rename(tree / "b.flac")
    out = tmp_path / "out"
    assert main(["file", str(tree), "-o", str(out), "--stems", "--model", model]) == 0
    assert files_below(out) == sorted(
        f"{name}/{stem}.wav"
        for name in ("a", "b", "deep/a", "deep/er/c")
        for stem in ("speech", "background")
    )


def test_files_globs_and_folders_together(tree, tmp_path):
    out = str(tmp_path / "out")
    plan = plan_jobs([f"{tree}/*.wav", f"{tree}/deep/er"], out, stems=False, force=False)
    assert places(plan, out) == ["a.wav", "c.ogg"]
    plan = plan_jobs([f"{tree}/**/*.ogg", f"{tree}/b.FLAC"], out, stems=False, force=False)
    assert places(plan, out) == ["b.FLAC", "c.ogg"]
    again = [str(tree), f"{tree}/a.wav", f"{tree}/a.wav"]
    assert len(plan_jobs(again, out, stems=False, force=False).jobs) == 4


def test_one_file_goes_to_a_file_or_into_a_folder(tree, tmp_path):
    source = f"{tree}/a.wav"
    for output, expected in (
        (tmp_path / "x.wav", tmp_path / "x.wav"),
        (tmp_path, tmp_path / "a.wav"),
        (f"{tmp_path}/new/", tmp_path / "new" / "a.wav"),
    ):
        (job,) = plan_jobs([source], str(output), stems=False, force=False).jobs
        assert job.targets == (expected,)
    (job,) = plan_jobs([source], str(tmp_path / "new"), stems=True, force=False).jobs
    assert job.targets == (tmp_path / "new" / "speech.wav", tmp_path / "new" / "background.wav")


def test_a_name_with_brackets_is_a_file_first(tmp_path):
    soundfile.write(tmp_path / "take[1].wav", noise16(100), 16000)
    name = str(tmp_path / "take[1].wav")
    plan = plan_jobs([name], str(tmp_path / "out.wav"), stems=False, force=False)
    assert [str(job.source) for job in plan.jobs] == [name]


def test_output_inside_the_input_folder_is_no_input(tree, model):
    out = tree / "deep" / "out"
    for _ in range(2):
        assert main(["file", str(tree), "-o", str(out), "--model", model, "--force"]) == 0
    assert files_below(out) == SOUNDS


def test_inputs_with_one_output_name_do_not_overwrite_each_other(tree, tmp_path, capsys, model):
    out = tmp_path / "out"
    arguments = ["file", f"{tree}/a.wav", f"{tree}/deep/a.wav", "-o", str(out), "--model", model]
    assert main([*arguments, "--force"]) == 1
    assert "deep/a.wav: its output" in capsys.readouterr().err
    assert files_below(out) == ["a.wav"]


def test_an_input_is_never_replaced_by_another_ones_output(tree, tmp_path):
    inputs = [f"{tree}/a.wav", f"{tree}/deep/a.wav"]
    plan = plan_jobs(inputs, str(tree), stems=False, force=True)
    assert [error for _, error in plan.failures]
    assert [job.source for job in plan.jobs] == [tree / "a.wav"]


def test_nothing_found(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "out")
    names = [f"{tree}/*.mp3", str(tmp_path / "empty")]
    plan = plan_jobs(names, out, stems=False, force=False)
    assert not plan.jobs
    assert [type(error) for _, error in plan.failures] == [AudioFileError] * 2


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_failures_are_listed_and_the_others_go_on(tree, tmp_path, capsys, model, jobs):
    (tree / "deep" / "bad.wav").write_bytes(b"RIFF")
    (tree / "empty.wav").touch()
    out = tmp_path / "out"
    arguments = ["file", str(tree), "nothing*", "-o", str(out), "--model", model, "--jobs", jobs]
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    table = errors[errors.index("3 of 7 files failed:") :].splitlines()[1:]
    assert len(table) == 3
    for name, why in (("bad.wav", "truncated"), ("empty.wav", "empty"), ("nothing*", "no file")):
        (row,) = [line for line in table if name in line]
        assert re.search(f"^  .*{re.escape(name)} +{why}", row)
    assert files_below(out) == SOUNDS


def test_processes_give_the_same_bytes_as_one(tree, tmp_path, model):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["file", str(tree), "-o", str(one), "--model", model]) == 0
    assert main(["file", str(tree), "-o", str(two), "--model", model, "--jobs", "2"]) == 0
    for name in SOUNDS:
        if not name.endswith(".ogg"):  # an Ogg stream has a random serial number
            assert (one / name).read_bytes() == (two / name).read_bytes()


def start(*arguments, **options):
    """Start the command in a session of its own, so that signals reach only it."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgesep", *map(str, arguments)],
        stderr=subprocess.PIPE, env=environment(), start_new_session=True, **options,
    )  # fmt: skip


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def long_files(folder, count):
    """Write files that take half a minute each to isolate: there is time to interrupt."""
    folder.mkdir()
    for index in range(count):
        samples = np.zeros((16000 * 1800, 1), np.int16)
        samples[::50] = 1000
        soundfile.write(folder / f"{index}.wav", samples, 16000)
    return folder


def parts(folder):
    return list(folder.glob("*/.edgesep-*")) + list(folder.glob(".edgesep-*"))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(tmp_path, model, jobs, number):
    source, out = long_files(tmp_path / "in", jobs), tmp_path / "out"
    run = start("file", source, "-o", out, "--model", model, "--jobs", jobs)
    wait_for(lambda: len(parts(out)) == jobs)
    os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
    _, errors = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert said(errors) == ["edgesep: interrupted: files that were not complete have been removed"]
    assert files_below(out) == []


def workers(pid):
    """Return the worker processes of a running command."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="there is no /proc here")
def test_a_process_that_dies_fails_its_file_and_the_others_go_on(tmp_path, model):
    source, out = long_files(tmp_path / "in", 1), tmp_path / "out"
    for index in range(1, 4):
        soundfile.write(source / f"{index}.wav", noise16(3000), 16000)
    run = start("file", source, "-o", out, "--model", model, "--jobs", 2)
    wait_for(lambda: len(list(out.glob("*.wav"))) == 3 and len(parts(out)) == 1)
    wait_for(lambda: len(workers(run.pid)) == 1)  # the other one has nothing left to do
    os.kill(workers(run.pid)[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=20)
    assert run.returncode == 1
    assert "0.wav: its process died (signal 9): out of memory?" in errors.decode()
    assert files_below(out) == ["1.wav", "2.wav", "3.wav"]


@pytest.mark.slow
def test_progress_is_drawn_on_a_terminal_only(tmp_path, model):
    source = tmp_path / "in.wav"
    seconds = 600 if native.available() else 20  # over a second's work on a fast machine
    soundfile.write(source, noise16(16000 * seconds), 16000)
    ours, theirs = pty.openpty()
    arguments = ["file", str(source), "-o", str(tmp_path / "out.wav"), "--model", model]
    run = subprocess.run(
        [sys.executable, "-m", "edgesep", *arguments],
        stderr=theirs, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    os.close(theirs)
    drawn = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert run.returncode == 0
    assert re.search(r"\[#+-+\] +\d+%  0:\d\d left", drawn)
    assert f"{seconds}.0 s of sound in" in drawn


def test_nothing_but_errors_with_quiet(tree, tmp_path, model, capfd):
    arguments = ["file", str(tree), "-o", str(tmp_path / "out"), "--model", model, "--quiet"]
    assert main(arguments) == 0
    captured = capfd.readouterr()
    assert (captured.out, said(captured.err)) == ("", [])
