"""Groups played by agents of their own: each learns as it would alone; others do not learn."""

import numpy as np
import pytest
import torch
from agents.probes import PLANE, batch_of, columns_of
from tiny import TINY, check_resumes

from marl.agents.atoc import ATOC, ATOCConfig
from marl.agents.core.by_group import ByGroup, Player
from marl.agents.ddpg import DDPG, DDPGConfig
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Sampling
from marl.policies.builtin import BUILTIN
from marl.runs.checkpoint import read_checkpoint
from marl.runs.loading import find_policy
from marl.runs.run import Run
from marl.testing.check_agent import check_agent
from marl.training.loop import train
from marl.worlds.registry import make

TEAM, RIVALS = ({g: PLANE[g]} for g in ("team", "rivals"))
TAG = with_settings(
    {**TINY, "world": {"scenario": "tag", "episode_length": 10}, "agent": {}, "exploration": {}},
    ["training.steps=80", "agent.hidden=[8]"],
)


def shared(groups, seed=0, name="atoc"):
    return DDPG(groups, DDPGConfig(name=name, hidden=(8,)), ExplorationConfig(), seed)


def talking(groups, seed=0):
    return ATOC(groups, ATOCConfig(hidden=(8,), thought=6), ExplorationConfig(), seed)


def both(first=shared, second=talking):
    return ByGroup([Player(RIVALS, second(RIVALS, 1)), Player(TEAM, first(TEAM))])


@pytest.mark.parametrize("agents", [(shared, talking), (shared, shared), (talking, talking)])
def test_check_agent(agents):
    check_agent(lambda: both(*agents), PLANE)


def test_each_learns_as_alone():
    """Also who learns from single agents, where another learns from whole steps."""
    agent, alone, other = both(), shared(TEAM), talking(RIVALS, 1)
    assert (alone.draw, other.draw) == ("agents", "steps")
    assert agent.sampling(PLANE) == dict.fromkeys(("rivals", "team"), Sampling("steps"))
    for seed in range(3):
        batch = batch_of(PLANE, seed=seed, draw="steps")
        result = agent.update(batch)
        single = {name: x["team"].flatten(0, 1)[:, None] for name, x in columns_by_name(batch)}
        expected = alone.update({"team": type(batch["team"])(**single)})
        expected = {f"team.{k}": x for k, x in expected.items()}
        theirs = other.update({"rivals": batch["rivals"]})
        expected |= {f"rivals.{k}": x for k, x in theirs.items()}
        assert result.keys() == expected.keys()
        assert all(torch.equal(x, expected[k]) for k, x in result.items())
    weights = alone.weights() | other.weights()
    assert weights.keys() == agent.weights().keys()
    assert all(torch.equal(x, weights[k]) for k, x in agent.weights().items())


def columns_by_name(batch):
    names = ("observation", "action", "reward", "next_observation", "terminated")
    return zip(names, columns_of(batch), strict=True)


def test_who_does_not_learn_stays_and_does_not_explore():
    frozen = Player(RIVALS, talking(RIVALS), learns=False)
    agent = ByGroup([Player(TEAM, shared(TEAM)), frozen])
    before = agent.weights()
    assert agent.sampling(PLANE) == {"team": Sampling("agents")}
    assert set(agent.columns(PLANE)) == {"team"}
    agent.update(batch_of(PLANE))
    after = agent.weights()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == name.startswith("rivals.")
    looks = {g: np.ones((2, len(x), x.observation_space.shape[0]), "f4") for g, x in PLANE.items()}
    acts, explored = agent.act(looks), agent.act(looks, explore=True)
    assert np.array_equal(acts["rivals"], explored["rivals"])
    assert not np.array_equal(acts["team"], explored["team"])


def test_each_has_its_own_way_of_drawing():
    """Windows of any length and rollouts, side by side; single agents only beside whole steps are
    drawn as those."""
    players = [Player(TEAM, shared(TEAM)), Player(RIVALS, talking(RIVALS))]
    players[1].policy.draw, players[1].policy.window = "windows", 3
    expected = {"team": Sampling("agents"), "rivals": Sampling("windows", 3)}
    assert ByGroup(players).sampling(PLANE) == expected
    players[0].policy.draw = "rollout"
    assert ByGroup(players).sampling(PLANE)["team"] == Sampling("rollout")


def test_without_a_batch_nobody_learns():
    agent = both()
    before = agent.weights()
    agent.update({"rivals": batch_of(RIVALS, draw="steps")["rivals"]})
    moved = {k.partition(".")[0] for k, x in agent.weights().items() if not x.equal(before[k])}
    assert moved == {"rivals"}


def test_weights_that_are_named_alike_are_refused():
    with pytest.raises(ValueError, match="name weights alike"):
        ByGroup([Player(TEAM, shared(TEAM)), Player(RIVALS, shared(TEAM))])


# ------------------------------------------------------------------------------------- in a config


def tag(*settings):
    return parse_config(with_settings(TAG, settings))


@pytest.mark.parametrize(
    "settings",
    [
        ["agents.good=random"],
        ["agents.good.policy=still", "agents.adversaries=atoc_comm"],
        ["agent.name=maddpg", "agents.adversaries=atoc_comm"],
    ],
)
def test_runs_resume_byte_for_byte(data, monkeypatch, settings):
    check_resumes(tag(*settings, "training.checkpoint_every=40"), monkeypatch, 40)


def test_only_the_others_learn(data):
    train(tag("agents.good=random"), "hunters")
    checkpoint = read_checkpoint(Run("hunters").weights)
    assert {name.partition(".")[0] for name in checkpoint.tensors} == {"adversaries"}
    config = checkpoint.config.resolve()
    assert config.to_json()["agents"] == {"good": {"policy": "random"}}
    world = make("tag", num_worlds=2)
    policy = find_policy("hunters").policy(world, 3)
    random = BUILTIN["random"](world, 3).act(world.reset())
    acts = [policy.act(world.reset()) for _ in range(2)]
    assert acts[0].keys() == random.keys()
    assert not np.array_equal(acts[0]["good"], acts[1]["good"])


def test_a_frozen_run_of_any_agent(data):
    train(tag("agent.name=atoc_comm", "agent.thought=6"), "talkers")
    train(tag("agent.name=maddpg", "agents.good.frozen=talkers"), "hunters")
    theirs = read_checkpoint(Run("talkers").weights).tensors
    ours = read_checkpoint(Run("hunters").weights)
    mine = {k: x for k, x in ours.tensors.items() if k.startswith("good.")}
    assert mine.keys() == {k for k in theirs if k.startswith("good.")}
    assert all(np.array_equal(x, theirs[k]) for k, x in mine.items())
    player = ours.config.resolve().agents["good"]
    assert (player.frozen, player.agent["name"], player.agent["thought"]) == (
        "talkers",
        "atoc_comm",
        6,
    )


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        ({"good": "rndom"}, 'agents.good.name is "rndom", but should be .*did you mean random'),
        ({"good": {"policy": "maddpg"}}, 'agents.good.policy is "maddpg", but should be random or'),
        ({"good": {"policy": "random", "gamma": 0.5}}, "agents.good.gamma"),
        ({"good": {"name": "atoc_comm", "gama": 0.5}}, "did you mean agents.good.gamma"),
        ({"prey": "random"}, "agents.prey is no group"),
        ({"good": {"policy": ["random"]}}, r'agents.good.policy is \["random"\], but should be'),
        ({"good": {"policy": "random", "name": "ddpg"}}, "agents.good.name is not a known setting"),
        ({"good": {"frozen": 3}}, "agents.good.frozen is 3, but should be a valid string"),
        ({"good": {"frozen": "x", "agent": 7}}, "agents.good.agent is 7, but should be an object"),
        ({"good": {"frozen": "x", "agent": {"gamma": 1}}}, 'agents.good.agent.name is "", but'),
        ({"good": {"frozen": "x", "agent": {"name": 3}}}, "agents.good.agent.name is 3, but"),
        (
            {"good": {"frozen": "x", "agent": {"name": "atoc_comm", "gama": 1}}},
            "did you mean agents.good.agent.gamma",
        ),
    ],
)
def test_what_cannot_be_is_said(agents, said):
    with pytest.raises(UserError, match=said):
        parse_config({**TAG, "agents": agents})


def test_somebody_has_to_learn(data):
    with pytest.raises(UserError, match="nobody learns"):
        train(tag("agents.good=random", "agents.adversaries=still"), "x")


def test_a_policy_that_does_not_fit_the_world_is_refused(data):
    with pytest.raises(UserError, match="needs the world 'tennis'"):
        train(tag("agents.good=landing"), "x")


@pytest.mark.parametrize(
    ("agent", "other"),
    [("ippo", "iql"), ("qmix", "maddpg"), ("masac", "mappo"), ("vdn", "isac")],
)
def test_families_learn_side_by_side(data, monkeypatch, agent, other):
    """Each from its own way of drawing; stopped in the middle of a rollout, too."""
    small = ["world.actions=discrete", "agent.hidden=[8]", "training.update_every=24"]
    players = [f"agent.name={agent}", f'agents.good={{"name": "{other}", "hidden": [8]}}']
    config = tag(*small, *players)
    check_resumes(config, monkeypatch, 28)
