"""edgesep bench: the figures on clocks that are known, the words, reports, the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import peers
from edgesep import bench_sustained, native
from edgesep.bench import Result, Stages, measure, sample_hops, time_hops
from edgesep.bench_report import read_report, report, save_report, verdict, words
from edgesep.bench_sustained import Interval, run_intervals, sustained_words
from edgesep.cli import main
from edgesep.errors import EdgesepError
from edgesep.machine import Sensors, read_machine
from edgesep.model_facts import verify
from tests.helpers import write_random_model
from tests.sound import said

RESULT = Result(
    model="m", sha256="0" * 64, engine="fast", description="", hop_us=8000, hops=1000,
    p50_us=100, p95_us=120, p99_us=160, max_us=900, mean_us=110, stolen=0, macs_per_s=10**6,
    memory_mb=40, stages=Stages(1, 2, 3, 4, 5, 6, 0.1),
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_model(tmp_path_factory.mktemp("model")))


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def work(self, cost_us: Callable[[float], float]) -> Callable[[NDArray[np.int16]], None]:
        """Return a process that takes cost_us(seconds so far)."""

        def process(_: NDArray[np.int16]) -> None:
            self.now_ns += round(cost_us(self.now_ns / 1e9) * 1000)

        return process


def test_each_hop_is_timed_and_the_warm_up_is_not() -> None:
    clock, costs = Clock(), iter([10**6] * 100 + [100, 200] * 500)
    times_us = time_hops(clock.work(lambda _: next(costs)), sample_hops(128), 0.1, clock)
    assert set(times_us) == {100.0, 200.0}
    assert times_us.sum() == pytest.approx(0.1e6, abs=200)
    assert len(time_hops(clock.work(lambda _: 1.0), sample_hops(64), 0.0, clock)) == 500


def test_test_sound_fills_whole_hops_and_is_loud() -> None:
    hops = sample_hops(96)
    assert hops.dtype == np.int16 and hops.shape == (666, 96)
    assert 1000 < hops.std() < 4000 and np.abs(hops.astype(int)).max() < 32767


@pytest.mark.slow
def test_the_stages_add_up_to_a_hop(model: str) -> None:
    result = measure(model, "exact", 0.2)
    stages = result.stages
    parts = (stages.stft_us, stages.features_us, stages.model_us, stages.mask_us, stages.istft_us)
    assert all(part >= 0 for part in (*parts, stages.rest_us)) and stages.model_us > 0
    assert 0.3 * result.p50_us < sum(parts) + stages.rest_us < 3 * result.p50_us
    assert (stages.call_us > 0) is native.available()
    assert result.p50_us <= result.p95_us <= result.p99_us <= result.max_us
    assert result.real_time_factor == pytest.approx(result.mean_us / 8000)
    assert result.memory_mb is not None and 15 < result.memory_mb < 200
    assert 0 <= result.stolen < 1 and result.hop_us == 8000


def test_words_say_what_keeps_up() -> None:
    assert verdict(RESULT) == "keeps up"
    tight, late = replace(RESULT, p99_us=5000), replace(RESULT, p99_us=6500)
    assert (verdict(tight), verdict(late)) == ("just keeps up", "does not keep up")
    larger = replace(RESULT, model="l", macs_per_s=10**7)
    lines = words([RESULT, larger, replace(larger, engine="exact", p99_us=200), late])
    assert lines[0].startswith("m with fast keeps up: 99 of 100 hops take at most 0.16 of 8 ms")
    assert lines[-1] == "the largest that keeps up here: l with fast"
    assert "nothing keeps up" in words([late])[-1]
    exact = replace(RESULT, engine="exact", p50_us=79)
    assert "m: exact is quicker here than fast (79 us a hop, 100)" in words([RESULT, exact])[-1]
    assert not any("quicker" in line for line in words([RESULT, replace(exact, p50_us=81)]))
    busy = replace(late, stolen=0.5)
    assert verdict(busy) == "unknown: machine busy"
    assert verdict(replace(busy, p50_us=6000)) == "does not keep up"
    lines = words([busy])
    assert "half of the hops take at most 0.10 of 8 ms, but other programs" in lines[0]
    assert "other programs had the core for up to 50% of the time" in lines[-1]
    assert not any("nothing keeps up" in line for line in lines)


def fake_sensors(root: Path, said: str = "") -> Callable[[float, int], None]:
    """Make files of /sys; return what sets clock (MHz) and temperature."""
    clock = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    zone = root / "sys/class/thermal/thermal_zone0"
    for folder in (clock.parent, zone):
        folder.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")

    def put(mhz: float, celsius: int) -> None:
        clock.write_text(f"{round(mhz * 1000)}\n")
        (zone / "temp").write_text(f"{celsius * 1000}\n")

    put(1500, 50)
    return put


def test_a_board_that_gets_hot_is_found_out(tmp_path: Path) -> None:
    put, clock, flags = fake_sensors(tmp_path), Clock(), ["throttled=0x0"]

    def cost_us(now_s: float) -> float:
        if now_s < 120:
            return 10_000
        if flags[0] == "throttled=0x0":
            put(600, 82)
            flags[0] = "throttled=0x80008"
        return 25_000

    sensors = Sensors(tmp_path, lambda _: flags[0])
    intervals = list(run_intervals(clock.work(cost_us), sample_hops(128), 4, sensors, clock))
    assert 20 <= len(intervals) <= 24
    cool = [item for item in intervals if item.start_s < 110]
    hot = [item for item in intervals if item.start_s > 120]
    assert {item.slowdown for item in cool} == {1.0} and {item.mhz for item in cool} == {1500}
    assert {item.slowdown for item in hot} == {2.5} and {item.celsius for item in hot} == {82}
    said = sustained_words(intervals)
    assert "2.50 times the first minute's time per hop, clock 1500 -> 600 MHz" in said
    assert "slows down from minute 2." in said and "stays so" in said
    assert said.endswith("the firmware says: soft temperature limit")


def test_a_board_that_stays_cool_is_said_to(tmp_path: Path) -> None:
    fake_sensors(tmp_path)
    clock = Clock()
    sensors = Sensors(tmp_path, lambda _: None)
    intervals = list(
        run_intervals(clock.work(lambda _: 1000.0), sample_hops(128), 0.1, sensors, clock)
    )
    assert len(intervals) in (5, 6)
    assert sustained_words(intervals).startswith("no slow-down in 0.1 minutes at full load")
    assert "1500 MHz, 50 C at the end" in sustained_words(intervals)
    once = [replace(item, slowdown=1.0) for item in intervals]
    once[1] = replace(once[1], slowdown=1.5)
    assert "but not at the end" in sustained_words(once)


def test_a_machine_is_described_by_its_own_files(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd08\n\nprocessor\t: 1\nCPU part\t: 0xd08\n",
        "proc/meminfo": "MemTotal:        3884000 kB\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = read_machine(tmp_path)
    assert machine.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert (machine.cpu, machine.memory_mb) == ("Cortex-A72", 3792)
    assert machine.os == "Debian GNU/Linux 12 (bookworm)" and machine.governor == "ondemand"
    assert machine.numpy == np.__version__
    nothing = read_machine(tmp_path / "nix")
    assert nothing.board == "" and nothing.cpu and nothing.os
    assert Sensors(tmp_path / "nix", lambda _: "garbage").read().to_text() == "no sensors"


@pytest.mark.slow
def test_the_command_measures_saves_and_compares(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "a.json"
    arguments = ["bench", "--model", model, "--seconds", "0.05", "-o", str(saved)]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(saved.read_text()) == read_report(saved)
    engines = [(row["model"], row["engine"]) for row in printed["results"]]
    assert engines == [("random-128-0", "fast"), ("random-128-0", "exact")]
    assert set(printed["results"][0]["stages"]) >= {"stft_us", "features_us", "model_us", "mask_us"}
    assert printed["machine"]["numpy"] == np.__version__
    assert main(arguments) == 2  # is not overwritten
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force", "--engine", "exact"]) == 0
    out = capsys.readouterr().out
    for part in ("real-time factor", "headroom", "STFT", "iSTFT", "random-128-0 with exact"):
        assert part in out
    other = json.loads(json.dumps(printed))
    other["machine"]["board"] = "Raspberry Pi 5"
    for row in other["results"]:
        row["p50_us"] *= 2
    (tmp_path / "b.json").write_text(json.dumps(other))
    (tmp_path / "a.json").write_text(json.dumps(printed))
    assert main(["bench", "--compare", str(saved), str(tmp_path / "b.json")]) == 0
    out = capsys.readouterr().out
    assert "Raspberry Pi 5" in out and out.count("2.00") == 2 and "p50 b / a" in out


@pytest.mark.slow
def test_a_sustained_run_has_rows_and_words(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--minutes", "0.01", "--model", model]
    assert main([*arguments, "--json"]) == 0
    sustained = json.loads(capsys.readouterr().out)["sustained"]
    assert sustained["intervals"]  # how many depends on the machine; a clock of our own counts them
    assert all(item["hops"] > 0 for item in sustained["intervals"])
    assert main(arguments) == 0
    assert "slowdown" in capsys.readouterr().out


def test_an_interrupted_run_keeps_what_it_has(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bench_sustained.run_intervals

    def interrupted(*arguments: Any) -> Iterator[Interval]:
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_sustained, "run_intervals", interrupted)
    assert main(["bench", "--minutes", "0.01", "--model", model, "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["sustained"]["intervals"]) == 1
    assert "interrupted" in captured.err


def test_the_peers_benchmark_compares_and_says_what_it_could_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = [peers.Job("slow", 8.0, lambda i: sum(range(4000))), peers.Job("quick", 8.0, abs)]
    slow, quick = peers.measure(jobs, 3)
    assert slow.hop_us > quick.hop_us and slow.ratio is None
    assert slow.real_time_factor == pytest.approx(slow.hop_us / 8000)
    rows = [replace(slow, name="edgesep small-16ms, fast", ratio=0.5)]
    assert peers.check_targets(rows)
    rows.append(replace(slow, name="edgesep base-16ms (random weights), fast", ratio=0.81))
    assert not peers.check_targets(rows)
    assert "base-16ms (random weights), fast: 0.81" in capsys.readouterr().out
    assert not peers.check_targets([replace(slow, name="edgesep small-16ms, fast")])
    assert "not compared: give --dtln" in capsys.readouterr().out


def test_a_shape_is_measured_before_there_are_weights(tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="export/ needs the extra export")
    from export.recipe import device_recipes

    recipes = device_recipes()
    assert recipes
    for recipe in recipes:
        path = peers.write_random_weights(recipe, tmp_path)
        assert all(check.ok for check in verify(str(path))), recipe
        peers.edgesep_job(str(path), "exact").process(0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--engine", "fats"], "did you mean 'fast'?"),
        (["--model", "smal"], "unknown model 'smal'"),
        (["--seconds", "0"], "'0' is not a number above 0"),
        (["--minutes", "1", "--model", "a", "--model", "b"], "one engine: name one"),
        (["-o", "/nix/a.json"], "there is no folder /nix"),
        (["--compare", "nix.json", "nix.json"], "nix.json: cannot be read"),
    ],
)
def test_wrong_usage(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) in (1, 2)
    captured = capsys.readouterr()
    (line,) = said(captured.err)
    assert expected in line and captured.out == ""


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"edgesep_bench": 1}', '{"edgesep_bench": 1, "results": [1], "machine": {}}',
     '{"edgesep_bench": 1, "results": [{"model": "a"}], "machine": {}}', '{"edgesep_bench": 9}'],
)  # fmt: skip
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(EdgesepError, match=r"not a report|this edgesep reads 1"):
        read_report(tmp_path / "x.json")


def test_a_report_is_written_whole_or_not(tmp_path: Path) -> None:
    document = report(read_machine(), [RESULT])
    save_report(document, tmp_path / "a.json")
    assert read_report(tmp_path / "a.json") == document
    assert document["results"][0]["headroom"] == 0.98
    with pytest.raises(EdgesepError, match="cannot be written"):
        save_report(document, tmp_path / "nix" / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
