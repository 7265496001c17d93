"""Settings from flags, --set and YAML: one set of keys, one set of errors."""

import dataclasses

import pytest

from edgesep.cli import main
from edgesep.config import (
    DEFAULT_MODEL,
    KEYS,
    Config,
    board_file,
    list_boards,
    parse_assignments,
    read_yaml,
    show_yaml,
)
from edgesep.errors import SettingsError
from edgesep.keys import ALL_KEYS
from edgesep.live_settings import LiveSettings
from edgesep.settings import Settings


def test_every_setting_has_a_key():
    assert set(KEYS.values()) == {field.name for field in dataclasses.fields(Settings)} | {"model"}
    assert Config.from_keys({}) == Config(DEFAULT_MODEL, Settings())


def test_assignments_take_short_and_full_keys():
    parsed = parse_assignments(["wet=0.8", "model.engine=exact", "max-attenuation-db = 12"])
    config = Config.from_keys(parsed)
    assert config.settings == Settings(wet=0.8, engine="exact", max_attenuation_db=12.0)


def test_later_layers_win_and_none_is_not_given():
    low = {"separation.wet": 0.1, "model.name": "a"}
    config = Config.from_keys(low, {"separation.wet": "0.5"}, {"model.name": None})
    assert (config.model, config.settings.wet) == ("a", 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wte=1", "unknown setting 'wte': did you mean 'wet'?"),
        ("separation.wett=1", "did you mean 'separation.wet'?"),
        ("max_atenuation=1", "did you mean 'max_attenuation_db'?"),
        ("wet", "write it as key=value"),
        ("wet=", "write it as key=value"),
        ("wet=loud", "wet is 'loud': give a number"),
        ("wet=1.5", "wet is 1.5: it must lie from 0 to 1"),
        ("wet=nan", "wet is nan"),
        ("max_attenuation_db=-1", "it must lie from 0 to 100"),
        ("output=speach", "did you mean 'speech'?"),
        ("engine=fats", "did you mean 'fast'?"),
    ],
)
def test_wrong_assignments(text, expected):
    with pytest.raises(SettingsError) as caught:
        Config.from_keys(parse_assignments([text]))
    assert expected in str(caught.value)


def test_yaml(tmp_path):
    path = tmp_path / "edgesep.yaml"
    path.write_text("model:\n  engine: exact\nseparation:\n  wet: 0.9\n  latency_ms: null\n")
    assert Config.from_keys(read_yaml(path)).settings == Settings(engine="exact", wet=0.9)
    path.write_text("")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modle:\n  name: a\n", "unknown section 'modle': did you mean 'model'?"),
        ("separation:\n  wett: 1\n", "unknown key in separation: 'wett': did you mean 'wet'?"),
        ("separation: 3\n", "write lines of key: value"),
        ("- 1\n", "write lines of key: value"),
        ("a: [\n", "not YAML"),
        ("separation:\n  wet: true\n", "wet is True"),
        ("separation:\n  output: 1\n", "separation.output is 1: give a text"),
    ],
)
def test_wrong_yaml(tmp_path, text, expected):
    path = tmp_path / "edgesep.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Config.from_keys(read_yaml(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_yaml(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")


# --- all keys, boards, places, origins ---------------------------------------------------------


def test_every_field_has_one_key():
    owners = {"settings": Settings, "live": LiveSettings}
    for name, owner in owners.items():
        keys = [key.field for key in ALL_KEYS.values() if key.owner == name]
        assert sorted(keys) == sorted(field.name for field in dataclasses.fields(owner))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("audio:\n  input:\n    devise: x\n", "3:5: unknown key in audio.input: 'devise'"),
        ("audio:\n  block: 8\n", "2:3: unknown key in audio: 'block': did you mean 'block_ms'?"),
        ("safety:\n  limiter_dbfs: 3\n", "2:17: limiter_dbfs is 3: it must lie from -60 to 0"),
        ("audio:\n  input:\n    channel: mono\n", "channel is 'mono': give mix, link, or"),
        ("audio:\n  wait: maybe\n", "wait is 'maybe': give true or false"),
        ("audio:\n  input:\n    rate_hz: 100\n", "give a whole number from 8000 to 192000"),
        ("model:\n  name: a\n  name: b\n", "3:3: model.name is given twice"),
        ("model:\n  name: [a]\n", "2:9: model.name takes one value"),
        (
            "model:\n  name: !!python/name:os.system\n",
            "2:9: model.name is '', which is no value of",
        ),
        ("model:\n  name: 2024-13-45\n", "2:9: model.name is '2024-13-45', which is no value of"),
        ("separation:\n  wet: !!int half\n", "2:8: separation.wet is 'half', which is no value"),
        ("separation:\n  wet: " + 5000 * "9", "2:8: separation.wet is '999"),
        ("? [audio]\n: 1\n", "1:3: a name is needed before the colon in the file"),
        (600 * "[", "not settings: nested too deeply"),
    ],
)
def test_errors_in_yaml_have_a_place(tmp_path, text, expected):
    path = tmp_path / "live.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_yaml(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_what_is_shown_can_be_read(tmp_path):
    keys = {"audio.input.device": "USB: #1", "audio.wait": "off", "separation.latency_ms": "12"}
    config = Config.from_keys(keys, {"audio.input.channel": "1"})
    path = tmp_path / "live.yaml"
    path.write_text(show_yaml(config, {"audio.wait": "a note"}))
    assert Config.from_keys(read_yaml(path)) == config


def test_boards_are_found_and_misspelt_ones_named():
    assert "laptop" in list_boards()
    assert board_file("laptop").is_file()
    with pytest.raises(SettingsError, match="did you mean 'raspberry_pi_4'"):
        board_file("raspberry_pi4")


LIVE_BOARDS = ("raspberry_pi_5", "raspberry_pi_4", "raspberry_pi_zero_2w", "coral_dev_board",
               "coral_usb", "laptop")  # fmt: skip


@pytest.mark.parametrize("board", sorted({*LIVE_BOARDS, *list_boards()}))
def test_every_board_is_valid_and_says_where_its_values_come_from(board, capsys):
    assert main(["config", "check", "--board", board]) == 0
    assert main(["config", "show", "--board", board, "--set", "block_ms=12"]) == 0
    shown = capsys.readouterr().out
    assert f" # board {board}" in shown
    assert "block_ms: 12 # --set" in shown
    assert "latency_ms: null # default" in shown


@pytest.mark.parametrize("board", ["coral_dev_board", "coral_usb"])
def test_boards_with_an_edge_tpu_ask_for_it(board, capsys):
    config = Config.from_keys(read_yaml(board_file(board)))
    bus = {"coral_dev_board": "pci", "coral_usb": "usb"}[board]
    assert config.settings.engine == f"edgetpu:{bus}"
    assert main(["config", "check", "--board", board]) == 0
    assert main(["config", "show", "--board", board]) == 0
    assert f"engine: edgetpu:{bus} # board {board}" in capsys.readouterr().out


def test_config_shows_where_each_value_comes_from(tmp_path, capsys):
    path = tmp_path / "live.yaml"
    path.write_text("audio:\n  block_ms: 16\n")
    arguments = [str(path), "--board", "laptop", "--set", "wet=0.5"]
    assert main(["config", "show", *arguments]) == 0
    shown = capsys.readouterr().out
    assert f"block_ms: 16 # file {path}" in shown
    assert "engine: exact # board laptop" in shown
    assert "wet: 0.5 # --set" in shown
    assert "# latency_ms: null # default" in shown
    assert main(["config", "check", *arguments]) == 0
    assert main(["config", "init"]) == 0
    path.write_text(capsys.readouterr().out)
    assert Config.from_keys(read_yaml(path)) == Config()
    path.write_text("audio:\n  block_ms: 1\n")
    assert main(["config", "check", str(path)]) == 2
    assert f"{path}:2:13: block_ms is 1" in capsys.readouterr().err
