"""World.neighbours: who is near whom by number, as brute force has it and as agents see it."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from marl.worlds.particles.lane_arrays import load, store
from marl.worlds.particles.layout import Body
from marl.worlds.particles.scenario import Scenario
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Group


class TwoTeams(Scenario):
    """Five and two agents on one square, who see where they are."""

    @property
    def groups(self):
        space, force = Box(-np.inf, np.inf, (2,), np.float32), Box(-1.0, 1.0, (2,), np.float32)
        names = {"many": 5, "few": 2}
        return {
            g: Group(tuple(f"{g}_{i}" for i in range(n)), space, force) for g, n in names.items()
        }

    @property
    def agents(self):
        return [Body()] * 7

    @property
    def landmarks(self):
        return [Body()]

    def reset(self, world, random):
        for i in range(world.agents.position.shape[0]):
            store(world.agents.position, (i, 0), 0.1 * i)
            store(world.agents.position, (i, 1), 0.0)

    def observe(self, world, i, out):
        store(out, 0, load(world.agents.position, (i, 0)))
        store(out, 1, load(world.agents.position, (i, 1)))

    def score(self, world, reward, metrics):
        for i in range(world.agents.position.shape[0]):
            store(reward, i, 0.0)


def brute_force(positions, count):
    """[E, n, 2] -> i64[E, n, count], in plain numpy."""
    worlds, n, _ = positions.shape
    found = np.full((worlds, n, count), -1)
    for e in range(worlds):
        for i in range(n):
            squared = np.square(positions[e] - positions[e, i]).sum(1)
            order = [j for j in np.argsort(squared, kind="stable") if j != i][:count]
            found[e, i, : len(order)] = order
    return found


def placed(scenario, positions, **options):
    world = ParticleWorld(scenario, len(positions), **options)
    m = len(scenario.landmarks)
    world.set_state(positions, np.zeros_like(positions), np.zeros((len(positions), m, 2)))
    return world


@pytest.mark.parametrize("search", ["lanes", "cells"])
@pytest.mark.parametrize(("n", "worlds", "count"), [(1, 3, 2), (3, 20, 5), (9, 18, 3), (80, 2, 7)])
def test_neighbours_are_brute_force(n, worlds, count, search):
    """Also where there are too few, and in batches that do not fill their lanes."""
    positions = np.random.default_rng(n).uniform(-2, 2, (worlds, n, 2)).astype(np.float32)
    world = placed(Spread(num_agents=n), positions, search=search)
    found = world.neighbours(count)
    assert list(found) == ["agents"]
    assert found["agents"].agents.dtype == np.int64
    assert np.array_equal(found["agents"].agents, brute_force(positions, count))


def test_a_thousand_agents_in_cells():
    world = ParticleWorld(Spread(num_agents=1000), 2, seed=1)
    world.reset()
    assert world._blocks.lanes == 1  # else this would test the other search once more
    for _ in range(3):  # neighbours of now, not of the beginning
        world.step({"agents": np.ones((2, 1000, 2), np.float32)})
    assert np.array_equal(
        world.neighbours(6)["agents"].agents, brute_force(world.positions()[0], 6)
    )


@pytest.mark.parametrize("search", ["lanes", "cells"])
def test_equal_distances_are_ordered_by_number(search):
    x, y = np.meshgrid(np.arange(6.0), np.arange(6.0))
    positions = np.stack([x.ravel(), y.ravel()], 1)[None].astype(np.float32) - 2.5
    world = placed(Spread(num_agents=36), positions, search=search)
    assert np.array_equal(world.neighbours(4)["agents"].agents, brute_force(positions, 4))


@pytest.mark.parametrize("n", [4, 500])
def test_spread_observes_its_agents_in_this_order(n):
    """The neighbours' places relative to oneself are those of the observation, row by row."""
    world = ParticleWorld(Spread(num_agents=n), 2, seed=3)
    rng = np.random.default_rng(0)
    observation = world.reset()["agents"]
    for _ in range(4):
        seen = observation[..., 2:17].reshape(2, n, 3, 5)
        numbers = world.neighbours(3)["agents"].agents
        assert (seen[..., 4] == 1).all()
        places = world.positions()[0]
        for e in range(2):
            relative = places[e][numbers[e]] - places[e][:, None]
            np.testing.assert_array_equal(relative, seen[e, ..., :2])
        actions = {"agents": rng.uniform(-1, 1, (2, n, 2)).astype(np.float32)}
        observation = world.step(actions).observation["agents"]


@pytest.mark.parametrize("search", ["lanes", "cells"])
def test_neighbours_are_of_ones_own_group(search):
    """However near the others stand."""
    positions = np.random.default_rng(0).uniform(-1, 1, (18, 7, 2)).astype(np.float32)
    found = placed(TwoTeams(), positions, search=search).neighbours(3)
    assert np.array_equal(found["many"].agents, brute_force(positions[:, :5], 3))
    assert np.array_equal(found["few"].agents, brute_force(positions[:, 5:], 3))
    assert (found["few"].agents[:, 0] == [1, -1, -1]).all()


@pytest.mark.parametrize("search", ["lanes", "cells"])
def test_landmarks_are_brute_force_and_in_the_order_of_the_observation(search):
    world = ParticleWorld(Spread(num_agents=9, num_landmarks=6), 18, seed=2, search=search)
    observation = world.reset()["agents"]
    near = world.neighbours(0, 7)["agents"]
    assert near.agents.shape == (18, 9, 0)
    agents, landmarks = world.positions()
    for e, i in np.ndindex(18, 9):
        squared = np.square(landmarks[e] - agents[e, i]).sum(1)
        assert near.landmarks[e, i].tolist() == [*np.argsort(squared, kind="stable"), -1]
    seen = observation[..., 17:].reshape(18, 9, 4, 3)[..., :2]
    worlds = np.arange(18)[:, None, None]
    relative = landmarks[worlds, near.landmarks[..., :4]] - agents[:, :, None]
    np.testing.assert_array_equal(relative, seen)


def test_asking_changes_nothing():
    world, other = (ParticleWorld(Spread(num_agents=12), 3, seed=2) for _ in range(2))
    world.reset(), other.reset()
    actions = {"agents": np.full((3, 12, 2), 0.3, np.float32)}
    for _ in range(5):
        world.neighbours(4)
        one, two = world.step(actions), other.step(actions)
        assert one.observation["agents"].tobytes() == two.observation["agents"].tobytes()


def test_misuse_is_refused():
    world = ParticleWorld(Spread())
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        world.neighbours(3)
    world.reset()
    for count in (-1, 65):
        with pytest.raises(ValueError, match=f"{count} neighbours are asked for"):
            world.neighbours(count)
