"""ParticleWorld: the same bytes whatever runs beside, episodes, stored states, bad input."""

import json
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core.serialize import dumps

from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.registry import make

SEARCHES = ["lanes", "cells"]


def spread(num_worlds, seed=0, episode_length=6, num_agents=4, **options):
    scenario = Spread(num_agents=num_agents, episode_length=episode_length)
    return ParticleWorld(scenario, num_worlds, seed, **options)


def actions_of(num_worlds, t, num_agents=4):
    """Every world's own, whatever the number of worlds."""
    rows = [
        np.random.default_rng([t, e]).uniform(-1, 1, (num_agents, 2)) for e in range(num_worlds)
    ]
    return {"agents": np.array(rows, np.float32)}


def history(world, steps=15, started=False):
    """What happens in every world: [E, numbers]."""
    happened = [] if started else [world.reset()["agents"]]
    for t in range(steps):
        step = world.step(actions_of(world.num_worlds, t))
        happened += [step.observation["agents"], step.reward["agents"], *step.metrics.values()]
        happened += [step.done.astype(np.float32), world.state()]
        happened.append(world.reset(step.done)["agents"])
    return np.concatenate([x.reshape(world.num_worlds, -1) for x in happened], axis=1)


@pytest.mark.parametrize("search", SEARCHES)
def test_same_seed_same_bytes_and_other_seed_other_bytes(search):
    first = history(spread(3, seed=1, search=search))
    assert first.tobytes() == history(spread(3, seed=1, search=search)).tobytes()
    other = history(spread(3, seed=2, search=search))
    assert not np.array_equal(first[:, :8], other[:, :8])
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("search", SEARCHES)
def test_neither_threads_nor_worlds_beside_matter(search):
    alone = history(spread(3, seed=1, search=search))
    beside = history(spread(40, seed=1, search=search))
    assert alone.tobytes() == beside[:3].tobytes()
    threads = history(spread(40, seed=1, search=search, num_threads=2))
    assert threads.tobytes() == beside.tobytes()


def test_lanes_and_cells_give_the_same_bytes():
    one, other = (history(spread(20, seed=4, search=search)) for search in SEARCHES)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("search", SEARCHES)
def test_reset_of_some_worlds_leaves_the_others_alone(search):
    world, reference = (spread(20, seed=1, search=search) for _ in range(2))
    mask = np.arange(20) % 3 == 0
    for w in (world, reference):
        w.reset()
        w.step(actions_of(20, 0))
    before = world.state()
    seen = world.reset(mask)["agents"]
    changed = (world.state() != before).any(axis=1)
    assert changed.tolist() == mask.tolist()
    assert (world.velocities()[mask] == 0).all()
    assert (seen[mask][..., :2] == 0).all()
    after, expected = (w.step(actions_of(20, 1)) for w in (world, reference))
    for name in ("observation", "reward"):
        ours, theirs = getattr(after, name)["agents"], getattr(expected, name)["agents"]
        assert ours[~mask].tobytes() == theirs[~mask].tobytes()
        assert not np.array_equal(ours[mask], theirs[mask])
    assert world.state_dict()["elapsed"].tolist() == np.where(mask, 1, 2).tolist()


def test_reset_of_no_world_changes_nothing():
    world = spread(3)
    before, state = world.reset()["agents"], world.state()
    assert world.reset(np.zeros(3, bool))["agents"].tobytes() == before.tobytes()
    assert world.state().tobytes() == state.tobytes()


def test_observations_handed_out_stay_as_they_are():
    world = spread(3)
    kept = [world.reset()["agents"]]
    for t in range(3):
        kept.append(world.step(actions_of(3, t)).observation["agents"])
        kept.append(world.reset(np.array([True, False, False]))["agents"])
    assert len({rows.tobytes() for rows in kept}) == len(kept)


def test_the_time_limit_truncates_and_never_terminates():
    world = spread(2, episode_length=6)
    world.reset()
    for t in range(1, 7):
        step = world.step(actions_of(2, t))
        assert step.truncated.tolist() == [t == 6] * 2
        assert step.done.tolist() == step.truncated.tolist()
        assert not step.terminated["agents"].any()
        assert step.active["agents"].all()
    world.reset(np.array([True, False]))
    assert world.step(actions_of(2, 7)).done.tolist() == [False, True]


def test_staggered_worlds_end_one_after_another():
    world = spread(4, episode_length=20, staggered=True)
    world.reset()
    ends = [[] for _ in range(4)]
    for t in range(1, 61):
        done = world.step(actions_of(4, t)).done
        for e in np.flatnonzero(done):
            ends[e].append(t)
        world.reset(done)
    assert ends == [[20, 40, 60], [15, 35, 55], [10, 30, 50], [5, 25, 45]]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_stored_state_continues_bit_for_bit(search):
    """In another world made alike, although the first one played on; episodes have begun anew."""
    world = spread(20, seed=1, search=search)
    history(world, steps=9)
    state = world.state_dict()
    now = world.reset(np.zeros(20, bool))["agents"]
    expected = history(world, started=True)
    other = spread(20, seed=1, search=search)
    other.load_state_dict(state)
    assert other.reset(np.zeros(20, bool))["agents"].tobytes() == now.tobytes()
    assert history(other, started=True).tobytes() == expected.tobytes()


@pytest.mark.parametrize("num_worlds", [3, 16])
def test_a_world_that_is_lost_does_not_disturb_those_beside(num_worlds):
    """Positions that are no numbers, where the reward is that of the assignment."""
    scenario = Spread(reward="assignment")
    lost, sound = (ParticleWorld(scenario, num_worlds, 0) for _ in range(2))
    positions, landmarks = np.random.default_rng(0).uniform(-1, 1, (2, num_worlds, 4, 2))
    for world in (lost, sound):
        world.reset()
        world.set_state(positions, np.zeros_like(positions), landmarks)
        positions[1] = np.nan
    lost, sound = sound, lost
    for t in range(5):
        actions = actions_of(num_worlds, t)
        expected, step = sound.step(actions), lost.step(actions)
        for e in {*range(num_worlds)} - {1}:
            assert np.array_equal(step.reward["agents"][e], expected.reward["agents"][e])
            assert np.array_equal(step.observation["agents"][e], expected.observation["agents"][e])


def test_actions_are_clipped():
    worlds = [spread(2) for _ in range(2)]
    for world, size in zip(worlds, (1.0, 50.0), strict=True):
        world.reset()
        world.step({"agents": np.full((2, 4, 2), size, np.float32)})
    assert worlds[0].state().tobytes() == worlds[1].state().tobytes()


@pytest.mark.parametrize("shape", [(2, 4), (1, 4, 2), (2, 5, 2), (2, 4, 3), (4, 2)])
def test_actions_of_a_wrong_shape_are_refused(shape):
    world = spread(2)
    world.reset()
    before = world.state()
    with pytest.raises(ValueError, match=r"actions\['agents'\] has shape .*\(2, 4, 2\) is needed"):
        world.step({"agents": np.zeros(shape, np.float32)})
    assert world.state().tobytes() == before.tobytes()


def test_actions_without_a_group_are_refused():
    world = spread(2)
    world.reset()
    with pytest.raises(ValueError, match="actions has no 'agents'; the groups are: agents"):
        world.step({"agent": np.zeros((2, 4, 2), np.float32)})


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (np.ones(3, bool), r"bool\[3\]"),
        (np.ones((2, 1), bool), r"bool\[2, 1\]"),
        (np.array([0, 1]), r"int64\[2\]"),
        (np.True_, r"bool\[\]"),
    ],
)
def test_masks_of_a_wrong_kind_are_refused(mask, found):
    """At the first reset as later; and nothing has changed."""
    world = spread(2)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"the mask of reset\(\) is {found}; bool\[2\] is"):
            world.reset(mask)
        world.reset()
        before = world.state()
    assert world.state().tobytes() == before.tobytes()


def test_step_before_reset_is_refused():
    with pytest.raises(RuntimeError, match="reset"):
        spread(1).step(actions_of(1, 0))


def test_no_worlds_are_refused():
    with pytest.raises(ValueError, match="num_worlds is 0: at least 1"):
        spread(0)


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("sprad", {}, "sprad"),
        ("spread", {"num_agents": 0}, "num_agents"),
        ("spread", {"num_agent": 3}, "num_agent"),
        ("spread", {"agent_density": 0.0}, "agent_density"),
        ("spread", {"reward": "best"}, "reward"),
    ],
)
def test_bad_parameters_are_refused_by_name(name, parameters, field):
    with pytest.raises(ValueError, match=field):
        make(name, **parameters)


def a_few_steps():
    """What happens in crowded little worlds, by every search and reward."""
    rows = []
    for search, reward in [
        ("lanes", "shared"),
        ("lanes", "mpe2"),
        ("lanes", "nearest"),
        ("lanes", "assignment"),
        ("cells", "shared"),
    ]:
        scenario = Spread(num_agents=3, num_landmarks=2, agent_density=60.0, reward=reward)
        world = ParticleWorld(scenario, 2, seed=1, search=search)
        rows.append(world.reset()["agents"].ravel().tolist())
        for _ in range(4):
            step = world.step({"agents": -5 * world.positions()[0]})
            parts = [step.observation["agents"], step.reward["agents"], *step.metrics.values()]
            rows.append(np.concatenate([x.ravel() for x in parts]).tolist())
    return rows


def test_the_core_runs_uncompiled():
    """So that it can be stepped through in a debugger, to the same numbers."""
    run = f"import json, runpy; print(json.dumps(runpy.run_path({__file__!r})['a_few_steps']()))"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", run],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for one, other in zip(a_few_steps(), json.loads(result.stdout), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_cache_of_kernels_can_be_read_without_the_scenarios_module():
    """One user's scenario must not break every other process that shares the folder."""
    assert b"scenarios.spread" not in dumps(numba.typeof(Spread()))
