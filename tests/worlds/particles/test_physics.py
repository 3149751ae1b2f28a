"""The particle core against MPE2, step for step: same states, same actions, same physics."""

import numpy as np
import pytest
from mpe2 import simple_spread_v3

from marl.worlds.particles import physics
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

STEPS = 100


def mpe2_world(num_agents: int, seed: int, half_size: float):
    """A parallel MPE2 world whose agents and landmarks start anywhere in a square."""
    env = simple_spread_v3.parallel_env(N=num_agents, max_cycles=STEPS, continuous_actions=True)
    env.reset(seed=seed)
    world = env.unwrapped.world
    rng = np.random.default_rng(seed)
    for entity in world.entities:
        entity.state.p_pos = rng.uniform(-half_size, half_size, 2)
        entity.state.p_vel = rng.uniform(-1, 1, 2) * (entity in world.agents)
    return env, world, rng


def state_of(world):
    return (
        np.array([[a.state.p_pos for a in world.agents]]),
        np.array([[a.state.p_vel for a in world.agents]]),
        np.array([[landmark.state.p_pos for landmark in world.landmarks]]),
    )


def mpe2_actions(forces: np.ndarray) -> dict[str, np.ndarray]:
    """MPE2's five numbers (nothing, left, right, down, up) for forces [n, 2] in [-1, 1]."""
    right, up = np.maximum(forces, 0).T
    left, down = np.maximum(-forces, 0).T
    rows = np.stack([0 * left, left, right, down, up], axis=1).astype(np.float32)
    return {f"agent_{i}": row for i, row in enumerate(rows)}


def in_the_original_order(world):
    """Let an MPE2 world move positions with the new velocities, as MPE did before May 2023."""
    integrate = world.integrate_state

    def integrate_state(forces):
        before = [agent.state.p_pos.copy() for agent in world.agents]
        integrate(forces)
        for agent, position in zip(world.agents, before, strict=True):
            agent.state.p_pos = position + agent.state.p_vel * world.dt

    world.integrate_state = integrate_state


def trajectories(num_agents: int, seed: int, dtype: type, search: str, integration="explicit"):
    """Largest difference to MPE2 in positions, velocities and rewards over an episode, and how many
    overlaps it saw."""
    env, reference, rng = mpe2_world(num_agents, seed, half_size=0.5)
    if integration == "semi_implicit":
        in_the_original_order(reference)
    scenario = Spread(num_agents=num_agents, reward="mpe2", integration=integration)
    ours = ParticleWorld(scenario, 1, seed=0, dtype=dtype, search=search)
    ours.set_state(*state_of(reference))
    worst, overlaps = np.zeros(3), 0.0
    for step in range(STEPS):
        # steer to the middle half of the time, so that agents keep running into each other
        forces = rng.uniform(-1, 1, (num_agents, 2))
        if step % 2:
            forces = np.clip(-2 * ours.positions()[0][0], -1, 1)
        forces = forces.astype(np.float32).astype(np.float64)
        _, rewards, *_ = env.step(mpe2_actions(forces))
        result = ours.step({"agents": forces[None]})
        positions, velocities, _ = state_of(reference)
        theirs = np.array([rewards[f"agent_{i}"] for i in range(num_agents)])
        differences = (
            ours.positions()[0] - positions,
            ours.velocities() - velocities,
            result.reward["agents"][0] - theirs,
        )
        worst = np.maximum(worst, [np.abs(d).max() for d in differences])
        overlaps += float(result.metrics["collisions"][0])
    return worst, overlaps


TWELVE = pytest.param(12, 4, marks=pytest.mark.long)


@pytest.mark.parametrize("search", ["lanes", "cells"])
@pytest.mark.parametrize(("num_agents", "seed"), [(1, 0), (3, 1), (4, 2), (6, 3), TWELVE])
def test_float64_equals_mpe2(num_agents, seed, search):
    worst, overlaps = trajectories(num_agents, seed, np.float64, search)
    assert (worst < 1e-9).all(), worst
    assert num_agents == 1 or overlaps > 5  # the episode did test contacts


@pytest.mark.parametrize("search", ["lanes", "cells"])
def test_semi_implicit_integration_is_the_original_mpe(search):
    worst, overlaps = trajectories(6, 3, np.float64, search, "semi_implicit")
    assert (worst < 1e-9).all(), worst
    assert overlaps > 5


def test_float32_stays_close_to_mpe2():
    """Contacts amplify rounding, so the bound is for 20 steps: 1e-4 (measured: below 1e-5)."""
    scenario = Spread(num_agents=4, integration="explicit")
    for seed in range(5):
        env, reference, rng = mpe2_world(4, seed, 0.7)
        ours = ParticleWorld(scenario, 1, seed=0)
        ours.set_state(*state_of(reference))
        for _ in range(20):
            forces = rng.uniform(-1, 1, (4, 2)).astype(np.float32)
            env.step(mpe2_actions(forces.astype(np.float64)))
            ours.step({"agents": forces[None]})
        assert np.abs(ours.positions()[0] - state_of(reference)[0]).max() < 1e-4


def test_the_comparison_can_fail(monkeypatch):
    """With a slightly wrong damping the same comparison is far off."""
    monkeypatch.setattr(physics, "DAMPING", 0.2501)
    scenario = Spread(num_agents=3, integration="explicit")
    env, reference, _ = mpe2_world(3, 0, 0.5)
    ours = ParticleWorld(scenario, 1, seed=0, dtype=np.float64)
    ours.set_state(*state_of(reference))
    force = np.full((3, 2), 0.5)
    positions, velocities, _ = state_of(reference)
    for _ in range(10):
        env.step(mpe2_actions(force))
        positions, velocities = naive_step(positions, velocities, force)
    assert np.abs(positions - state_of(reference)[0]).max() > 1e-5


def naive_step(positions, velocities, actions):
    """The same physics in plain numpy, for [1, n, 2]."""
    forces = 5.0 * actions[None].copy()
    count = positions.shape[1]
    for i in range(count):
        for j in range(count):
            if i != j:
                delta = positions[0, i] - positions[0, j]
                distance = np.linalg.norm(delta)
                depth = np.logaddexp(0, -(distance - 0.3) / 1e-3) * 1e-3
                forces[0, i] += 100 * delta / distance * depth
    positions = positions + velocities * physics.TIME_STEP
    velocities = velocities * (1 - physics.DAMPING) + forces * physics.TIME_STEP
    return positions, velocities


def test_coinciding_agents_do_not_become_nan():
    world = ParticleWorld(Spread(num_agents=2), 1, seed=0)
    world.set_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.ones((1, 2, 2)))
    world.step({"agents": np.zeros((1, 2, 2), np.float32)})
    assert np.isfinite(world.state()).all()
