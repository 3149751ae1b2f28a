"""What the tests of agents share: random batches, networks by hand, learning in probes."""

import itertools

import numpy as np
import torch
from torch import nn

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.learning.replay import Replay
from marl.rollout import collect
from marl.testing.probes import WORLDS, Probe, group_of  # noqa: F401 (for those who import this)
from marl.worlds.spaces import Part

VECTORS = (Part("velocity", vectors=1), Part("others", 2, vectors=1, scalars=1, masked=True))
PLANE = {
    "team": group_of(3, 8, 2, VECTORS, (Part("force", vectors=1),)),
    "rivals": group_of(2, 3, 2, (Part("place", vectors=1, scalars=1),), (Part("push", vectors=1),)),
}
EVERYTHING = {
    "layer_norm": ("actor", "critic"),
    "normalise": True,
    "action_penalty": 0.01,
    "gradient_clip": 1.0,
    "twin_critics": True,
    "actor_delay": 2,
    "target_smoothing": 0.2,
    "average": 0.9,
    "augment": True,
    "precision": "bfloat16",
}
"""Every option of an actor and a critic at once."""


def batch_of(groups, rows=6, seed=0, draw="agents"):
    """Random transitions; who is terminated counts up in binary."""
    random = torch.Generator().manual_seed(seed)

    def columns(group):
        n = len(group) if draw == "steps" else 1
        (sees,), (does,) = group.observation_space.shape, group.action_space.shape
        return Batch(
            torch.randn(rows, n, sees, generator=random),
            2 * torch.rand(rows, n, does, generator=random) - 1,
            torch.randn(rows, n, generator=random),
            torch.randn(rows, n, sees, generator=random),
            (torch.arange(rows)[:, None] >> torch.arange(n) & 1).float(),
        )

    return {g: columns(group) for g, group in groups.items()}


def columns_of(batch):
    """The five columns that all batches have, {group: tensor} each."""
    names = ("observation", "action", "reward", "next_observation", "terminated")
    return [{g: getattr(own, name) for g, own in batch.items()} for name in names]


def trained(agent, updates=5):
    """Targets lag behind by now, so that mistaking one network for another shows."""
    for seed in range(updates):
        agent.update(batch_of(agent.groups, seed=10 + seed, draw=agent.draw))
    return agent


def layers_of(state, prefix, k=0):
    """Weights and biases of network k of a stack in a state dictionary, first layer first."""
    names = [n for n in state if n.startswith(prefix) and n.endswith("weight")]
    return [(state[n][k].numpy(), state[n.replace("weight", "bias")][k].numpy()) for n in names]


def forward(layers, x):
    for weight, bias in layers[:-1]:
        x = x @ weight + bias
        x = np.where(x > 0, x, 0.01 * x)
    weight, bias = layers[-1]
    return x @ weight + bias


def critics_view(o, a, g, i, joint, each, join):
    """What agent i's critic sees of everybody's observations and actions {g: [B, N, size]}: its own
    first, then its group's in turn, then the other groups'; observations in everybody's own order,
    where each agent has a critic for itself."""
    seen = []
    for x, first in ((o, 0 if joint and each else i), (a, i)):
        n = x[g].shape[1]
        own = [x[g][:, (first + j) % n] for j in range(n if joint else 1)]
        others = [x[h][:, j] for h in x if h != g for j in range(x[h].shape[1])]
        seen += own + (others if joint else [])
    return join(seen, -1)


def ordinary(stacked, k):
    """Network k of a stack, made of torch's own layers."""
    layers = []
    for i, layer in enumerate([*stacked.layers, stacked.output]):
        linear = nn.Linear(*layer.weight.shape[1:], dtype=torch.float64)
        linear.weight.data, linear.bias.data = layer.weight[k].T.clone(), layer.bias[k, 0].clone()
        layers.append(linear)
        if layer is not stacked.output:
            if stacked.norms:
                norm = nn.LayerNorm(layer.weight.shape[2], dtype=torch.float64)
                norm.weight.data = stacked.norms[i].weight[k, 0].clone()
                norm.bias.data = stacked.norms[i].bias[k, 0].clone()
                layers.append(norm)
            layers.append(nn.LeakyReLU())
    return nn.Sequential(*layers)


def step(optimiser, loss, networks, clip):
    optimiser.zero_grad()
    loss.backward()
    for network in networks:
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimiser.step()


@torch.no_grad()
def follow(target, source, tau):
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old += tau * (new - old)


def learn(world, updates=600, **settings):
    """As training does, with quick settings. Returns the agent and its memory."""
    quick = {"hidden": (32, 32), "gamma": 0.5, "tau": 0.05, "actor_lr": 3e-3, "critic_lr": 5e-3}
    config = DDPGConfig(**quick | settings)
    agent = DDPG(world.groups, config, ExplorationConfig(sigma=0.5), seed=0)
    return agent, trained_in(world, agent, updates)


def trained_in(world, agent, updates):
    """Collect, store, sample, update; the memory."""
    memory = Replay(world.groups, 4000, torch.Generator().manual_seed(0))
    for turn, (transition, _) in enumerate(itertools.islice(collect(world, agent, True), updates)):
        memory.add(transition)
        agent.anneal(turn / updates)
        agent.update(memory.sample(64, agent.draw))
    return memory
