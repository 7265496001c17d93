"""Finding a device by what people type, and what happens without PortAudio."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgesep.audio.devices import Device, PortAudio, find_device
from edgesep.audio.live_session import open_devices
from edgesep.cli import main
from edgesep.errors import DeviceError
from edgesep.live_settings import LiveSettings
from tests.helpers import write_random_model

DEVICES = [
    Device(0, "USB Audio: - (hw:1,0)", "ALSA", 2, 2, 48000),
    Device(1, "USB Audio: #1 (hw:2,0)", "ALSA", 1, 0, 44100),
    Device(2, "seeed-2mic", "ALSA", 2, 2, 16000, ("input",)),
    Device(3, "Headphones", "ALSA", 0, 8, 48000, ("output",)),
    Device(4, "seeed", "ALSA", 2, 2, 16000),
]


@pytest.mark.parametrize(
    ("wanted", "kind", "index"),
    [
        ("default", "input", 2),
        ("default", "output", 3),
        ("headph", "output", 3),
        ("hw:2", "input", 1),
        ("USB", "output", 0),  # the other one has no outputs
        ("Seeed", "input", 4),  # the whole name wins over a part
        ("4", "output", 4),
    ],
)
def test_a_device_is_found(wanted, kind, index):
    assert find_device(DEVICES, wanted, kind).index == index


@pytest.mark.parametrize(
    ("wanted", "kind", "expected"),
    [
        ("usb", "input", "could be any of 'USB Audio: - (hw:1,0)' (0), 'USB Audio: #1 (hw:2,0)'"),
        ("hdmi", "output", "'hdmi' is not there; there are 'USB Audio: - (hw:1,0)' (0)"),
        ("1", "output", "no output has this index"),
        ("Headphones", "input", "is not there"),
    ],
)
def test_a_device_is_not_found(wanted, kind, expected):
    with pytest.raises(DeviceError) as caught:
        find_device(DEVICES, wanted, kind)
    assert expected in str(caught.value)


def test_no_devices_at_all():
    with pytest.raises(DeviceError, match="there is no input device"):
        find_device([], "default", "input")


def test_channels_and_rates_are_the_devices_own():
    ends = open_devices(DEVICES, LiveSettings(input_device="hw:2", output_device="Headphones"))
    assert (ends.in_rate_hz, ends.in_channels) == (44100, 1)
    assert (ends.out_rate_hz, ends.out_channels) == (48000, 2)
    ends = open_devices(DEVICES, LiveSettings(channel="1", input_rate_hz=16000))
    assert (ends.in_rate_hz, ends.in_channels) == (16000, 2)
    for channel in ("link", "2"):
        with pytest.raises(DeviceError, match="has 1 channels"):
            open_devices(DEVICES, LiveSettings(input_device="hw:2", channel=channel))


def test_without_pyaudio_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(DeviceError, match="portaudio19-dev"):
        PortAudio()
    assert main(["devices"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "pip install 'edgesep[audio]'" in captured.err


@pytest.mark.parametrize(
    ("cause", "fix"),
    [
        ("raise ModuleNotFoundError(\"No module named 'pyaudio'\")", "portaudio19-dev"),
        ("print('no!'); raise ImportError('libportaudio.so.2: not there')", "libportaudio2"),
    ],
)
def test_run_does_not_wait_for_a_package(tmp_path, cause, fix):
    """Devices are waited for; what has to be installed first never comes by itself."""
    (tmp_path / "pyaudio.py").write_text(cause)
    model = write_random_model(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "edgesep", "run", "--socket", "off", "--set", f"model.name={model}"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "apt install" in done.stderr and fix in done.stderr
