"""Groups that play by the weights of another run."""

import shutil

import numpy as np
import pytest
import torch
from tiny import TINY, check_resumes

from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint
from marl.runs.frozen import freeze, resolve_frozen
from marl.runs.loading import find_policy
from marl.runs.run import Run
from marl.training.loop import train
from marl.worlds.registry import make

TAG = with_settings(
    {**TINY, "world": {"scenario": "tag", "episode_length": 10}, "exploration": {"sigma": 0.5}},
    ["training.steps=80", "training.checkpoint_every=40"],
)
FROZEN = ["agent.name=ddpg", "agents.good.frozen=prey"]


def tag(*settings):
    return parse_config(with_settings(TAG, settings))


@pytest.fixture
def prey(data):
    """A run whose good agents are MADDPG with networks of their own kind."""
    train(tag("agent.name=maddpg", "agent.hidden=[6, 4]", "training.seed=5"), "prey")
    return read_checkpoint(Run("prey").weights)


def weights(name, group):
    tensors = read_checkpoint(Run(name).weights).tensors
    return {k: x for k, x in tensors.items() if k.startswith(f"{group}.")}


def test_it_plays_by_them_and_does_not_learn(prey):
    train(tag(*FROZEN), "hunters")
    frozen, theirs = weights("hunters", "good"), weights("prey", "good")
    assert frozen.keys() == theirs.keys()
    assert all(np.array_equal(frozen[k], theirs[k]) for k in frozen)
    train(tag(*FROZEN, "training.learning_starts=1000"), "untrained")
    before, after = (weights(name, "adversaries") for name in ("untrained", "hunters"))
    assert any((before[k] != after[k]).any() for k in after)

    config = read_checkpoint(Run("hunters").weights).config.resolve()
    assert config.agents["good"].name == "maddpg"
    assert config.agents["good"].hidden == (6, 4)
    assert config.agents["good"].frozen == "prey"
    shutil.rmtree(Run("prey").models)  # nobody needs it any more
    assert (
        find_policy("hunters")
        .policy(config.make_world(2, 0), 0)
        .act(config.make_world(2, 0).reset())
    )


def test_it_acts_without_noise(prey):
    config = resolve_frozen(tag(*FROZEN))
    world = make("tag", num_worlds=4)
    agent = config.make_agent(world.groups, 0)
    freeze(agent, config)
    observation = world.reset()
    greedy, noisy = agent.act(observation), agent.act(observation, explore=True)
    assert np.array_equal(greedy["good"], noisy["good"])
    assert not np.array_equal(greedy["adversaries"], noisy["adversaries"])
    state = agent.state_dict()  # critics of others ask what it would do next
    greedy_actor = [key for key in state if key.startswith("good.greedy.")]
    assert greedy_actor
    for key in greedy_actor:
        for network in ("actor", "target_actor"):
            assert torch.equal(state[key.replace("greedy", network)], state[key])
    original = find_policy("prey").policy(world, 0).act(observation)
    assert np.array_equal(original["good"], greedy["good"])


def test_it_resumes(prey, monkeypatch):
    """Byte for byte, also where critics see what the frozen ones do."""
    check_resumes(tag(*FROZEN[1:], "agent.name=maddpg"), monkeypatch, 40)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["agents.good.frozen=nobody"], "there is no run or policy 'nobody'"),
        (["agent.frozen=prey"], "agent.frozen has no place there"),
        (
            ["agents.good.frozen=prey", "world.num_good=2"],
            r"agents.good.frozen is 'prey', which does not fit: weight good\.\S+ has shape",
        ),
        (["agents.good.frozen=spread"], "'spread', which has no group 'good'"),
        (["agents.good.frozen=spread_auction"], "'spread_auction', which has no group 'good'"),
    ],
)
def test_what_cannot_be_is_said(prey, settings, said):
    with pytest.raises(UserError, match=said):
        train(tag(*settings), "x")
    assert not Run("x").models.exists()
