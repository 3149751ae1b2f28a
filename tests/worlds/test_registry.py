"""Names of scenarios, MPE2's included, and what `make` says of a wrong one."""

import re

import pytest

import marl
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.worlds.registry import MPE2, SCENARIOS, find_scenario, register_scenario

MPE2_VERSIONS = {name: 4 if name == "simple_speaker_listener" else 3 for name in MPE2}


@pytest.mark.parametrize("name", MPE2)
def test_mpe2s_names_are_ours(name):
    ours = MPE2[name]
    for alias in (name, f"{name}_v{MPE2_VERSIONS[name]}"):
        assert find_scenario(alias) is SCENARIOS[ours]
        assert parse_config({"world": {"scenario": alias}}).scenario == ours
        assert marl.make(alias, num_worlds=2).scenario == marl.make(ours).scenario


def test_the_other_door_knows_them():
    assert marl.parallel_env("simple_tag_v3").metadata["name"] == "tag_v0"


def test_a_scenario_that_was_registered_keeps_its_name(monkeypatch):
    monkeypatch.setattr("marl.worlds.registry.SCENARIOS", dict(SCENARIOS))
    register_scenario("simple_tag", SCENARIOS["push"])
    assert find_scenario("simple_tag") is SCENARIOS["push"]
    assert find_scenario("simple_tag_v3") is SCENARIOS["tag"]


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("sprad", {}, "no scenario is called 'sprad'; did you mean spread?"),
        ("simple_tga_v3", {}, "no scenario is called 'simple_tga_v3'; did you mean simple_tag?"),
        ("zzz", {}, "no scenario is called 'zzz'; known are: spread, simple, adversary, "),
        (
            "spread",
            {"num_agent": 3},
            "world.num_agent is not a known setting; did you mean world.num_agents?",
        ),
        (
            "simple_tag",
            {"num_adversary": 3},
            "world.num_adversary is not a known setting; did you mean world.num_adversaries?",
        ),
        (
            "spread",
            {"num_agents": 0},
            "world.num_agents is 0, but should be greater than or equal to 1",
        ),
        ("spread", {"reward": "best"}, 'world.reward is "best", but should be '),
    ],
)
def test_make_answers_in_one_sentence(name, parameters, sentence):
    for door in (marl.make, marl.parallel_env):
        with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
            door(name, **parameters)
        assert "\n" not in str(caught.value)


def test_the_command_line_says_the_same():
    with pytest.raises(UserError) as caught:
        parse_config({"world": {"num_agent": 3}})
    with pytest.raises(ValueError, match=re.escape(str(caught.value))):
        marl.make("spread", num_agent=3)
