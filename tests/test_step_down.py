"""Which models stand ready for an overload."""

import json
import shutil

import pytest

from edgesep.audio.step_down import smaller_models
from edgesep.config import Config, parse_assignments, read_yaml
from edgesep.errors import ModelError, SettingsError
from tests.helpers import write_random_model

SIZES = {"base": 3000, "small": 2000, "nano": 1000, "other-hop": 500}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Return the path of each of four models in one folder; one has another hop."""
    monkeypatch.setenv("EDGESEP_MODELS", str(tmp_path / "none"))
    paths = {}
    for name, macs in SIZES.items():
        made = write_random_model(tmp_path, hop=64 if name == "other-hop" else 128)
        paths[name] = tmp_path / f"{name}.tflite"
        shutil.move(made, paths[name])
        card = json.loads(made.with_suffix(".json").read_text())
        card |= {"name": name, "macs_per_frame": macs}
        paths[name].with_suffix(".json").write_text(json.dumps(card))
        made.with_suffix(".json").unlink()
    return paths


def names(found):
    return [name.rpartition("/")[2].removesuffix(".tflite") for name in found]


def test_auto_takes_all_smaller_ones_that_fit_the_largest_first(models):
    assert names(smaller_models(str(models["base"]), "auto")) == ["small", "nano"]
    assert names(smaller_models(str(models["small"]), "auto")) == ["nano"]
    assert names(smaller_models(str(models["nano"]), "auto")) == []
    assert smaller_models(str(models["base"]), "off") == []


def test_a_users_own_models_count_too(models, monkeypatch):
    monkeypatch.setenv("EDGESEP_MODELS", str(models["base"].parent))
    assert names(smaller_models("base", "auto")) == ["small", "nano"]


def test_names_are_taken_as_they_are_and_checked(models):
    nano, other = str(models["nano"]), str(models["other-hop"])
    assert smaller_models(str(models["base"]), nano) == [nano]
    with pytest.raises(SettingsError, match=r"other-hop.* has another hop or latency than base"):
        smaller_models(str(models["base"]), other)
    with pytest.raises(ModelError, match="nosuch"):
        smaller_models(str(models["base"]), "nosuch")


def test_a_damaged_neighbour_is_no_reason_to_stop(models):
    models["nano"].with_suffix(".json").write_text("{")
    assert names(smaller_models(str(models["base"]), "auto")) == ["small"]


@pytest.mark.parametrize(("text", "value"), [
    ("auto", "auto"), ("off", "off"), ("no", "off"), ("a, b", "a, b"), ("'off'", "off"),
])  # fmt: skip
def test_the_setting_in_yaml(tmp_path, text, value):
    (tmp_path / "live.yaml").write_text(f"overload:\n  step_down: {text}\n")
    assert Config.from_keys(read_yaml(tmp_path / "live.yaml")).live.step_down == value


@pytest.mark.parametrize("text", ["a,,b", "auto,b", " "])
def test_a_wrong_setting_says_what_is_right(text):
    with pytest.raises(SettingsError, match=r"give auto, off, or names|key=value"):
        Config.from_keys(parse_assignments([f"step_down={text}"]))
