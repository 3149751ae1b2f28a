"""What the tests of agents share: random batches, networks by hand, and probe environments with
known answers."""

import itertools

import numpy as np
import torch
from gymnasium.spaces import Box

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.learning.replay import Replay
from marl.rollout import collect
from marl.worlds.base import Step, World
from marl.worlds.spaces import Group, Part

WORLDS = 16


def group_of(agents, sees, does, parts=(), action_parts=()):
    """So many agents, each seeing and doing so many numbers."""
    return Group(
        tuple(map(str, range(agents))),
        Box(-np.inf, np.inf, (sees,), np.float32),
        Box(-1.0, 1.0, (does,), np.float32),
        parts,
        action_parts,
    )


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


class Probe(World):
    """Sixteen worlds with a known answer.

    shapes[g]: number of agents, of numbers that each sees, and that each does. observe(rng, t)
    draws the observations {g: [E, N, O]} of time t [E]; reward(t, observation, action) judges them,
    {g: [E, N]}. After `length` steps all are terminated, or time runs out if `truncates`.
    """

    def __init__(self, shapes, reward, observe=None, length=1, truncates=False):
        self.num_worlds = WORLDS
        self.groups = {g: group_of(*shape) for g, shape in shapes.items()}
        self.reward, self.length, self.truncates = reward, length, truncates
        self.seen = {g: np.zeros((WORLDS, n, sees)) for g, (n, sees, _) in shapes.items()}
        nothing = self.seen
        self.observe = observe or (lambda rng, t: nothing)
        self.rng, self.time = np.random.default_rng(0), np.zeros(WORLDS, int)

    def reset(self, mask=None):
        mask = np.ones(WORLDS, bool) if mask is None else mask
        self.time[mask] = 0
        new, begun = self.observe(self.rng, self.time), mask[:, None, None]
        self.seen = {g: np.where(begun, new[g], seen) for g, seen in self.seen.items()}
        return self.looks()

    def looks(self):
        return {g: seen.astype(np.float32) for g, seen in self.seen.items()}

    def step(self, actions):
        rewards = self.reward(self.time, self.seen, actions)
        self.time = self.time + 1
        self.seen = self.observe(self.rng, self.time)
        over = self.time >= self.length
        ended = over & (not self.truncates)
        shapes = {g: (WORLDS, len(group)) for g, group in self.groups.items()}
        terminated = {g: np.broadcast_to(ended[:, None], shape) for g, shape in shapes.items()}
        return Step(
            self.looks(),
            {g: np.broadcast_to(rewards[g], shape).astype("f4") for g, shape in shapes.items()},
            terminated,
            over & self.truncates,
            {g: ~ended for g, ended in terminated.items()},
            over,
            {},
        )

    def state(self):
        raise NotImplementedError

    def scene(self, world=0):
        raise NotImplementedError

    def state_dict(self):
        raise NotImplementedError

    def load_state_dict(self, state):
        raise NotImplementedError


def learn(world, updates=600, **settings):
    """As training does: collect, store, sample, update. Returns the agent and its memory."""
    quick = {"hidden": (32, 32), "gamma": 0.5, "tau": 0.05, "actor_lr": 3e-3, "critic_lr": 5e-3}
    config = DDPGConfig(**quick | settings)
    agent = DDPG(world.groups, config, ExplorationConfig(sigma=0.5), seed=0)
    memory = Replay(world.groups, 4000, torch.Generator().manual_seed(0))
    for turn, (transition, _) in enumerate(itertools.islice(collect(world, agent, True), updates)):
        memory.add(transition)
        agent.anneal(turn / updates)
        agent.update(memory.sample(64, agent.draw))
    return agent, memory
