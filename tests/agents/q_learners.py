"""What the tests of Q-learners share: groups that choose, all kinds of batches, learning games."""

import itertools
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from agents.probes import group_of

from marl.agents.q_learning import FAMILY, QConfig, QLearning
from marl.learning.exploration import ExplorationConfig
from marl.learning.memory import Memory
from marl.learning.record import Batch
from marl.rollout import collect
from marl.worlds.spaces import Part


def choosers(agents, sees, *choices, team="all"):
    """A group whose agents choose, one of so many for each of `choices`."""
    parts = tuple(Part(f"choice {k}", scalars=n, choice=True) for k, n in enumerate(choices))
    return replace(group_of(agents, sees, sum(choices), action_parts=parts), team=team)


TEAM = {"team": choosers(3, 4, 3)}
TWO = {"movers": choosers(2, 3, 3), "speakers": choosers(1, 2, 2, 2)}
EVERYTHING = {"layer_norm": True, "normalise": True, "average": 0.9, "reward_scale": 0.5}
MEMORY = {"memory": 5, "window": 3}
ROLLOUT = {"replay": False, "td_lambda": 0.6, "epochs": 2, "minibatches": 2}
rows = pytest.mark.parametrize("name", FAMILY)


def agent_of(name, groups=TEAM, seed=0, **settings):
    mixer = {"mixing": 4, "hypernet": 6} if name == "qmix" else {}
    config = QConfig(**{"name": name, "hidden": (8,)} | mixer | settings)
    return QLearning(groups, config, ExplorationConfig(sigma=1.0), seed)


def batch_of(agent, rows=6, steps=4, seed=0, left=False):
    """Random experience in the shape that this agent draws. `left`: some agents had left."""
    random = torch.Generator().manual_seed(seed)
    draw = agent.draw
    shape = {
        "agents": (rows,),
        "steps": (rows,),
        "windows": (rows, agent.window),
        "rollout": (steps, rows),
    }[draw]
    ends = (torch.rand(shape, generator=random) < 0.3).float()
    inside = continues = None
    if draw == "windows":
        inside = torch.ones(shape)
        inside[:, 1:] = 1.0 - ends[:, :-1].cummax(1).values
    if draw == "rollout":
        continues = 1.0 - ends
        continues[-1] = 0.0

    def columns(group):
        n = 1 if draw == "agents" else len(group)
        (sees,) = group.observation_space.shape
        action = torch.zeros(*shape, n, *group.action_space.shape)
        for piece in group.choices:
            chosen = torch.randint(piece.stop - piece.start, (*shape, n, 1), generator=random)
            action[..., piece].scatter_(-1, chosen, 1.0)
        over = (ends * (torch.rand(shape, generator=random) < 0.5))[..., None].expand(*shape, n)
        stays = torch.rand(*shape, n, generator=random) < 0.6
        time = {"windows": 1, "rollout": 0}.get(draw)
        alive = stays.float() if time is None else stays.float().cummin(time).values
        leaves = 1.0 - (alive if time is None else alive.roll(-1, time))
        hidden = agent.config.memory
        return Batch(
            torch.randn(*shape, n, sees, generator=random),
            action,
            torch.randn(*shape, n, generator=random),
            torch.randn(*shape, n, sees, generator=random),
            torch.maximum(over, leaves) if left else over.clone(),
            alive if left else None,
            inside,
            continues,
            {"hidden": torch.randn(*shape, n, hidden, generator=random)} if hidden else {},
        )

    return {g: columns(group) for g, group in agent.groups.items()}


def trained(agent, updates=4):
    """Targets lag behind by now."""
    for seed in range(updates):
        agent.update(batch_of(agent, seed=100 + seed))
    return agent


class Sizes(NamedTuple):
    """Of memory."""

    replay_size: int = 4000
    update_every: int = 16
    num_worlds: int = 16


SIZES = Sizes()


def learn(world, turns, sizes=SIZES, batch=64, **settings):
    """Collect with random choices, store, sample, update, as training does; an agent that has
    learnt."""
    quick = {"hidden": (32,), "gamma": 0.99, "lr": 1e-2, "tau": 0.05, "networks": "each"}
    config = QConfig(**quick | settings)
    agent = QLearning(world.groups, config, ExplorationConfig(sigma=1.0), seed=0)
    memory = Memory(world.groups, agent, sizes, torch.Generator().manual_seed(0))
    for turn, (transition, _) in enumerate(itertools.islice(collect(world, agent, True), turns)):
        agent.anneal(turn / turns)
        memory.add(transition)
        if (turn + 1) * sizes.num_worlds % sizes.update_every == 0:
            agent.update(memory.sample(batch))
    return agent


def score(world, agent):
    """The mean reward of an agent in the greedy episodes of all worlds, summed over their steps."""
    turns = itertools.islice(collect(world, agent), world.length)
    return float(sum(turn.step.reward["agents"].mean() for turn in turns))
