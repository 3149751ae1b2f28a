"""Pictures as observations: every family acts on them and learns from them."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from marl.agents import find_agent
from marl.learning.augmentation import RandomShift
from marl.learning.exploration import ExplorationConfig
from marl.learning.memory import Memory
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.testing.probes import WORLDS, Probe
from marl.worlds.spaces import Group, Part

SIDE, FRAMES = 36, 2
SHAPE = (FRAMES, SIDE, SIDE)
SEEN = Box(0, 255, SHAPE, np.uint8)
SHOWN = Part("frames", count=FRAMES, scalars=SIDE * SIDE, picture=(1, SIDE, SIDE))
ROWS = {
    "iql": True,
    "vdn": True,
    "isac": True,
    "ippo": True,
    "ddpg": False,
    "atoc": False,
}  # does it choose here?


def group_of(agents, chooses):
    parts = (Part("side", scalars=2, choice=True),) if chooses else (Part("side", scalars=1),)
    actions = Box(0.0 if chooses else -1.0, 1.0, (parts[0].size,), np.float32)
    return Group(tuple(map(str, range(agents))), SEEN, actions, (SHOWN,), parts)


def agent_of(name, groups, seed=0, kind=None, **settings):
    found = find_agent(name)
    config = found.config(name=name, **{"hidden": (16,), **settings})
    return found.agent(groups, config, ExplorationConfig(kind=kind, sigma=0.5), seed)


@pytest.mark.parametrize("more", [{}, {"augment": True}])
@pytest.mark.parametrize("name", ROWS)
def test_every_row_passes_the_check(name, more):
    groups = {"agents": group_of(3, ROWS[name])}
    check_agent(lambda: agent_of(name, groups, **more), groups)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("iql", {"networks": "each"}),
        ("iql", {"memory": 5, "window": 3}),
        ("iql", {"replay": False, "memory": 5}),
        ("ippo", {"memory": 5}),
        ("ddpg", {"kind": "psne"}),
        ("isac", {"networks": "each", "layer_norm": ("actor", "critic")}),
    ],
)
def test_options(name, more):
    groups = {"agents": group_of(2, ROWS[name])}
    check_agent(lambda: agent_of(name, groups, **more), groups)


@pytest.mark.parametrize("name", ["atoc", "ddpg"])
def test_seeds_learn_side_by_side(name):
    """As each alone."""
    world = BrightSide(False)
    agents, alone = ([agent_of(name, world.groups, seed) for seed in (0, 1)] for _ in range(2))
    sizes = SimpleNamespace(replay_size=2000, update_every=2 * WORLDS, num_worlds=WORLDS)
    memory = Memory(world.groups, agents[0], sizes, torch.Generator().manual_seed(0))
    for transition, _ in itertools.islice(collect(world, agents[0], explore=True), 4):
        memory.add(transition)
    together = type(agents[0]).stack(agents)
    for _ in range(3):
        batches = [memory.sample(8) for _ in agents]
        together.update(batches)
        for agent, batch in zip(alone, batches, strict=True):
            agent.update(batch)
    observation = world.reset()
    both = {"agents": np.concatenate([observation["agents"]] * 2)}
    expected = np.concatenate([agent.act(observation)["agents"] for agent in alone])
    np.testing.assert_allclose(together.act(both)["agents"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["maddpg", "saddpg", "global", "masac", "mappo", "qmix", "atoc_comm"]
)
def test_pictures_of_everybody_are_refused(name):
    groups = {"agents": group_of(2, name == "qmix")}
    sentence = f"'{name}' learns from everybody's observations together, which cannot be pictures"
    with pytest.raises(ValueError, match=sentence):
        agent_of(name, groups)


def test_pictures_are_not_normalised():
    with pytest.raises(ValueError, match=r"agent\.normalise is on, but pictures are observed"):
        agent_of("iql", {"agents": group_of(2, True)}, normalise=True)


def test_pictures_are_no_sets():
    with pytest.raises(ValueError, match=r"agent\.network is 'set', but the world's observations"):
        agent_of("iql", {"agents": group_of(2, True)}, network="set")


class BrightSide(Probe):
    """Each agent sees a bright column on the left or right, in the newest frame only, and should
    choose that side, or say -1 or 1. The reward is 1 for the right side; a single step."""

    def __init__(self, chooses, agents=2):
        super().__init__({"agents": (agents, 1, 2 if chooses else 1)}, self.judge, self.draw)
        self.groups = {"agents": group_of(agents, chooses)}
        self.chooses = chooses

    def draw(self, rng, t):
        return {"agents": rng.integers(2, size=(WORLDS, len(self.groups["agents"]), 1))}

    def judge(self, t, seen, actions):
        right, action = seen["agents"][..., 0], actions["agents"]
        if self.chooses:
            return {"agents": (action.argmax(-1) == right).astype(float)}
        return {"agents": -np.square(action[..., 0] - (2.0 * right - 1.0) / 2)}

    def looks(self):
        right = self.seen["agents"][..., 0].astype(int)
        pictures = np.zeros((*right.shape, *SHAPE), np.uint8)
        e, i = np.indices(right.shape)
        pictures[e, i, -1, :, np.where(right == 1, SIDE - 3, 2)] = 200
        return {"agents": pictures}


# Without layer normalisation the actors' features grow until the actions stay at an end.
BOTH = {"actor_lr": 1e-3, "critic_lr": 3e-3, "layer_norm": ("actor", "critic")}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("iql", {"lr": 3e-3}),
        ("ippo", BOTH),
        ("atoc", {**BOTH, "action_penalty": 0.01}),
        pytest.param("vdn", {"lr": 3e-3}, marks=pytest.mark.long),
        pytest.param("isac", BOTH, marks=pytest.mark.long),
        pytest.param("ddpg", {**BOTH, "action_penalty": 0.01}, marks=pytest.mark.long),
    ],
)
def test_probe_the_bright_side(name, settings):
    world = BrightSide(ROWS[name])
    agent = agent_of(name, world.groups, gamma=0.0, **settings)
    sizes = SimpleNamespace(replay_size=2000, update_every=2 * WORLDS, num_worlds=WORLDS)
    memory = Memory(world.groups, agent, sizes, torch.Generator().manual_seed(0))
    for transition, _ in itertools.islice(collect(world, agent, explore=True), 100):
        memory.add(transition)
        if batch := memory.sample(64):
            agent.update(batch)
    observation = world.reset()
    right = observation["agents"][:, :, -1, 0, SIDE - 3] > 0
    action = agent.act(observation)["agents"]
    done = action.argmax(-1) == 1 if ROWS[name] else action[..., 0] > 0
    assert np.array_equal(done, right)


def test_a_shift_moves_all_channels_and_repeats_the_edge():
    shift = RandomShift(SHOWN)
    rows = torch.arange(2 * SIDE * SIDE, dtype=torch.float32).expand(600, 1, -1)
    pictures = shift(rows, torch.Generator().manual_seed(0)).view(600, *SHAPE)
    whole, place = rows[0, 0].view(SHAPE), torch.arange(SIDE)
    found = set()
    for picture in pictures:
        middle = int(picture[0, 6, 6])  # what is in the middle now tells from where it came
        down, right = middle // SIDE - 6, middle % SIDE - 6
        found.add((down, right))
        rows_of, columns_of = ((place + by).clamp(0, SIDE - 1) for by in (down, right))
        assert torch.equal(picture, whole[:, rows_of][:, :, columns_of])
    assert found == {*itertools.product(range(-4, 5), repeat=2)}
