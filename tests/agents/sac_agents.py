"""What the tests of soft actor-critic share: groups, agents, batches."""

import pytest
from agents import probes
from torch.nn import functional as F

from marl.agents.sac import CRITICS, SAC, SACConfig
from marl.testing.probes import group_of
from marl.worlds.spaces import Part

CHOICES = (Part("move", scalars=3, choice=True), Part("say", scalars=2, choice=True))
TEAM = {"team": group_of(3, 4, 5, action_parts=CHOICES)}
UNLIKE = TEAM | {"rivals": group_of(2, 3, 2)}


every_row = pytest.mark.parametrize("networks", ["one", "each"])
names = pytest.mark.parametrize("name", CRITICS)


def agent_of(name, networks="one", groups=UNLIKE, seed=0, **settings):
    config = SACConfig(**{"name": name, "networks": networks, "hidden": (8,)} | settings)
    return SAC(groups, config, seed=seed)


def batch_of(groups, rows=8, seed=0, draw="steps"):
    """Random transitions, with one-hot choices."""
    batch = probes.batch_of(groups, rows, seed, draw)
    for g, group in groups.items():
        for piece in group.choices:
            chosen = batch[g].action[..., piece].argmax(-1)
            batch[g].action[..., piece] = F.one_hot(chosen, piece.stop - piece.start).float()
    return batch


def trained(agent, updates=5):
    for seed in range(updates):
        agent.update(batch_of(agent.groups, seed=10 + seed, draw=agent.draw))
    return agent
