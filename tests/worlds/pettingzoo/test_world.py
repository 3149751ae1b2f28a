"""PettingZoo's environments as worlds of ours: against the environment stepped by hand, whatever
the number of processes; agents that die, spaces, groups."""

import functools
import itertools
import multiprocessing

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Sequence, Tuple
from gymnasium.spaces.utils import flatdim
from mpe2 import simple_spread_v3
from pettingzoo import ParallelEnv

from marl import check_world
from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.replay import Replay
from marl.rendering.frames import draw
from marl.rollout import collect
from marl.worlds.pettingzoo.spaces import Kind
from marl.worlds.pettingzoo.world import PettingZooWorld

MPE2_TAG = "mpe2.simple_tag_v3:parallel_env"
TAG = {"max_cycles": 6, "continuous_actions": True, "render_mode": "rgb_array"}


class Fading(ParallelEnv):
    """Agents of two kinds count; b_1 is through after two steps, time is up after four."""

    metadata = {"name": "fading"}  # noqa: RUF012

    def __init__(self, done=None, seen=None):
        self.possible_agents = ["a_0", "a_1", "b_1"]
        numbers = Box(np.array([0.0, -4.0]), np.array([1.0, 4.0]), dtype=np.float64)
        self.done = done or {"a": numbers, "b": MultiDiscrete([2, 3])}
        self.seen = seen or {"a": Box(-9, 9, (2, 2)), "b": Tuple([Discrete(3), MultiBinary(2)])}

    @functools.cache  # noqa: B019
    def observation_space(self, agent):
        return self.seen[agent[0]]

    @functools.cache  # noqa: B019
    def action_space(self, agent):
        return self.done[agent[0]]

    def look(self):
        rows = {
            "a": np.full((2, 2), self.start + self.time),
            "b": (self.time % 3, np.array([0, 1])),
        }
        return {agent: rows[agent[0]] for agent in self.agents}

    def reset(self, seed=None, options=None):
        self.agents, self.time = self.possible_agents[:], 0
        self.start = float(np.random.default_rng(seed).integers(5))
        return self.look(), {}

    def step(self, actions):
        assert [*actions] == self.agents
        self.actions, self.time = actions, self.time + 1
        seen = self.look()
        through = {agent: agent == "b_1" and self.time == 2 for agent in self.agents}
        late = dict.fromkeys(self.agents, self.time == 4)
        reward = {agent: float(np.sum(actions[agent])) for agent in self.agents}
        self.agents = [x for x in self.agents if not (through[x] or late[x])]
        return seen, reward, through, late, {agent: {} for agent in reward}

    def close(self):
        pass


def random_actions(world, rng):
    return {
        g: group.random_actions(rng, world.num_worlds, len(group))
        for g, group in world.groups.items()
    }


@pytest.mark.parametrize("processes", [0, 2])
def test_it_keeps_what_worlds_promise(processes):
    world = PettingZooWorld(MPE2_TAG, 3, 5, options=TAG, processes=processes)
    check_world(world)
    assert draw(world.scene(2)).shape[2] == 3
    world.close()


def test_the_processes_do_not_matter():
    worlds = [PettingZooWorld(MPE2_TAG, 3, 5, options=TAG, processes=n) for n in (0, 2)]
    rng = np.random.default_rng(0)
    seen = [world.reset() for world in worlds]
    for _ in range(8):
        for g in seen[0]:
            np.testing.assert_array_equal(seen[0][g], seen[1][g])
        actions = random_actions(worlds[0], rng)
        one, other = (world.step(actions) for world in worlds)
        np.testing.assert_array_equal(one.reward["adversary"], other.reward["adversary"])
        np.testing.assert_array_equal(one.done, other.done)
        seen = [world.reset(one.done) for world in worlds]
    worlds[1].close()


def test_it_is_the_environment():
    world = PettingZooWorld(
        simple_spread_v3.__name__ + ":parallel_env", 2, 7, options={"max_cycles": 3}
    )
    env = simple_spread_v3.parallel_env(max_cycles=3)
    assert {g: group.names for g, group in world.groups.items()} == {
        "agent": ("agent_0", "agent_1", "agent_2")
    }
    observation = world.reset()
    by_hand, _ = env.reset(seed=int(world._boards["seed"][1]))
    rng, earned = np.random.default_rng(0), 0.0
    for t in range(3):
        for i, name in enumerate(env.possible_agents):
            np.testing.assert_array_equal(observation["agent"][1, i], by_hand[name])
        actions = random_actions(world, rng)
        step = world.step(actions)
        moves = {n: int(actions["agent"][1, i].argmax()) for i, n in enumerate(env.agents)}
        by_hand, reward, *_ = env.step(moves)
        np.testing.assert_allclose(step.reward["agent"][1], [*reward.values()], rtol=1e-6)
        earned += np.mean([*reward.values()])
        np.testing.assert_allclose(step.metrics["return"][1], earned, rtol=1e-6)
        assert step.truncated.tolist() == step.done.tolist() == [t == 2] * 2
        assert not step.terminated["agent"].any()
        observation = step.observation
    for i, name in enumerate(env.possible_agents):
        np.testing.assert_array_equal(observation["agent"][1, i], by_hand[name])
    world.close()


def test_agents_that_die_and_spaces():
    made = []
    world = PettingZooWorld(lambda: made.append(Fading()) or made[-1], 2, processes=0)
    assert {g: group.names for g, group in world.groups.items()} == {
        "a": ("a_0", "a_1"), "b": ("b_1",)
    }  # fmt: skip
    a, b = world.groups["a"], world.groups["b"]
    assert a.observation_space.shape == (4,)
    assert b.observation_space.shape == (5,)
    assert a.action_space == Box(-1.0, 1.0, (2,), np.float32)
    assert [(p.start, p.stop) for p in b.choices] == [(0, 2), (2, 5)]
    first = world.reset()
    assert first["b"][0, 0].tolist() == [1, 0, 0, 0, 1]
    act = {
        "a": np.tile(np.array([0.5, -2.0], np.float32), (2, 2, 1)),
        "b": np.tile(np.array([0, 1, 0, 0, 1], np.float32), (2, 1, 1)),
    }
    steps = [world.step(act) for _ in range(4)]
    assert made[-1].actions["a_0"].tolist() == [0.75, -4.0]  # scaled to the bounds, and clipped
    assert [s.reward["a"][0, 0] for s in steps] == [-3.25] * 4
    assert [s.reward["b"][0, 0] for s in steps] == [3, 3, 0, 0]
    assert [s.active["b"][0, 0] for s in steps] == [True, False, False, False]
    assert [s.terminated["b"][0, 0] for s in steps] == [False, True, True, True]
    assert [s.active["a"][0, 0] for s in steps] == [True, True, True, False]
    assert [s.present["b"][0, 0] for s in steps] == [True, True, False, False]
    assert [s.present["a"][0, 0] for s in steps] == [True, True, True, True]
    assert not any(s.terminated["a"].any() for s in steps)
    assert [s.observation["b"][0].any() for s in steps] == [True, True, False, False]
    assert [s.done[0] for s in steps] == [s.truncated[0] for s in steps] == [0, 0, 0, 1]
    with pytest.raises(RuntimeError, match="call reset"):
        world.step(act)
    assert world.reset(np.array([True, False]))["b"][0].any()


def test_agents_that_die_are_remembered_as_gone():
    world = PettingZooWorld(Fading, 2, processes=0)
    agent = DDPG(world.groups, DDPGConfig(name="maddpg", hidden=(8,)), seed=0)
    memory = Replay(world.groups, 8, torch.Generator().manual_seed(0))
    for transition, _ in itertools.islice(collect(world, agent, True), 4):
        memory.add(transition)
    batch = memory.sample(400, draw="steps")
    assert batch["a"].present.all()
    gone = batch["b"].present == 0.0
    assert 0.4 < gone.float().mean() < 0.6  # in two steps of four
    assert not batch["b"].next_observation[gone].any()
    assert batch["b"].next_observation[~gone].any()
    agent.update(batch)


def test_without_pictures_it_cannot_be_drawn():
    world = PettingZooWorld(MPE2_TAG, processes=0)
    world.reset()
    with pytest.raises(ValueError, match=r"make it with options {'render_mode': 'rgb_array'}"):
        world.scene()


def test_groups_of_ones_own():
    world = PettingZooWorld(
        MPE2_TAG, groups={"all": ["adversary_0", "adversary_2", "adversary_1"],
        "prey": ["agent_0"]}, processes=0,
    )  # fmt: skip
    assert world.groups["all"].names == ("adversary_0", "adversary_2", "adversary_1")


def test_seeds():
    world = PettingZooWorld(Fading, 3, 1, processes=0)
    first = world.reset()["a"]
    later = [world.reset()["a"] for _ in range(4)]
    assert any(not np.array_equal(first, x) for x in later)
    world.reseed([8, 9, 8])
    again = world.reset()["a"]
    assert np.array_equal(again[0], again[2])
    single = PettingZooWorld(Fading, 1, 9, processes=0)
    assert np.array_equal(single.reset()["a"][0], again[1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"groups": {"a": ["a_0"]}}, r"groups has the agents \['a_0'\]; there are"),
        ({"groups": {"all": ["a_0", "a_1", "b_1"]}}, "'all' have different spaces"),
        (
            {"options": {"seen": {"a": Sequence(Discrete(2)), "b": Discrete(2)}}},
            "no list of numbers",
        ),
        (
            {"options": {"done": {"a": Box(-np.inf, 1, (2,)), "b": Discrete(2)}}},
            "should be a bounded Box",
        ),
        ({"num_worlds": 0}, "num_worlds is 0"),
        ({"make_env": "nowhere:parallel_env"}, "'nowhere:parallel_env' cannot be imported"),
    ],
)
def test_what_cannot_be_is_said(settings, said):
    with pytest.raises(ValueError, match=said):
        PettingZooWorld(**{"make_env": Fading, "processes": 0, **settings})


def test_an_environment_that_fails_is_told():
    world = PettingZooWorld(MPE2_TAG, 2, processes=1, options={"max_cycles": 1})
    world.reset()
    act = random_actions(world, np.random.default_rng(0))
    world.step(act)
    with pytest.raises(RuntimeError, match=r"an environment failed: .*call reset"):
        world.step(act)


def test_processes_end_when_it_is_closed():
    before = {child.pid for child in multiprocessing.active_children()}
    world = PettingZooWorld(MPE2_TAG, 2, processes=2)
    own = [child for child in multiprocessing.active_children() if child.pid not in before]
    assert len(own) == 2
    world.close()
    for child in own:
        child.join(10)
    assert [child.exitcode for child in own] == [0, 0]
    assert world.num_worlds == 2  # it was closed, not forgotten


def test_agents_learn_in_it():
    world = PettingZooWorld(MPE2_TAG, 2, processes=0, options={"max_cycles": 4})
    agent = DDPG(world.groups, DDPGConfig(name="maddpg", hidden=(8,)))
    import torch

    replay = Replay(world.groups, 50, torch.Generator().manual_seed(0))
    turns = collect(world, agent, explore=True)
    for _ in range(10):
        replay.add(next(turns).transition)
    before = agent.weights()
    losses = agent.update(replay.sample(8, agent.draw))
    assert all(torch.isfinite(x) for x in losses.values())
    assert any((before[k] != x).any() for k, x in agent.weights().items())


class Filmed(Fading):
    """Agents observe a picture, which is drawn only if asked for."""

    metadata = {"name": "filmed", "render_modes": ["human", "rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        picture = Box(0, 255, (9, 8, 3), np.uint8)
        super().__init__(seen={"a": picture, "b": picture})
        self.render_mode = render_mode

    def look(self):
        drawn = self.time if self.render_mode else 0
        return {agent: np.full((9, 8, 3), drawn, np.uint8) for agent in self.agents}


def test_pictures_are_not_frozen():
    world = PettingZooWorld(Filmed, processes=0)
    seen = [world.reset()["a"][0, 0]]
    for _ in range(3):
        actions = random_actions(world, np.random.default_rng(0))
        seen.append(world.step(actions).observation["a"][0, 0])
    assert [x[0, 0, 0] for x in seen] == [0, 1, 2, 3]


class Marked(Filmed):
    """Pictures that tell the time, and their channels and places."""

    def look(self):
        places = np.arange(9 * 8 * 3, dtype=np.uint8).reshape(9, 8, 3)
        return dict.fromkeys(self.agents, places // 4 + 60 * (self.time + 1) % 256)

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


def test_pictures_stay_pictures():
    world, env = PettingZooWorld(Marked, processes=0), Marked("rgb_array")
    check_world(world)
    group = world.groups["a"]
    assert (group.observation_space.shape, group.observation_space.dtype) == ((3, 9, 8), np.uint8)
    assert group.picture.picture == (3, 9, 8)
    expected = env.reset()[0]["a_0"]
    observation = PettingZooWorld(Marked, processes=0).reset()["a"]
    assert observation.dtype == np.uint8
    assert (observation[0, 1] == expected.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("processes", [0, 1])
def test_the_last_pictures_at_once(processes):
    """Zeros before an episode's first one, and for who has left."""
    world = PettingZooWorld(Marked, 2, frames=3, processes=processes)
    rng = np.random.default_rng(0)
    assert world.groups["a"].observation_space.shape == (9, 9, 8)
    assert world.groups["a"].picture.count == 3
    assert world.groups["a"].observation_size == 9 * 9 * 8
    for _ in range(2):
        seen = [world.reset()]
        for _ in range(4):
            step = world.step(random_actions(world, rng))
            seen.append(step.observation)
        assert step.done.all()
        for t, observation in enumerate(seen):
            times = observation["a"][:, :, ::3, 0, 0]
            assert (
                times == [60 * (u + 1) % 256 if u >= 0 else 0 for u in range(t - 2, t + 1)]
            ).all()
            assert (observation["b"].any() == (t <= 2)).all()  # it leaves after two steps
    world.close()


@pytest.mark.parametrize(
    ("space", "picture"),
    [
        (Box(0, 255, (84, 96), np.uint8), (1, 84, 96)),
        (Box(0, 255, (84, 96, 3), np.uint8), (3, 84, 96)),
        (Box(0, 255, (84, 96, 4), np.uint8), (4, 84, 96)),
        (Box(0, 255, (3, 84, 96), np.uint8), (3, 84, 96)),
        (Box(0, 255, (8, 8, 1), np.uint8), (1, 8, 8)),
        (Box(0, 255, (7, 7, 3), np.uint8), None),
        (Box(0, 1, (84, 84, 3), np.float32), None),
        (Box(0, 255, (128,), np.uint8), None),
        (Discrete(3), None),
    ],
)
def test_what_a_picture_is(space, picture):
    kind = Kind(("a",), space, Discrete(2))
    assert kind.picture == picture
    if picture is None:
        assert kind.group.observation_space.shape == (flatdim(space),)
        return
    pixels = kind.pixels(space.sample())
    assert (pixels.shape, pixels.dtype) == (picture, np.uint8)
