"""What the tests of PPO share: groups, agents, rollouts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marl.agents.ppo import PPO
from marl.agents.ppo_config import FAMILY, PPOConfig
from marl.learning.record import Batch
from marl.testing.probes import group_of
from marl.worlds.spaces import Group, Part

TEAM = {"team": group_of(3, 4, 2)}
UNLIKE = TEAM | {"rivals": group_of(2, 3, 1)}
SPEAKS = (Part("move", scalars=3, choice=True), Part("push", scalars=1))
MIXED = {"team": group_of(2, 4, 4, action_parts=SPEAKS)}  # choices and a number
ROWS = pytest.mark.parametrize("name", FAMILY)
NETWORKS = pytest.mark.parametrize("networks", ["one", "each"])
QUICK = {"hidden": (8,), "epochs": 1}


def agent_of(groups=TEAM, seed=0, **settings):
    return PPO(groups, PPOConfig(**QUICK | settings), seed=seed)


def lively(agent):
    """Output layers start near zero; now everything has an effect."""
    with torch.no_grad():
        for learner in agent.learners.values():
            for network in (learner.actor, learner.critic):
                for name, parameter in network.named_parameters():
                    if "output" in name:
                        parameter *= 100.0
    return agent


def rollout_of(agent, groups, steps=5, worlds=4, seed=0, left=False):
    """What an agent did on random numbers: [T, E, N, ...]. World 0 is terminated, world 1 cut off;
    `left`: some agents leave early."""
    random = torch.Generator().manual_seed(seed)
    continues = torch.ones(steps, worlds)
    continues[-1] = continues[2, 0] = continues[3, 1] = 0.0
    batch = {}
    for g, group in groups.items():
        (o,), shape = group.observation_space.shape, (steps, worlds, len(group))
        observation = torch.randn(*shape, o, generator=random)
        following = torch.randn(*shape, o, generator=random)
        following[:-1] = torch.where(
            continues[:-1, :, None, None] > 0, observation[1:], following[:-1]
        )
        terminated = torch.zeros(shape)
        terminated[2, 0] = 1.0
        present = None
        if left:
            present = torch.ones(shape)
            terminated[1, 2, 0] = 1.0
            present[2:, 2, 0] = 0.0
        reward = torch.randn(shape, generator=random)
        batch[g] = Batch(
            observation, torch.zeros(0), reward, following, terminated, present, None, continues
        )
    return acted(agent, batch)


def acted(agent, batch):
    """The batch with what the agent does on its observations."""
    agent.reset()
    done = []
    for t in range(len(next(iter(batch.values())).reward)):
        action = agent.act({g: x.observation[t].numpy() for g, x in batch.items()}, explore=True)
        done.append((action, agent.recorded()))
        ended = next(iter(batch.values())).continues[t] == 0.0
        agent.reset(ended.numpy())
    agent.reset()
    return {
        g: replace(
            x,
            action=torch.tensor(np.stack([action[g] for action, _ in done])),
            added={
                name: torch.tensor(np.stack([recorded[name][g] for _, recorded in done]))
                for name, by_group in done[0][1].items()
                if g in by_group
            },
        )
        for g, x in batch.items()
    }


LEGAL = Group(
    ("0", "1"), group_of(2, 7, 4).observation_space, group_of(2, 7, 4).action_space, (), SPEAKS, 3
)
