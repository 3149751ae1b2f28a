import json

import pytest
from shell import run

from marl.config.json_text import read_json
from marl.config.parsing import config_names, find_config
from marl.config.schema import config_schema

validators = pytest.importorskip("jsonschema.validators")


def faults(config):
    """The sentences of a validator of JSON schemas."""
    made = validators.Draft202012Validator(config_schema())
    return [error.message for error in made.iter_errors(config)]


def test_every_shipped_config_follows_it():
    names = config_names()
    assert "spread" in names
    assert [name for name in names if faults(read_json(find_config(name)))] == []


@pytest.mark.parametrize(
    "config",
    [
        {"wrld": {}},
        {"training": {"stps": 3}},
        {"training": {"steps": 0}},
        {"training": {"steps": "many"}},
        {"world": {"scenario": "spread", "num_obstacles": 3}},
        {"world": {"scenario": "tag", "num_obstacles": -1}},
        {"agent": {"name": "ddpg", "gama": 0.9}},
    ],
)
def test_faults_are_found(config):
    assert faults(config)


def test_settings_of_ones_own_are_not_known_to_it():
    assert not faults({"world": {"scenario": "own:Own", "x": 1}, "agent": {"name": "own:OWN"}})
    assert not faults({"base": "mpe", "world": {"num_obstacles": 3}})


def test_the_command_and_a_config_that_names_it(data, tmp_path, capsys):
    status, output, _ = run(capsys, "schema")
    assert status == 0
    assert json.loads(output) == json.loads(json.dumps(config_schema()))
    (tmp_path / "c.json").write_text(
        '{"$schema": "marl.json", "base": "spread", "world": {"x": 1}}'
    )
    status, _, errors = run(capsys, "train", str(tmp_path / "c.json"))
    assert (status, errors.partition(" is ")[0]) == (2, "marl: world.x")
