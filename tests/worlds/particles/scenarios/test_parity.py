"""Every scenario against MPE2, step for step: same states, same actions, same observations and
rewards."""

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from marl.worlds.particles.world import ParticleWorld
from marl.worlds.registry import find_scenario

STEPS = 25
MOVES = 5


@dataclass
class Pair:
    """A scenario of MPE2 and ours."""

    module: str
    name: str
    theirs: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)


def spread(n, ratio):
    theirs = {"N": n, "local_ratio": ratio}
    ours = {"num_agents": n, "observation": "everything", "reward": "mpe2", "local_ratio": ratio}
    return Pair("simple_spread_v3", "spread", theirs, {**ours, "episode_length": STEPS})


PAIRS = {
    "simple": Pair("simple_v3", "simple"),
    "adversary": Pair("simple_adversary_v3", "adversary", {"N": 3}, {"num_good": 3}),
    "crypto": Pair("simple_crypto_v3", "crypto"),
    "push": Pair("simple_push_v3", "push"),
    "reference": Pair(
        "simple_reference_v3", "reference", {"local_ratio": 0.3}, {"local_ratio": 0.3}
    ),
    "speaker_listener": Pair("simple_speaker_listener_v4", "speaker_listener"),
    "spread": spread(4, 0.3),
    "tag": Pair(
        "simple_tag_v3",
        "tag",
        {"num_good": 2, "num_adversaries": 3, "num_obstacles": 2},
        {"num_good": 2},
    ),
    "world_comm": Pair("simple_world_comm_v3", "world_comm"),
}


def goals_of(name, world):
    """What was chosen in an MPE2 world, as our scenarios number it."""
    agents, landmarks = world.agents, world.landmarks
    if name in ("adversary", "push"):
        return [landmarks.index(agents[0].goal_a)]
    if name == "crypto":
        keys = [landmark.color for landmark in landmarks]
        return [
            landmarks.index(agents[0].goal_a),
            next(k for k, colour in enumerate(keys) if colour is agents[2].key),
        ]
    if name == "reference":
        return [landmarks.index(agent.goal_b) for agent in agents]
    if name == "speaker_listener":
        return [landmarks.index(agents[0].goal_b)]
    return []


def random_actions(world, discrete, rng):
    """For every agent of an MPE2 world its action there, and the same one as ours."""
    theirs, ours = [], []
    for agent in world.agents:
        push, move = rng.uniform(-1, 1, 2), int(rng.integers(MOVES))
        said, letter = rng.uniform(0, 1, world.dim_c), int(rng.integers(max(world.dim_c, 1)))
        if discrete:
            parts = [np.eye(MOVES)[move]] * agent.movable
            parts += [np.eye(max(world.dim_c, 1))[letter]] * (not agent.silent)
            number = move if agent.movable else 0
            if not agent.silent:
                number += letter * (MOVES if agent.movable else 1)
            theirs.append(number)
        else:
            left, down = np.maximum(-push, 0)
            right, up = np.maximum(push, 0)
            five = [np.array([0, left, right, down, up])] * agent.movable
            theirs.append(np.concatenate([*five, *[said] * (not agent.silent)]))
            parts = [push] * agent.movable + [2 * said - 1] * (not agent.silent)
        ours.append(np.concatenate(parts))
    return theirs, ours


def play(name, pair, discrete, episodes):
    """Random episodes in MPE2: how they begin, what was done, seen and rewarded."""
    module = importlib.import_module(f"mpe2.{pair.module}")
    env = module.raw_env(continuous_actions=not discrete, **pair.theirs)
    world, rng = env.world, np.random.default_rng(0)
    starts, actions, observations, rewards = [], [], [], []
    for episode in range(episodes):
        env.reset(seed=episode)
        for agent in world.agents:
            agent.state.p_vel = rng.uniform(-1, 1, 2) * agent.movable
        starts.append(
            (
                [agent.state.p_pos.copy() for agent in world.agents],
                [agent.state.p_vel.copy() for agent in world.agents],
                [landmark.state.p_pos.copy() for landmark in world.landmarks],
                goals_of(name, world),
            )
        )
        observations.append([[env.scenario.observation(agent, world) for agent in world.agents]])
        rewards.append([])
        actions.append([])
        for _ in range(STEPS):
            theirs, ours = random_actions(world, discrete, rng)
            env.current_actions = theirs
            env._execute_world_step()
            seen = [env.scenario.observation(agent, world) for agent in world.agents]
            actions[-1].append(ours)
            observations[-1].append(seen)
            rewards[-1].append([env.rewards[agent.name] for agent in world.agents])
    return [np.array(x, float) for x in zip(*starts, strict=True)], actions, observations, rewards


def differences(name, discrete, episodes, **change):
    """The largest difference of an observation and of a reward."""
    pair = PAIRS[name]
    starts, actions, observations, rewards = play(name, pair, discrete, episodes)
    kind = "discrete" if discrete else "continuous"
    scenario = find_scenario(pair.name)(
        actions=kind, integration="explicit", **{**pair.ours, **change}
    )
    ours = ParticleWorld(scenario, episodes, dtype=np.float64, search="lanes")

    def difference(mine, theirs, t):
        """Between ours, {g: [E, N, ...]}, and theirs, [E][t][agent]."""
        first, worst = 0, 0.0
        for rows in mine.values():
            members = range(first, first + rows.shape[1])
            there = np.array([[theirs[e][t][i] for i in members] for e in range(episodes)])
            assert there.shape == rows.shape
            first, worst = members.stop, max(worst, np.abs(there - rows).max())
        return worst

    positions, velocities, landmarks, goals = starts
    seen = ours.set_state(positions, velocities, landmarks, goals=goals)
    observation, reward = difference(seen, observations, 0), 0.0
    for t in range(STEPS):
        does, first = {}, 0
        for g, group in ours.groups.items():
            members = range(first, first + len(group))
            does[g] = np.array([[actions[e][t][i] for i in members] for e in range(episodes)])
            first = members.stop
        step = ours.step(does)
        assert step.done.all() == (t == STEPS - 1)
        observation = max(observation, difference(step.observation, observations, t + 1))
        reward = max(reward, difference(step.reward, rewards, t))
    return observation, reward


@pytest.mark.parametrize("episodes", [20, pytest.param(250, marks=pytest.mark.learning)])
@pytest.mark.parametrize("name", PAIRS)
def test_observations_and_rewards_are_mpe2s(name, episodes):
    """So many with continuous actions and as many with discrete ones."""
    for discrete in (False, True):
        observation, reward = differences(name, discrete, episodes)
        assert observation < 1e-6
        assert reward < 1e-6


def test_the_comparison_can_fail():
    """A prey that is a hundredth slower is noticed."""
    observation, reward = differences("tag", False, 20, good_speed=1.287)
    assert observation > 1e-3
    assert reward > 1e-3
