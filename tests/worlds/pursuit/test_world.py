"""Pursuit as a world: promises, streams, any number of agents, settings, random play."""

import numpy as np
import pytest
import torch
from worlds.pursuit.placing import LEFT, RIGHT, STAY, act, placed

from marl import check_world
from marl.errors import UserError
from marl.learning.augmentation import SYMMETRIES, Symmetry
from marl.policies.builtin import BUILTIN
from marl.worlds.pursuit.world import Pursuit
from marl.worlds.registry import make

TEAM = "pursuers"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_agents": 1, "obs_range": 1},
        {"num_agents": 20, "episode_length": 7},
        {"num_evaders": 1, "surround": False, "n_catch": 1, "num_agents": 4, "x_size": 3},
    ],
)
def test_it_keeps_what_worlds_promise(settings):
    check_world(make("pursuit", num_worlds=3, **settings))


def actions_of(world, steps, seed=0):
    rng, group = np.random.default_rng(seed), world.groups[TEAM]
    return [{TEAM: group.random_actions(rng, world.num_worlds, len(group))} for _ in range(steps)]


def history(world, actions, episode_length):
    """What is seen and earned, with new episodes after so many steps."""
    found = [world.reset()[TEAM]]
    for t, given in enumerate(actions, start=1):
        step = world.step(given)
        found += [step.observation[TEAM], step.reward[TEAM], step.metrics["return"]]
        if t % episode_length == 0:
            found.append(world.reset()[TEAM])
    return found


def test_worlds_side_by_side_are_as_many_single_ones():
    together = make("pursuit", num_worlds=3)
    together.reseed([5, 9, 5])
    actions = actions_of(together, 30)
    ours = history(together, actions, 12)
    for e, seed in enumerate([5, 9, 5]):
        own = [{TEAM: given[TEAM][e : e + 1]} for given in actions]
        single = history(make("pursuit", seed=seed), own, 12)
        for one, other in zip(ours, single, strict=True):
            np.testing.assert_array_equal(one[e], other[0])
    assert not np.array_equal(ours[0][0], ours[0][1])


def test_a_new_seed_counts_from_the_next_reset_on():
    world, same = make("pursuit", seed=1), make("pursuit", seed=1)
    world.reset()
    same.reset()
    actions = actions_of(world, 10)
    world.reseed([7])
    world.reset(np.zeros(1, bool))  # of no world
    for given in actions:
        one, other = world.step(given), same.step(given)
        np.testing.assert_array_equal(one.observation[TEAM], other.observation[TEAM])
    for one, other in zip(
        history(world, actions, 4), history(make("pursuit", seed=7), actions, 4), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_another_world_continues_from_a_stored_state():
    world, other = make("pursuit", num_worlds=2, seed=1), make("pursuit", num_worlds=2, seed=2)
    actions = actions_of(world, 40)
    history(world, actions[:20], 15)
    other.load_state_dict(world.state_dict())
    np.testing.assert_array_equal(world.state(), other.state())
    for given in actions[20:]:
        one, two = world.step(given), other.step(given)
        np.testing.assert_array_equal(one.observation[TEAM], two.observation[TEAM])
        np.testing.assert_array_equal(one.metrics["return"], two.metrics["return"])
    np.testing.assert_array_equal(world.reset()[TEAM], other.reset()[TEAM])


def test_a_step_needs_a_reset_before():
    with pytest.raises(RuntimeError, match="call reset"):
        act(make("pursuit"), [STAY] * 8)


def test_first_episodes_can_end_at_different_times():
    world = Pursuit(episode_length=8).make_world(4, seed=0, staggered=True)
    world.reset()
    ends = []
    for _ in range(16):
        step = act(world, [STAY] * 8)
        ends.append(step.truncated.tolist())
        world.reset(step.done)
    first = np.array(ends)
    assert first.argmax(0).tolist() == [7, 5, 3, 1]
    assert first.sum(0).tolist() == [2, 2, 2, 2]  # later ones have their full length


# ------------------------------------------------------------------------------ numbers of agents


def test_eight_are_as_in_pursuit_v5_and_others_meet_the_same_density():
    scenario = Pursuit()
    assert (scenario.map_size, scenario.evader_count) == ((16, 16), 30)
    for count, side, evaders in [
        (1, 6, 4),
        (2, 8, 8),
        (4, 11, 15),
        (64, 45, 240),
        (1024, 181, 3840),
    ]:
        grown = scenario.with_agents(count)
        assert (grown.map_size, grown.evader_count) == ((side, side), evaders)
        assert grown.agent_count == count
        assert grown.groups[TEAM].observation_parts == scenario.groups[TEAM].observation_parts
        assert grown.groups[TEAM].observation_space == scenario.groups[TEAM].observation_space


def test_given_sizes_and_evaders_grow_in_proportion():
    scenario = Pursuit(num_agents=4, num_evaders=6, x_size=10, y_size=20).with_agents(16)
    assert (scenario.map_size, scenario.evader_count) == ((20, 40), 24)
    strip = Pursuit(y_size=4)
    assert strip.map_size == (64, 4)
    assert Pursuit(agent_density=1.0, num_agents=2).map_size == (3, 3)
    assert Pursuit(agent_density=0.02, num_agents=50).map_size == (50, 50)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_agents": 0}, "world.num_agents is 0, but should be greater than or equal to 1"),
        ({"num_evaders": 0}, "world.num_evaders is 0, but should be greater"),
        ({"x_size": 2}, "world.x_size is 2, but should be greater than or equal to 3"),
        ({"obs_range": 4}, "world.obs_range is 4, but should be odd"),
        ({"obs_range": -1}, "world.obs_range is -1, but should be greater"),
        ({"n_catch": 0}, "world.n_catch is 0, but should be greater"),
        ({"tag_reward": float("nan")}, "world.tag_reward is NaN, but should be a finite number"),
        ({"agent_density": 0}, "world.agent_density is 0, but should be greater"),
        ({"constraint_window": 0.4}, "constraint_window is 0.4, but should be at least 0.5: a sm"),
        ({"constraint_window": 1.5}, "world.constraint_window is 1.5, but should be less than"),
        ({"num_pursuers": 4}, "num_pursuers is not a known setting"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        make("pursuit", **settings)
    with pytest.raises(ValueError, match="num_agents"):
        Pursuit().with_agents(0)


# -------------------------------------------------------------------------------------- around it


def test_neighbours_are_the_nearest_by_distance_then_by_number():
    world = make("pursuit", num_agents=9, num_worlds=2, x_size=5, y_size=5)
    world.reset()
    places = world.state_dict()["pursuers"].astype(int)
    squared = ((places[:, :, None] - places[:, None]) ** 2).sum(-1)
    squared[:, np.arange(9), np.arange(9)] = 10**6
    order = squared.argsort(-1, kind="stable")
    for count in (0, 1, 3, 8):
        near = world.neighbours(count, 2)[TEAM]
        np.testing.assert_array_equal(near.agents, order[..., :count])
    assert near.landmarks.tolist() == np.full((2, 9, 2), -1).tolist()
    more = world.neighbours(10)[TEAM].agents
    np.testing.assert_array_equal(more[..., :8], order[..., :8])
    assert (more[..., 8:] == -1).all()


def turned(places, element, side):
    """Cells of a square map, turned as `Symmetry` turns the plane."""
    places = np.array(places)
    if element & 1:
        places = places[:, ::-1]
    flips = np.array([bool(element & 2), bool(element & 4)])
    return np.where(flips, side - 1 - places, places)


def test_views_and_moves_can_be_turned():
    """A turned observation is what is seen in a turned world, and so after the turned moves."""
    side = 40  # the obstacle, which is no square, is out of view
    pursuers, evaders = [(1, 2), (3, 2), (3, 1)], [(2, 2), (4, 4), (0, 2)]
    settings = {"x_size": side, "y_size": side, "freeze_evaders": True}
    worlds = [
        placed(turned(pursuers, e, side), turned(evaders, e, side), **settings)
        for e in range(SYMMETRIES)
    ]
    group = worlds[0][0].groups[TEAM]
    see, do = Symmetry(group.observation_parts), Symmetry(group.action_parts)
    seen = see(torch.from_numpy(worlds[0][1]).repeat(SYMMETRIES, 1, 1)).numpy()
    moves = torch.eye(5)[[LEFT, STAY, RIGHT]].repeat(SYMMETRIES, 1, 1)
    after = {}
    for e, (world, view) in enumerate(worlds):
        np.testing.assert_array_equal(view[0], seen[e])
        after[e] = world.step({TEAM: do(moves)[e : e + 1].numpy()}).observation[TEAM][0]
    again = see(torch.from_numpy(after[0]).repeat(SYMMETRIES, 1, 1)).numpy()
    for e in range(SYMMETRIES):
        np.testing.assert_array_equal(after[e], again[e])
    assert len({view.tobytes() for view in after.values()}) == SYMMETRIES


def test_a_scene_has_no_caught_evaders_and_no_fewer_discs():
    world, _ = placed([(1, 0), (0, 1)], [(0, 0), (8, 1)])
    before = world.scene()
    act(world, [STAY, STAY])
    after = world.scene()
    assert before.positions.shape == after.positions.shape
    assert np.isfinite(before.positions).all()
    assert np.isnan(after.positions).all(1).sum() == 1
    assert after.caption == "2 pursuers   step 1"
    assert after.half_size == (8.0, 8.0)


def test_random_play_gets_what_was_published():
    """30.3 is PettingZoo's figure for pursuit_v2 to v4: the sum over 8 pursuers and 500 steps,
    without the urgency of later defaults. Episodes have a standard deviation of 10."""
    world = make("pursuit", num_worlds=128, seed=5, urgency_reward=0.0)
    policy, observation = BUILTIN["random"](world, seed=1), world.reset()
    for _ in range(500):
        step = world.step(policy.act(observation))
    assert step.truncated.all()
    assert step.metrics["return"].mean() == pytest.approx(30.3, abs=3.0)
