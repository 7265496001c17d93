"""edgesep doctor and edgesep service, without systemd."""

import json
import os
import stat
import sys

import pytest

from edgesep.cli import main
from edgesep.errors import SettingsError
from edgesep.service import unit_path, unit_text
from tests.helpers import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


def test_the_doctor_looks_at_everything(model, capsys):
    status = main(["doctor", "--json", "--set", f"model.name={model}"])
    findings = {found["what"]: found for found in json.loads(capsys.readouterr().out)}
    assert list(findings) == ["Python", "C core", "model", "speed", "sound", "priority", "service"]
    assert findings["model"]["verdict"] == "ok"
    assert "random-128-0" in findings["model"]["found"]
    assert status == any(found["verdict"] == "fail" for found in findings.values())
    for found in findings.values():
        assert bool(found["fix"]) is (found["verdict"] != "ok")


def test_the_doctor_says_what_fails_and_goes_on(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    assert main(["doctor", "--set", "model.name=nosuch"]) == 1
    out = capsys.readouterr().out
    assert "fail  model     unknown model 'nosuch'" in out
    assert "warn  sound     no live sound; files and pipes work" in out
    assert "-> live sound needs PyAudio: apt install" in out
    assert "service" in out
    assert len(out.splitlines()) <= 24


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
