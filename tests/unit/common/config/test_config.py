from __future__ import annotations

import tomllib

import pytest

from common.config import (
    RunConfig,
    describe_settings,
    join_assignments,
    parse_assignment,
    read_toml,
    resolve,
    to_toml,
)
from common.config.layers import flatten
from common.config.text import permitted
from common.errors import ConfigError


def test_commented_toml_reads_back_as_the_same_settings(tmp_path):
    config = resolve({"privacy.epsilon": 2.5, "training.batch-size": 32, "data.data-dir": 'a "b" \\c'})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(read_toml(path)) == config
    comments = [line for line in to_toml(config).splitlines() if line.startswith("# ")]
    assert len(comments) >= len(config.flat())


def test_flat_settings_are_what_flower_carries():
    flat = RunConfig().flat()
    assert flat["federation.num-server-rounds"] == 200
    assert all(type(value) in (bool, int, float, str) for value in flat.values())
    assert resolve(flat) == RunConfig()


def test_flower_app_settings_are_exactly_ours(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    assert flatten(project["tool"]["flwr"]["app"]["config"]) == RunConfig().flat()


def test_later_layers_win():
    assert resolve({"privacy.epsilon": 1.0}, {"privacy.epsilon": 2.0}).privacy.epsilon == 2.0


@pytest.mark.parametrize(
    ("setting", "switched_off"),
    [
        ({"training.local-epochs": 2}, "training.local-steps"),
        ({"training.batch-size": 32}, "training.sample-rate"),
    ],
)
def test_naming_one_alternative_switches_the_other_off(setting, switched_off):
    assert resolve(setting).flat()[switched_off] == "off"


def test_two_alternatives_at_once_are_refused():
    with pytest.raises(ConfigError, match="set exactly one of training"):
        resolve({"training.local-epochs": 2, "training.local-steps": 3})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("privacy.epsilon=-1", "privacy.epsilon = -1 is not permitted: give a finite number above 0"),
        ("privacy.epsilon=nan", "privacy.epsilon = nan is not permitted"),
        ("privacy.delta=1.5", 'give a number above 0 and below 1 or "auto"'),
        ("privacy.epsilonn=3", "unknown setting privacy.epsilonn: did you mean privacy.epsilon?"),
        ("epsilon=3", "unknown setting epsilon: did you mean privacy.epsilon?"),
        ("data.partitioner=dirichlt", "did you mean dirichlet?"),
        (
            "federation.num-clients=2.5",
            "federation.num-clients = 2.5 is not permitted: give a whole number at least 1",
        ),
        ("federation.num-clients=true", "federation.num-clients = True is not permitted"),
        ("training.momentum=1", "at least 0 and below 1"),
        ("data.dataset=folder", "needs data.data-dir, the folder of images: --set data.data-dir=DIR"),
        ("nonsense", "is not section.key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_value_and_the_way_out(setting, message):
    with pytest.raises(ConfigError) as caught:
        resolve(parse_assignment(setting))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_momentum_does_not_apply_to_adam():
    with pytest.raises(ConfigError, match="does not apply to adam"):
        resolve({"training.optimizer": "adam", "training.momentum": 0.9})


@pytest.mark.parametrize(
    ("content", "message"), [(b"a = [", "not valid TOML"), (b"\xff\xfe", "cannot be read")]
)
def test_a_file_that_is_not_toml_is_named(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_toml(path)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="does not exist: `fedledger config"):
        read_toml(tmp_path / "none.toml")


def test_every_setting_is_described():
    assert describe_settings().count("\n") + 1 == len(RunConfig().flat())


def test_stamps():
    assert RunConfig().stamp == ""
    assert resolve({"privacy.enabled": False}).stamp == "NOT PRIVATE"
    assert resolve({"privacy.reproducible-noise": True}).stamp == "NOT PRIVATE: REPRODUCIBLE NOISE"


def test_settings_of_one_command_must_not_contradict_each_other():
    assert join_assignments([{"a.b": 1}, {"a.c": 2}, {"a.b": 1}]) == {"a.b": 1, "a.c": 2}
    with pytest.raises(ConfigError, match="a.b is given twice, as 1 and as 3: give it once"):
        join_assignments([{"a.b": 1}, {"a.b": 3}])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("privacy.epsilon", "a finite number above 0"),
        ("privacy.delta", 'a number above 0 and below 1 or "auto"'),
        ("training.sample-rate", 'a number at least 1e-06 and at most 1 or "off"'),
        ("federation.server-learning-rate", 'a number above 0 and at most 1000 or "auto"'),
        ("runtime.workers", 'a whole number at least 1 or "auto"'),
    ],
)
def test_what_is_permitted_in_words(name, words):
    assert permitted(*name.split(".")) == words


def test_a_section_is_no_setting():
    with pytest.raises(ConfigError, match="model is a section, not a setting: set one of model.name"):
        resolve({"model": "cnn"})
