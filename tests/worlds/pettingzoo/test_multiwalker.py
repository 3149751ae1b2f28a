"""Multiwalker: PettingZoo's game without the layers around it."""

import numpy as np
import pytest
from missing import hide
from tiny import TINY

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs.loading import find_policy
from marl.testing.check_world import check_world
from marl.training.loop import train
from marl.worlds.pettingzoo import lidar
from marl.worlds.pettingzoo.multiwalker import (
    BODY,
    MODULE,
    TORQUES,
    WALKERS,
    Multiwalker,
    MultiwalkerEnv,
)
from marl.worlds.registry import make


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip(MODULE)


def acted(rng, names, strength=1.0):
    return {x: rng.uniform(-strength, strength, TORQUES).astype(np.float32) for x in names}


def test_it_keeps_the_promises_of_a_world():
    check_world(make("multiwalker", num_worlds=2, processes=0, episode_length=12))


@pytest.mark.parametrize(
    ("n", "seed", "strength"), [(2, 3, 1.0), (3, 4, 0.0), (3, 5, 1.0), (5, 6, 2.0)]
)
def test_it_is_pettingzoos_game(n, seed, strength):
    from pettingzoo.sisl import multiwalker_v9

    ours = MultiwalkerEnv(Multiwalker(num_agents=n))
    real = multiwalker_v9.parallel_env(n_walkers=n, render_mode="rgb_array")
    names, rng = ours.scenario.groups[WALKERS].names, np.random.default_rng(seed)
    seen, wanted = ours.reset(seed=seed)[0], real.reset(seed=seed)[0]
    earned, steps = 0.0, 0
    while real.agents:
        for name in names:
            np.testing.assert_allclose(seen[name], wanted[name], atol=1e-4)
        if steps == 10:
            np.testing.assert_array_equal(ours.render(), real.render())
        actions = acted(rng, names, strength)
        seen, *told = ours.step(actions)
        wanted, *said = real.step(actions)
        assert told[:3] == said[:3]
        earned, steps = earned + np.mean([*said[0].values()]), steps + 1
    assert ours.agents == []
    assert 40 < steps < 200  # they fell
    assert ours.measures["return"] == pytest.approx(earned)
    assert ours.measures["stood"] == steps - 1


def test_rays_meet_other_walkers_legs():
    env = MultiwalkerEnv(Multiwalker(num_agents=3))
    env.reset(seed=0)
    game = env.env
    behind = game.walkers[0]
    with_legs = np.array(behind.rays)
    poses = np.array([[(*x.position, x.angle) for x in behind.bodies]])
    alone = lidar.cast(poses, *game._shapes, 14 / 30, 160 / 30)[0]
    assert np.all(with_legs <= alone)
    assert np.any(with_legs < alone - 0.01)


def test_time_that_runs_out_truncates():
    world = make("multiwalker", num_agents=2, episode_length=30, processes=0)
    world.reset()
    still = np.zeros((1, 2, TORQUES), np.float32)
    steps = [world.step({WALKERS: still}) for _ in range(30)]
    assert [bool(step.done[0]) for step in steps] == [False] * 29 + [True]
    assert steps[-1].truncated[0]
    assert not steps[-1].terminated[WALKERS].any()
    assert steps[-1].metrics["stood"][0] == 30


def test_the_package_pays_for_its_way():
    env = MultiwalkerEnv(Multiwalker(num_agents=2, terminate_reward=0.0, fall_reward=0.0))
    env.reset(seed=1)
    rng, tilts = np.random.default_rng(0), []
    while env.agents:
        seen, *_ = env.step(acted(rng, env.names))
        tilts.append(np.mean([abs(own[0]) for own in seen.values()]))
    assert env.measures["distance"] != 0
    way = 130 / 30 * env.measures["distance"]
    assert env.measures["return"] == pytest.approx(way - 5 * tilts[-1], abs=1e-3)


def test_a_policy_fits_pettingzoos_own_game():
    ours = make("multiwalker", processes=0)
    real = make("pettingzoo:sisl/multiwalker_v9", processes=0)
    assert [*real.groups] == [*ours.groups] == [WALKERS]
    own, other = ours.groups[WALKERS], real.groups[WALKERS]
    assert own.observation_space.shape == other.observation_space.shape == (BODY + 7,)
    assert own.action_space == other.action_space
    assert own.names == other.names


def test_a_run_knows_the_game_by_pettingzoos_name(data):
    world = {"scenario": "multiwalker", "num_agents": 2, "episode_length": 8, "processes": 0}
    agent, training = {"name": "ippo", "hidden": [8]}, {"steps": 32, "num_worlds": 2}
    config = {**TINY, "world": world, "agent": agent, "exploration": {}}
    train(parse_config({**config, "training": {**training, "update_every": 16}}), "a")
    found = find_policy("a", ["world.scenario=pettingzoo:sisl/multiwalker_v9"])
    assert found.world == Multiwalker(num_agents=2, episode_length=8, processes=0)
    with pytest.raises(UserError, match="use a policy for that scenario"):
        find_policy("a", ["world.scenario=pettingzoo:butterfly/cooperative_pong_v6"])


def test_what_is_missing_is_named_when_a_world_is_made(monkeypatch):
    scenario = Multiwalker()
    hide(monkeypatch, "Box2D", "pettingzoo.sisl.multiwalker")
    with pytest.raises(UserError, match=r"cannot be made.*; pip install 'marl\[sisl\]'"):
        scenario.make_world(1, 0)
