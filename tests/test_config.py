"""Settings from flags, --set and YAML: one set of keys, one set of errors."""

import dataclasses

import pytest

from edgesep.config import DEFAULT_MODEL, KEYS, Config, parse_assignments, read_yaml
from edgesep.errors import SettingsError
from edgesep.models import DEFAULT_MODEL as MODELS_DEFAULT
from edgesep.settings import Settings


def test_every_setting_has_a_key():
    assert set(KEYS.values()) == {field.name for field in dataclasses.fields(Settings)} | {"model"}
    assert DEFAULT_MODEL == MODELS_DEFAULT
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
