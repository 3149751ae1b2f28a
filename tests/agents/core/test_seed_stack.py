"""Agents side by side do and learn what each does and learns alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents.probes import EVERYTHING, PLANE, batch_of

from marl.agents.core.seed_stack import SeedStack
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.worlds.spaces import Group

SEEDS = 3
OPTIONS = EVERYTHING | {"precision": "float32", "actor_lr": 0.01, "critic_lr": 0.02, "tau": 0.1}


def agents_of(name, kind="gaussian", groups=PLANE, **settings):
    """One for each seed."""
    config = DDPGConfig(**{"name": name, "hidden": (8,)} | settings)
    return [DDPG(groups, config, ExplorationConfig(kind=kind), seed) for seed in range(SEEDS)]


def looks(groups: dict[str, Group], rng):
    """Of two worlds for each seed."""
    return {
        g: rng.normal(size=(2 * SEEDS, len(group), *group.observation_space.shape)).astype("f4")
        for g, group in groups.items()
    }


def batches(agent, turn):
    # Not from 0: there a weight has a gradient of almost nothing, whose last bits decide on Adam's
    # first step; which they are differs by processor.
    drawn = [
        batch_of(agent.groups, 16, 10 * turn + s + 4000, draw=agent.draw) for s in range(SEEDS)
    ]
    if turn % 2:  # some have left the game
        for s, batch in enumerate(drawn):
            for g, rows in [*batch.items()]:
                there = (torch.arange(rows.reward.numel()) % (s + 2) > 0).float()
                batch[g] = replace(rows, present=there.view_as(rows.reward))
    return drawn


def live(alone, together, turns=8):
    """Act, learn, now and then begin an episode: both ways."""
    rng = np.random.default_rng(0)
    for turn in range(turns):
        seen = looks(alone[0].groups, rng)
        for explore in (True, False):
            does = together.act(seen, explore)
            for s, agent in enumerate(alone):
                own = agent.act({g: x[2 * s : 2 * s + 2] for g, x in seen.items()}, explore)
                for g, action in own.items():
                    np.testing.assert_allclose(does[g][2 * s : 2 * s + 2], action, atol=1e-6)
        drawn = batches(alone[0], turn)
        results = together.update(drawn)
        for agent, batch, result in zip(alone, drawn, results, strict=True):
            expected = agent.update(batch)
            assert result.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(result[name], value, rtol=1e-5, atol=1e-6)
        over = rng.random(2 * SEEDS) < 0.3
        together.reset(over)
        for s, agent in enumerate(alone):
            agent.reset(over[2 * s : 2 * s + 2])
        together.anneal(turn / turns)
        for agent in alone:
            agent.anneal(turn / turns)


def differences(one, other):
    """Between two agents, in everything that they would store."""
    state, others = one.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    gaps = [float((x.double() - others[k].double()).abs().max()) for k, x in state.items()]
    return np.max(gaps)  # NaN, if there is one


@pytest.mark.parametrize("kind", ["gaussian", "ou", "psne"])
@pytest.mark.parametrize("name", FAMILY)
def test_side_by_side_is_as_alone(name, kind, monkeypatch):
    monkeypatch.setattr("marl.agents.core.learner.ADAPT_EVERY", 2)
    settings = OPTIONS | {"final_lr": 0.1}
    alone, agents = (agents_of(name, kind, **settings) for _ in range(2))
    before = [agent.state_dict() for agent in alone]
    live(alone, SeedStack(agents))
    for s in range(SEEDS):
        assert differences(alone[s], agents[s]) < 1e-6
        moved = alone[s].state_dict()
        assert not torch.equal(before[s]["team.updates"], moved["team.updates"])


def test_sets_and_random_views():
    team = {"team": PLANE["team"]}
    settings = {"network": "set", "width": 4, "random_views": {"others": 0}, "augment": True}
    alone, agents = (agents_of("atoc", groups=team, **settings) for _ in range(2))
    live(alone, SeedStack(agents), turns=4)
    assert max(map(differences, alone, agents)) < 1e-6


def test_they_can_go_on_alone_and_together_again():
    alone, agents, others = (agents_of("maddpg", **OPTIONS) for _ in range(3))
    live(alone, SeedStack(agents), turns=3)
    for other, agent in zip(others, agents, strict=True):
        other.load_state_dict(agent.state_dict())
    live(alone, SeedStack(others), turns=3)
    assert max(map(differences, alone, others)) < 1e-6
    batch = batches(alone[0], 99)[0]
    for agent in (alone[0], others[0]):
        agent.update(batch)  # alone, though its networks are slices
    assert differences(alone[0], others[0]) < 1e-6


@pytest.mark.parametrize("name", FAMILY)
def test_seeds_do_not_feel_each_other(name):
    """Not even one that has gone to pieces."""
    calm, disturbed = (agents_of(name, **OPTIONS) for _ in range(2))
    for agents, factor in ((calm, 1.0), (disturbed, float("nan"))):
        together = SeedStack(agents)
        for turn in range(4):
            drawn = batches(agents[0], turn)
            for columns in drawn[1].values():
                columns.reward.mul_(factor)
            together.update(drawn)
    assert differences(calm[0], disturbed[0]) == 0
    assert differences(calm[2], disturbed[2]) == 0
    assert np.isnan(differences(calm[1], disturbed[1]))


def test_those_that_have_not_learned_equally_often_are_refused():
    agents = agents_of("atoc")
    agents[1].update(batches(agents[1], 0)[0])
    with pytest.raises(ValueError, match="equally often"):
        SeedStack(agents)
