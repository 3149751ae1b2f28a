"""Cells and lanes give the same bytes; both give what brute force in numpy gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def observations(scenario, agents, landmarks, search):
    world = ParticleWorld(scenario, len(agents), seed=0, search=search)
    world.set_state(agents, np.zeros_like(agents), landmarks)
    return world.reset(np.zeros(len(agents), bool))["agents"]


def naive_observation(agents, landmarks, i, k, count):
    """Agent i's view in one world, in float64 numpy."""

    def rows(points, skip, k):
        delta = points - agents[i]
        order = np.argsort((delta**2).sum(1), kind="stable")
        order = [j for j in order if j != skip][:k]
        out = np.zeros((k, 3))
        out[: len(order), :2] = delta[order]
        out[: len(order), 2] = 1
        return out.ravel()

    return np.concatenate([[0, 0], rows(agents, i, k), rows(landmarks, -1, count)])


@settings(max_examples=40, deadline=None)
@given(
    num_agents=st.integers(1, 30),
    num_landmarks=st.integers(1, 30),
    stretch=st.sampled_from([0.1, 1.0, 3.0]),
    seed=st.integers(0, 10**6),
)
def test_nearest_is_brute_force(num_agents, num_landmarks, stretch, seed):
    """Any number of bodies, crowded, spread out or far outside the square."""
    scenario = Spread(num_agents=num_agents, num_landmarks=num_landmarks, perceive_velocities=False)
    rng = np.random.default_rng(seed)
    size = stretch * scenario.half_size
    agents = rng.uniform(-size, size, (2, num_agents, 2)).astype(np.float32)
    landmarks = rng.uniform(-size, size, (2, num_landmarks, 2)).astype(np.float32)
    in_lanes = observations(scenario, agents, landmarks, "lanes")
    in_cells = observations(scenario, agents, landmarks, "cells")
    assert in_lanes.tobytes() == in_cells.tobytes()
    for i in range(num_agents):
        expected = naive_observation(agents[1], landmarks[1], i, 3, 4)
        np.testing.assert_allclose(in_lanes[1, i], expected, atol=1e-6)


def test_equal_distances_are_ordered_by_number():
    """Agents on a lattice have many neighbours at the same distance."""
    x, y = np.meshgrid(np.arange(8.0), np.arange(8.0))
    agents = np.stack([x.ravel(), y.ravel()], 1)[None].astype(np.float32) - 3.5
    scenario = Spread(num_agents=64, num_landmarks=3, num_perceived_agents=6)
    landmarks = np.zeros((1, 3, 2), np.float32)
    in_lanes = observations(scenario, agents, landmarks, "lanes")
    in_cells = observations(scenario, agents, landmarks, "cells")
    assert in_lanes.tobytes() == in_cells.tobytes()


@pytest.mark.parametrize(
    "reward",
    [
        "shared",
        "assignment",
        *(pytest.param(x, marks=pytest.mark.long) for x in ("mpe2", "nearest")),
    ],
)
def test_cells_and_lanes_agree_over_an_episode(reward):
    """40 steps with everybody pushing to the middle: many contacts, equal to the last bit."""
    worlds = [
        ParticleWorld(Spread(num_agents=40, reward=reward), 2, seed=5, search=search)
        for search in ("lanes", "cells")
    ]
    seen = [world.reset()["agents"] for world in worlds]
    rng = np.random.default_rng(0)
    collisions = 0.0
    for _ in range(40):
        noise = rng.uniform(-0.5, 0.5, (2, 40, 2))
        push = np.clip(-worlds[0].positions()[0] + noise, -1, 1).astype(np.float32)
        steps = [world.step({"agents": push}) for world in worlds]
        assert steps[0].observation["agents"].tobytes() == steps[1].observation["agents"].tobytes()
        assert steps[0].reward["agents"].tobytes() == steps[1].reward["agents"].tobytes()
        for name in steps[0].metrics:
            assert np.array_equal(steps[0].metrics[name], steps[1].metrics[name])
        collisions += steps[0].metrics["collisions"].sum()
    assert seen[0].tobytes() == seen[1].tobytes()
    assert collisions > 10
