"""PettingZoo's environments with other numbers of agents, by their own options."""

import pytest
from tiny import TINY

from marl.cli import main
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs.loading import find_policy
from marl.training.loop import train
from marl.worlds.pettingzoo.config import module_of
from marl.worlds.pettingzoo.counting import COUNTED, counts
from marl.worlds.registry import find_scenario


def made(name, **settings):
    return find_scenario(f"pettingzoo:{name}")(processes=0, **settings)


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


CASES = {
    "mpe2/simple_spread_v3": (2, {"N": 2}),
    "mpe2/simple_adversary_v3": (6, {"N": 5}),
    "mpe2/simple_tag_v3": (8, {"num_good": 2, "num_adversaries": 6}),
    "mpe2/simple_world_comm_v3": (3, {"num_good": 1, "num_adversaries": 2}),
    "mpe2/simple_formation_v1": (3, {"N": 3}),
    "mpe2/simple_line_v1": (3, {"N": 3}),
    "mpe2/collect_treasure_v1": (4, {"num_collectors": 3, "num_deposits": 1}),
    "sisl/multiwalker_v9": (1, {"n_walkers": 1}),
    "sisl/pursuit_v5": (2, {"n_pursuers": 2}),
    "butterfly/knights_archers_zombies_v11": (2, {"num_archers": 1, "num_knights": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_its_own_options_count_the_agents(name):
    pytest.importorskip(module_of(name))
    number, options = CASES[name]
    config = made(name, options={"max_cycles": 3})
    other = config.with_agents(number)
    assert other.options == {"max_cycles": 3, **options}
    assert other.agent_count == number
    assert [*other.groups] == [*config.groups]  # names of groups depend on no number
    assert config.with_agents(config.agent_count) is config


def test_every_one_of_the_table_is_tried():
    ours = {module_of(name).rpartition("_v")[0] for name in CASES}
    assert ours | {"pettingzoo.butterfly.pistonball"} == {*COUNTED}  # its pictures take long


def test_numbers_that_do_not_fit():
    tag = ["adversary_0", "adversary_1", "adversary_2", "agent_0"]
    with pytest.raises(ValueError, match=r"^can have 4, 8, 12, ... agents, not 6: num_good and "):
        counts("mpe2.simple_tag_v3", tag, 6)
    spread = ["agent_0", "agent_1"]
    with pytest.raises(ValueError, match=r"^can have 1, 2, 3, ... agents, not 0$"):
        counts("mpe2.simple_spread_v3", spread, 0)
    with pytest.raises(ValueError, match="has 2 agents, and marl knows no option that changes"):
        counts("pettingzoo.butterfly.cooperative_pong_v6", ["paddle_0", "paddle_1"], 4)


def test_given_teams_stay_as_they_are():
    config = made("mpe2/simple_line_v1", teams={"all": [f"agent_{i}" for i in range(4)]})
    assert config.with_agents(4) is config
    with pytest.raises(ValueError, match=r"has world.teams, which name its 4 agents"):
        config.with_agents(5)


def trained(name, run, **options):
    world = {"scenario": f"pettingzoo:{name}", "options": options, "processes": 0}
    agent = {"name": "ippo", "hidden": [8]}
    training = {"steps": 80, "num_worlds": 4, "log_every": 40}
    config = {"world": world, "agent": agent, "exploration": {}, "training": training}
    train(parse_config({**TINY, **config}), run)


def test_a_policy_plays_with_other_numbers(data, capsys):
    trained("mpe2/simple_line_v1", "a", N=2, max_cycles=10)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "a", "--agents", "2", "3", "5", "--episodes", "2"])
    assert stop.value.code == 0
    found = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:1] == "a"]
    assert found == ["2", "3", "5"]
    found = find_policy("a")
    assert found.world_for(5).options == {"N": 5, "max_cycles": 10}


@pytest.mark.parametrize(
    ("name", "option", "other"),
    [("sisl/multiwalker_v9", "n_walkers", 5), ("sisl/pursuit_v5", "n_pursuers", 8)],
)
def test_policies_of_two_play_with_more(data, name, option, other):
    pytest.importorskip(module_of(name))
    trained(name, "a", **{option: 2, "max_cycles": 10})
    found = find_policy("a")
    world = found.world_for(other).make_world(1, 0)
    (actions,) = found.policy(world, 0).act(world.reset()).values()
    assert actions.shape[:2] == (1, other)


def test_observations_that_grow_are_told(data):
    trained("mpe2/simple_spread_v3", "a", N=3, max_cycles=10)
    found = find_policy("a")
    world = found.world_for(5).make_world(1, 0)
    said = "with 5 agents 'agent' observe 30 numbers, but with 3 in training 18"
    with pytest.raises(UserError, match=said):
        found.policy(world, 0)
    with pytest.raises(UserError, match=r"the scenario 'pettingzoo:.*' can have 1, 2, 3"):
        found.world_for(0)
