"""Learned messages: the actor against a naive one, who hears whom, checks. (How they learn:
test_messages_learning.py.)"""

import itertools

import numpy as np
import pytest
import torch
from agents.messages_agents import acted_naively, agent_of, known, lively, world_of

from marl.agents import messages_actor
from marl.agents.core.base import View
from marl.agents.messages import MessagesAgent, MessagesConfig
from marl.learning.exploration import ExplorationConfig
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.worlds.base import Neighbours
from marl.worlds.particles.scenarios.spread import Spread


@pytest.mark.parametrize(("n", "rounds"), [(5, 1), (5, 3), (2, 2)])
def test_the_actor_is_the_naive_one(n, rounds):
    """Step after step, with what is remembered; also with fewer agents than places for them."""
    world = world_of(n)
    agent = lively(agent_of(world.groups, rounds=rounds))
    observation = world.reset()
    agent.reset()
    memory = [[torch.zeros(4).double()] * n for _ in range(2)]
    claim = [[-1] * n for _ in range(2)]
    for _ in range(4):
        near = world.neighbours(3, 4)
        actions = agent.act(agent.perceive(View(observation, None, near)))["agents"]
        for e in range(2):
            expected, memory[e], claim[e] = acted_naively(
                agent.learners["agents"].actor, observation["agents"][e],
                near["agents"].agents[e], near["agents"].landmarks[e], memory[e], claim[e], rounds,
            )  # fmt: skip
            np.testing.assert_allclose(actions[e], expected.detach(), atol=2e-5)
            now = known(agent)[e]
            np.testing.assert_allclose(now[:, :4], torch.stack(memory[e]).detach(), atol=2e-5)
            assert now[:, 4].tolist() == claim[e]
        observation = world.step({"agents": actions}).observation


def test_many_agents_act_piece_by_piece(monkeypatch):
    world = world_of(60)
    wholes, pieces = (lively(agent_of(world.groups, rounds=2)) for _ in range(2))
    observation, near = world.reset(), world.neighbours(3, 4)
    expected = wholes.act(wholes.perceive(View(observation, None, near)))["agents"]
    monkeypatch.setattr(messages_actor, "PIECE", 7)
    found = pieces.act(pieces.perceive(View(observation, None, near)))["agents"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 80])
def test_weights_from_a_few_agents_act_for_any_number(n):
    agent, world = lively(agent_of(world_of(4).groups)), world_of(n, 1)
    other = agent_of(world.groups)
    other.load_weights(agent.weights())
    actions = next(collect(world, other)).transition.action["agents"]
    assert actions.shape == (1, n, 2)
    assert np.isfinite(actions).all()


# ----------------------------------------------------------------------------------------- hearing


def line(n):
    """Agents in a line, each of whom hears the one before it only."""
    near = np.full((1, n, 3), -1)
    near[0, 1:, 0] = np.arange(n - 1)
    return {"agents": Neighbours(near, np.zeros((1, n, 4), int))}


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_news_travels_one_agent_a_round(rounds):
    """What the first one sees changes what the others do as far as the rounds carry it: what is
    said is what was known before the round."""
    world = world_of(5, 1)
    world.reset()

    def acts(change, steps, **settings):
        agent = lively(agent_of(world.groups, rounds=rounds, **settings))
        agent.reset()
        for t in range(steps):
            rows = world.reset(np.zeros(1, bool))["agents"].copy()
            if t == 0:
                rows[0, 0, 0] += change
            result = agent.act(agent.perceive(View({"agents": rows}, None, line(5))))["agents"]
        return result[0]

    for steps in (1, 2):
        changed = (acts(0.0, steps) != acts(0.5, steps)).any(1)
        reach = rounds - 1 if steps == 1 else 2 * rounds - 1
        assert changed.tolist() == [i <= reach for i in range(5)]
    late = (acts(0.0, 2, message_delay=1) != acts(0.5, 2, message_delay=1)).any(1)
    assert late.tolist() == [i <= min(rounds - 1, 1) for i in range(5)]
    for mute in ({"message_loss": 1.0}, {"hearing_radius": 0.0}):
        assert (acts(0.0, 2, **mute) != acts(0.5, 2, **mute)).any(1).tolist() == [True] + 4 * [
            False
        ]


def test_worlds_do_not_hear_each_other():
    one, two = world_of(worlds=1), world_of(worlds=3)
    for agent, world in ((lively(agent_of(one.groups, rounds=3)), one),
                         (lively(agent_of(two.groups, rounds=3)), two)):  # fmt: skip
        turns = list(itertools.islice(collect(world, agent), 5))
        last = turns[-1].transition.action["agents"][0]
        if world is one:
            alone = last
    np.testing.assert_allclose(last, alone, atol=1e-6)


def test_new_episodes_begin_with_an_empty_memory():
    world = world_of(worlds=3)
    agent = lively(agent_of(world.groups))
    list(itertools.islice(collect(world, agent), 4))
    assert (known(agent)[..., :4] != 0).all()
    agent.reset(np.array([False, True, False]))
    assert (known(agent)[1] == [0, 0, 0, 0, -1]).all()
    assert (known(agent)[[0, 2], :, :4] != 0).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"claim_loss": 0.1, "augment": True},
        {"rounds": 2, "twin_critics": True, "average": 0.9},
        {"precision": "bfloat16"},
    ],
)
def test_check_agent(settings):
    groups = Spread(num_agents=5).groups
    check_agent(lambda: agent_of(groups, **settings), groups)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normalise": True}, "agent.normalise is on"),
        ({"kind": "psne"}, "has the kinds gaussian, ou, none"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    noise = ExplorationConfig(kind=settings.pop("kind", "gaussian"))
    with pytest.raises(ValueError, match=said):
        MessagesAgent(world_of().groups, MessagesConfig(**settings), noise)
