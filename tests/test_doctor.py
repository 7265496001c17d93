"""edgesep doctor and edgesep service, without systemd."""

import json
import os
import stat
import sys

import numpy as np
import pytest

from edgesep.cli import main
from edgesep.config import Config
from edgesep.doctor import System, board, software, sound
from edgesep.errors import SettingsError
from edgesep.service import unit_path, unit_text
from edgesep.settings import Settings
from tests.helpers import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


WHAT = [
    "board", "system", "clock", "heat", "Python", "packages", "C core", "engine", "speed",
    "Edge TPU", "sound", "devices", "access", "priority", "service",
]  # fmt: skip


def test_the_doctor_looks_at_everything(model, capsys):
    status = main(["doctor", "--json", "--set", f"model.name={model}"])
    findings = {found["what"]: found for found in json.loads(capsys.readouterr().out)}
    assert list(findings) == WHAT
    assert findings["engine"]["verdict"] == "ok"
    assert "random-128-0" in findings["engine"]["found"]
    assert np.__version__ in findings["packages"]["found"]
    assert status == any(found["verdict"] == "fail" for found in findings.values())
    for found in findings.values():
        assert bool(found["fix"]) is (found["verdict"] != "ok")


def test_the_doctor_says_what_fails_and_goes_on(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["doctor", "--set", "model.name=nosuch"]) == 1
    out = capsys.readouterr().out
    assert "fail  engine    unknown model 'nosuch'" in out
    assert "warn  devices   no live sound; files and pipes work" in out
    assert "-> live sound needs PyAudio: apt install" in out
    assert "service" in out
    assert len(out.splitlines()) <= 40
    assert max(map(len, out.splitlines())) <= 120


def write_files(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


PI = {
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
    "proc/cpuinfo": "CPU part\t: 0xd03\n",
    "proc/meminfo": "MemTotal:         427000 kB\n",
    "proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-v8\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51540\n",
    "proc/asound/cards": " 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi\n                 vc4-hdmi\n",
    "dev/snd/controlC0": "",
    "run/user/1000/pipewire-0": "",
    "proc/self/limits": "Max realtime priority     95                   95        \n",
}


@pytest.fixture
def pi(tmp_path):
    """Return what checks a Raspberry Pi that is made of files, and the folder of these."""
    write_files(tmp_path, PI)

    def check(check, throttled="throttled=0x0", may_use=lambda path: True, **settings):
        environment = {"XDG_RUNTIME_DIR": "/run/user/1000"}
        system = System(tmp_path, lambda _: throttled, environment, may_use)
        return check(Config(settings=Settings(**settings)), system)

    return check, tmp_path


def test_a_healthy_pi_is_described(pi):
    check, _ = pi
    found = check(board.check_board)
    cores = os.cpu_count()
    assert found.found == f"Raspberry Pi Zero 2 W Rev 1.0: {cores} x Cortex-A53, 416 MB"
    assert "bookworm" in check(board.check_system).found
    assert check(board.check_clock).found == "governor ondemand, 1000 MHz now"
    assert check(board.check_heat).found == "1000 MHz, 52 C, never throttled"
    assert check(sound.check_server).found == "PipeWire; vc4-hdmi - vc4-hdmi"
    assert check(sound.check_permissions).found == "1 sound cards may be opened"
    assert "(limit 95)" in check(sound.check_priority).found
    for item in (board.check_board, board.check_clock, board.check_heat, sound.check_server):
        assert check(item).verdict == "ok" and check(item).fix == ""


@pytest.mark.parametrize(
    ("flags", "expected", "fix"),
    [
        ("0x50005", "under-voltage, throttled, under-voltage before", "power supply"),
        ("0x80008", "soft temperature limit", "cool the board"),
        ("0x20000", "clock capped before", "cool the board"),
    ],
)
def test_a_pi_that_is_throttled(pi, flags, expected, fix):
    found = pi[0](board.check_heat, f"throttled={flags}")
    assert found.verdict == "warn" and expected in found.found and fix in found.fix


def test_a_hot_slow_and_deaf_board(pi):
    check, root = pi
    write_files(root, {
        "sys/class/thermal/thermal_zone0/temp": "83000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
        "proc/asound/cards": "--- no soundcards ---\n",
        "proc/meminfo": "MemTotal: 100000 kB\n",
    })  # fmt: skip
    (root / "run/user/1000/pipewire-0").unlink()
    assert check(board.check_heat, None).verdict == "warn"
    assert "performance" in check(board.check_clock).fix
    assert check(board.check_board).verdict == "warn"
    assert check(sound.check_server).found == "no server; no cards"
    assert check(sound.check_server).verdict == "warn"


def test_permissions_name_the_group(pi):
    check, root = pi
    found = check(sound.check_permissions, may_use=lambda path: False)
    assert (found.verdict, found.found) == ("warn", "no permission for controlC0")
    assert "usermod -aG audio" in found.fix
    write_files(root, {"dev/apex_0": ""})
    found = check(software.check_edge_tpu, may_use=lambda path: "apex" not in path.name)
    assert found.verdict == "warn" and "usermod -aG apex" in found.fix
    found = check(software.check_edge_tpu, may_use=lambda _: False, engine="edgetpu")
    assert found.verdict == "fail"


def test_an_edge_tpu_without_its_library(pi, monkeypatch):
    check, root = pi
    monkeypatch.delenv("EDGESEP_LIBEDGETPU", raising=False)
    monkeypatch.setattr("edgesep.coral.device.find_library", lambda: None)
    assert check(software.check_edge_tpu).found == "none"
    assert check(software.check_edge_tpu, engine="edgetpu").verdict == "fail"
    usb = "sys/bus/usb/devices/1-1"
    write_files(root, {f"{usb}/idVendor": "18d1\n", f"{usb}/idProduct": "9302\n"})
    found = check(software.check_edge_tpu)
    assert (found.verdict, found.found) == ("warn", "usb, no libedgetpu.so.1")
    assert "libedgetpu1-std" in found.fix
    # A library that is none is tried in a process of its own, and said to fail.
    monkeypatch.undo()
    monkeypatch.setenv("EDGESEP_LIBEDGETPU", str(root / "nix.so"))
    found = check(software.check_edge_tpu, engine="edgetpu")
    assert found.verdict == "fail" and "nix.so" in found.found


LITERT = {"numpy": "2.1.0", "ai-edge-litert": "2.3.0"}
TFLITE = {"numpy": "1.26.4", "tflite-runtime": "2.14.0"}


@pytest.mark.parametrize(
    ("versions", "machine", "engine", "core", "verdict", "part"),
    [
        (LITERT, "aarch64", "fast", True, "ok", ""),
        (TFLITE, "aarch64", "fast", True, "ok", ""),
        (TFLITE | {"numpy": "2.0.0"}, "aarch64", "fast", True, "fail", "pip install 'numpy<2'"),
        (TFLITE | {"numpy": "2.0.0"}, "aarch64", "exact", True, "warn", "pip install 'numpy<2'"),
        (TFLITE | {"numpy": "2.0.0"}, "aarch64", "exact", False, "fail", "pip install 'numpy<2'"),
        (TFLITE | LITERT, "aarch64", "fast", True, "ok", ""),
        ({"numpy": "2.0.0"}, "aarch64", "fast", True, "fail", "pip install ai-edge-litert"),
        ({"numpy": "2.0.0"}, "armv7l", "fast", True, "fail", "--engine exact"),
        ({"numpy": "2.0.0"}, "armv7l", "exact", True, "ok", ""),
        ({"numpy": "2.0.0"}, "armv7l", "exact", False, "fail", "--engine exact"),
        ({"numpy": "1.25.0"}, "x86_64", "exact", True, "fail", "numpy>=1.26,<3"),
        (LITERT | {"numpy": "3.0"}, "x86_64", "fast", True, "fail", "numpy>=1.26,<3"),
        (LITERT | {"pycoral": "0.2.0"}, "x86_64", "fast", True, "warn", "pip uninstall pycoral"),
    ],
)  # fmt: skip
def test_pairings_that_are_known(versions, machine, engine, core, verdict, part):
    found = software.judge_runtime(versions, machine, engine, core=core)
    assert found.verdict == verdict, found
    assert part in found.fix and bool(found.fix) is (verdict != "ok")


def test_the_runtime_that_is_chosen_is_the_one_that_is_judged():
    both = LITERT | TFLITE | {"numpy": "2.1.0"}
    assert software.judge_runtime(both, "x86_64", "fast").verdict == "ok"
    chosen = software.judge_runtime(both, "x86_64", "fast", chosen="tflite-runtime")
    assert chosen.verdict == "fail" and "do not work together" in chosen.found
    missing = software.judge_runtime(LITERT, "x86_64", "fast", chosen="tflite-runtime")
    assert missing.verdict == "fail" and "no TFLite runtime" in missing.found
    assert missing.fix == "unset EDGESEP_RUNTIME, or pip install tflite-runtime"


def test_pythons_and_speeds_are_judged():
    assert software.judge_python("3.11.2", "aarch64", 64).verdict == "ok"
    assert software.judge_python("3.9.2", "aarch64", 64).verdict == "warn"
    assert "3.14.0" in software.judge_python("3.14.0", "x86_64", 64).found
    assert "--engine exact" in software.judge_python("3.11.2", "aarch64", 32).fix
    assert software.judge_python("3.11.2", "armv7l", 32).verdict == "ok"
    judged = [software.judge_speed(0.0001, late, 0.008).verdict for late in (0.001, 0.003, 0.007)]
    assert judged == ["ok", "warn", "fail"]
    busy = software.judge_speed(0.0001, 0.02, 0.008, stolen=0.5)
    assert busy.verdict == "warn" and "other programs had the core for 50%" in busy.found
    assert software.judge_speed(0.007, 0.02, 0.008, stolen=0.5).verdict == "fail"


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """Put a systemctl first in the path that writes down what it is asked for."""
    program, log = tmp_path / "bin" / "systemctl", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$2" != is-active ] || echo active\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return log


def test_the_service_is_installed_and_removed(systemctl, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "live.yaml").write_text("separation:\n  wet: 0.9\n")
    assert main(["service", "status"]) == 1
    assert main(["service", "install", "live.yaml", "--set", "input.device=USB 50%"]) == 0
    text = unit_path().read_text()
    assert f"ExecStart={sys.executable} -m edgesep run --quiet {tmp_path}/live.yaml" in text
    assert '--set "input.device=USB 50%%"' in text
    assert f"WorkingDirectory={tmp_path}\n" in text
    assert "Restart=on-failure" in text and "StartLimitBurst=5" in text
    assert main(["service", "status"]) == 0
    assert main(["service", "remove"]) == 0
    assert not unit_path().exists()
    assert main(["service", "remove"]) == 1
    asked = systemctl.read_text().splitlines()
    assert asked == [
        "--user daemon-reload", "--user enable edgesep.service", "--user restart edgesep.service",
        "--user is-active edgesep.service", "--user disable --now edgesep.service",
        "--user daemon-reload",
    ]  # fmt: skip
    assert "active" in capsys.readouterr().out


def test_without_systemd_no_unit_is_left_behind(tmp_path, monkeypatch, capsys):
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["service", "install"]) == 1
    assert "daemon-reload failed: no bus" in capsys.readouterr().err
    assert not unit_path().exists()


def test_wrong_settings_are_found_before_the_journal_has_them(systemctl, tmp_path, capsys):
    (tmp_path / "live.yaml").write_text("separation:\n  wett: 0.9\n")
    assert main(["service", "install", str(tmp_path / "live.yaml")]) == 2
    assert "live.yaml:2:3" in capsys.readouterr().err
    assert not unit_path().exists()


def test_a_unit_quotes_what_systemd_would_read():
    text = unit_text(None, None, ['input.device=a "b" $HOME', "wet=1"])
    assert '--set "input.device=a \\"b\\" $$HOME" --set wet=1' in text
    with pytest.raises(SettingsError, match="control characters"):
        unit_text(None, None, ["a=b\nExecStart=/bin/sh"])
