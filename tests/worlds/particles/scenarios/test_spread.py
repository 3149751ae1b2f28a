"""Cooperative navigation: hand-computed rewards, metrics by a naive reference, observations."""

import numpy as np
import pytest

from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

# Two agents that overlap and one alone. Distances to the two landmarks: agent 0: 0.5, 1.332066;
# agent 1: 0.538516, 1.189285; agent 2: 1.118034, 0.12.
AGENTS = [(0.0, 0.0), (0.2, 0.0), (1.0, 1.0)]
LANDMARKS = [(0.0, 0.5), (1.0, 0.88)]
REWARDS = {
    "shared": [-1.62, -1.62, -1.62],  # -(0.5 + 0.12) - one pair
    "original": [-6.86, -6.86, -6.86],  # 3 times the distances, 2 for one pair, 1 for each alone
    "mpe2": [-0.81, -0.81, -0.31],  # half of each
    "nearest": [-1.5, -1.538516, -0.12],
    "assignment": [-1.5, -1.0, -0.12],  # agent 1 is left over and pays for its collision only
}
# Two agents and a third landmark, 1.019804 from agent 0 and 1.0 from agent 1. Both are nearest to
# the first landmark; agent 1 is assigned the third.
MORE_LANDMARKS = [*LANDMARKS, (0.2, -1.0)]
REWARDS_OF_MORE = {
    "shared": [-3.689285, -3.689285],  # -(0.5 + 1.189285 + 1.0) - 1
    "original": [-9.37857, -9.37857],  # 2 times the distances, 2 for one pair, 1 for each alone
    "mpe2": [-1.8446425, -1.8446425],
    "nearest": [-1.5, -1.538516],
    "assignment": [-1.5, -2.0],
}


def step_from(agents, landmarks, **parameters):
    """Put everything there, at rest, and make a step: positions change by the old velocity, so at
    rest the step is scored where things were put. Batches of one world."""
    agents, landmarks = (np.asarray(x, float)[None] for x in (agents, landmarks))
    counts = {"num_agents": agents.shape[1], "num_landmarks": landmarks.shape[1]}
    scenario = Spread(integration="explicit", **counts, **parameters)
    world = ParticleWorld(scenario, 1, seed=0)
    world.set_state(agents, np.zeros_like(agents), landmarks)
    return world.step({"agents": np.zeros(agents.shape, np.float32)})


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_of_three_agents_and_two_landmarks(name):
    step = step_from(AGENTS, LANDMARKS, reward=name)
    np.testing.assert_allclose(step.reward["agents"][0], REWARDS[name], atol=1e-6)
    metrics = {name: float(values[0]) for name, values in step.metrics.items()}
    expected = {"coverage": 0.0, "coverage_015": 0.5, "collisions": 2 / 3, "distance": 0.31}
    assert metrics == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_of_two_agents_and_three_landmarks(name):
    step = step_from(AGENTS[:2], MORE_LANDMARKS, reward=name)
    np.testing.assert_allclose(step.reward["agents"][0], REWARDS_OF_MORE[name], atol=1e-6)


@pytest.mark.parametrize("name", REWARDS)
def test_an_agent_collides_with_itself_in_the_original_only(name):
    step = step_from([(0.0, 0.0)], [(0.0, 0.0)], reward=name)
    assert step.reward["agents"].tolist() == [[-1.0 if name == "original" else 0.0]]
    assert step.metrics["collisions"].tolist() == [0.0]
    assert step.metrics["coverage"].tolist() == [1.0]


def test_everybody_in_one_place_overlaps_everybody_else():
    step = step_from([(0.1, 0.1)] * 4, [(0.1, 0.1)], reward="nearest")
    assert step.reward["agents"].tolist() == [[-3.0] * 4]
    assert step.metrics["collisions"].tolist() == [3.0]


def naive_metrics(agents, landmarks):
    """Of one world, in float64."""
    nearest = np.linalg.norm(landmarks[:, None] - agents[None], axis=-1).min(axis=1)
    gaps = np.linalg.norm(agents[:, None] - agents[None], axis=-1)
    overlaps = (gaps < 0.3).sum() - len(agents)
    return {
        "coverage": (nearest < 0.10).mean(),
        "coverage_015": (nearest < 0.15).mean(),
        "collisions": overlaps / len(agents),
        "distance": nearest.mean(),
    }


@pytest.mark.parametrize("search", ["lanes", "cells"])
@pytest.mark.parametrize(("num_agents", "num_landmarks"), [(4, 4), (30, 12), (7, 40)])
def test_metrics_are_those_of_a_naive_reference(search, num_agents, num_landmarks):
    scenario = Spread(num_agents=num_agents, num_landmarks=num_landmarks, agent_density=20.0)
    world = ParticleWorld(scenario, 20, seed=3, search=search)
    world.reset()
    rng = np.random.default_rng(0)
    seen = dict.fromkeys(scenario.metrics, 0.0)
    for _ in range(5):
        actions = rng.uniform(-1, 1, (20, num_agents, 2)).astype(np.float32)
        metrics = world.step({"agents": actions}).metrics
        agents, landmarks = (x.astype(np.float64) for x in world.positions())
        expected = [naive_metrics(agents[e], landmarks[e]) for e in range(20)]
        for name, values in metrics.items():
            np.testing.assert_allclose(values, [row[name] for row in expected], atol=1e-5)
            seen[name] += values.sum()
    assert all(total > 0 for total in seen.values())


def observe(agents, velocities, landmarks, **parameters):
    agents, velocities, landmarks = (
        np.asarray(x, np.float32)[None] for x in (agents, velocities, landmarks)
    )
    scenario = Spread(num_agents=agents.shape[1], num_landmarks=landmarks.shape[1], **parameters)
    world = ParticleWorld(scenario, 1, seed=0)
    return scenario, world.set_state(agents, velocities, landmarks)["agents"][0]


def test_observation_is_relative_nearest_first_padded_and_masked():
    """Three agents (two others, one place left) and two landmarks (two places left)."""
    velocities = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)]
    scenario, seen = observe(AGENTS, velocities, LANDMARKS, perceive_velocities=False)
    padding = [0.0, 0.0, 0.0]
    nothing = [*padding, *padding]
    # fmt: off
    expected = [
        [0.1, 0.2,  0.2, 0.0, 1,  1.0, 1.0, 1, *padding,   0.0, 0.5, 1,  1.0, 0.88, 1, *nothing],
        [0.3, 0.4,  -0.2, 0.0, 1,  0.8, 1.0, 1, *padding,  -0.2, 0.5, 1,  0.8, 0.88, 1, *nothing],
        [0.5, 0.6,  -0.8, -1, 1,  -1, -1, 1, *padding,     0.0, -0.12, 1,  -1, -0.5, 1, *nothing],
    ]
    # fmt: on
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    parts = {part.name: part for part in scenario.groups["agents"].observation_parts}
    assert sum(part.size for part in parts.values()) == seen.shape[-1]
    assert (parts["agents"].count, parts["agents"].item_size) == (3, 3)
    assert (parts["landmarks"].count, parts["landmarks"].item_size) == (4, 3)


def test_perceived_velocities_are_those_of_the_agents_seen():
    velocities = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)]
    scenario, seen = observe(AGENTS, velocities, LANDMARKS)
    agents = seen[:, 2:17].reshape(3, 3, 5)
    np.testing.assert_allclose(agents[0, :2, 2:4], [velocities[1], velocities[2]])
    np.testing.assert_allclose(agents[2, :2, 2:4], [velocities[1], velocities[0]])
    assert (agents[:, :2, 4] == 1).all()
    assert (agents[:, 2] == 0).all()
    np.testing.assert_allclose(seen[0, 17:20], [0.0, 0.5, 1.0])
    assert scenario.groups["agents"].observation_space.shape == (29,)


@pytest.mark.parametrize(
    ("num_agents", "density", "half"), [(4, 4, 1.0), (12, 3, 2.0), (1, 4, 0.5)]
)
def test_everything_starts_at_rest_in_the_square(num_agents, density, half):
    scenario = Spread(num_agents=num_agents, agent_density=density)
    assert scenario.half_size == half
    world = ParticleWorld(scenario, 300, seed=0)
    world.reset()
    assert not world.velocities().any()
    for positions in world.positions():
        for axis in (0, 1):
            assert -half <= positions[..., axis].min() < -0.95 * half
            assert 0.95 * half < positions[..., axis].max() <= half
            assert abs(positions[..., axis].mean()) < 0.1 * half


def test_as_many_landmarks_as_agents_unless_told_otherwise():
    assert len(Spread(num_agents=7).landmarks) == 7
    assert len(Spread(num_agents=7, num_landmarks=2).landmarks) == 2


def test_covered_landmarks_are_drawn_in_another_colour():
    scenario = Spread(num_agents=1, num_landmarks=2)
    _, colours = scenario.colours(
        np.zeros((1, 2)), np.array([[0.05, 0.0], [0.5, 0.0]]), np.zeros(0)
    )
    assert colours[0].tolist() != colours[1].tolist()


def test_the_scene_shows_everything_where_it_is():
    world = ParticleWorld(Spread(num_agents=3, num_landmarks=2), 2, seed=0)
    world.reset()
    agents, landmarks = world.positions()
    scene = world.scene(1)
    np.testing.assert_array_equal(scene.positions, np.concatenate([agents[1], landmarks[1]]))
    np.testing.assert_allclose(scene.radii, [0.15] * 3 + [0.05] * 2)
