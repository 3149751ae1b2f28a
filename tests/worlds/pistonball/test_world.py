"""Pistonball: rules with known answers, observations by hand, and what a world promises."""

import numpy as np
import pytest
from pydantic import ValidationError

from marl import check_world, make
from marl.rendering.frames import draw
from marl.worlds.pistonball.physics import LOWEST
from marl.worlds.pistonball.world import PISTONS, Pistonball


def court(ball=None, heights=None, num_worlds=1, **settings):
    """Courts with the ball at rest at (x, y) and piston heads at the given heights in px."""
    world = make("pistonball", num_worlds=num_worlds, **settings)
    world.reset()
    if ball is not None:
        world.court.ball[:] = 0.0
        world.court.ball[:, : len(ball)] = ball
    if heights is not None:
        world.court.pistons[:] = LOWEST - np.array(heights)
    return world


def stepped(world, move=0.0):
    shape = world.num_worlds, *(len(world.groups[PISTONS]), 1)
    return world.step({PISTONS: np.broadcast_to(np.float32(move), shape)})


def observed(world):
    return world.reset(np.zeros(world.num_worlds, bool))[PISTONS]


# ------------------------------------------------------------------------------------------- start


def test_where_an_episode_starts():
    world = make("pistonball", num_worlds=2000, num_agents=10)
    world.reset()
    ball, heights = world.court.ball, LOWEST - world.court.pistons
    assert set(np.unique(ball[:, 0])) == set(range(340, 401))  # 30 px on either side of 370
    assert set(np.unique(ball[:, 1])) == set(range(395, 426))
    assert set(np.unique(heights)) == {0, 4, 8, 12, 16, 20, 24, 28}  # the lower half
    assert not ball[:, 2:4].any()
    assert 5.9 * np.pi < np.abs(ball[:, 4]).max() < 6 * np.pi
    np.testing.assert_array_equal(world.court.start, ball[:, 0] - 80)
    shares = [(heights == height).mean() for height in range(0, 32, 4)]
    np.testing.assert_allclose(shares, 1 / 8, atol=0.01)


def test_a_start_without_chance():
    world = make("pistonball", num_worlds=3, num_agents=10, random_drop=False, random_rotate=False)
    world.reset()
    np.testing.assert_array_equal(world.court.ball, [[370, 410, 0, 0, 0, 0, 0, 0]] * 3)
    world = make("pistonball", num_worlds=99, num_agents=2)
    world.reset()
    assert (world.court.ball[:, 0] == 81).all()  # right of the left wall even in the least court


# ---------------------------------------------------------------------------------------- the game


@pytest.mark.parametrize(
    ("actions", "given", "moved"),
    [
        ("continuous", [[-1.0], [-0.25], [0.0], [0.5], [2.0]], [-4, -1, 0, 2, 4]),
        ("discrete", np.eye(3)[[0, 1, 2, 2, 0]], [-4, 0, 4, 4, -4]),
    ],
)
def test_pistons_move_by_up_to_four_pixels(actions, given, moved):
    world = court((150, 200), [20] * 5, num_agents=5, actions=actions)
    world.step({PISTONS: np.array([given], np.float32)})
    np.testing.assert_allclose(LOWEST - world.court.pistons[0], 20 + np.array(moved))


@pytest.mark.parametrize(("move", "end"), [(1.0, 64.0), (-1.0, 0.0)])
def test_pistons_stop_at_their_ends(move, end):
    world = court((220, 400), [20] * 10, num_agents=10)
    for _ in range(17):
        stepped(world, move)
    np.testing.assert_array_equal(LOWEST - world.court.pistons, end)


def test_a_free_ball_falls_and_keeps_its_spin():
    """Ten ticks: the position follows the velocity of the tick before."""
    world = court((240, 100, 30, 0, 2), num_agents=10)
    stepped(world)
    x, y, vx, vy, spin, angle = world.court.ball[0, :6]
    np.testing.assert_allclose([vx, vy, spin, angle], [30, 10 * 37.5, 2, 1])
    np.testing.assert_allclose([x, y], [240 + 15, 100 + 37.5 * 0.05 * 45])


def test_a_ball_that_spins_on_a_piston_rolls_off():
    """The slip ends at once if the fall was hard: a third of the spin goes on as rolling."""
    world = court((220, 418, 0, 600, 6), [0] * 10, num_agents=10, substeps=1)
    stepped(world)
    vx, vy, spin = world.court.ball[0, 2:5]
    np.testing.assert_allclose([vx, vy, spin], [80, 0, 2])


def test_walls_stop_the_ball():
    world = court((380, 100, 200), num_agents=10)
    stepped(world)
    assert 399 <= world.court.ball[0, 0] < 399.2  # 41 from the wall, less an allowed overlap
    np.testing.assert_allclose(world.court.ball[0, 2], 0, atol=1e-9)


def test_substeps():
    """Few and many pistons live in the same time if they have equally many substeps."""
    fallen = []
    for agents, substeps in ((5, None), (7, None), (5, 8), (40, 8), (7, 8)):
        world = court((150, 90), num_agents=agents, substeps=substeps, random_rotate=False)
        stepped(world)
        fallen.append(world.court.ball[0, 3])
        stepped(world, 1.0)  # every piston moves once in a step
        fresh = court(num_agents=agents, heights=[8] * agents, substeps=substeps)
        stepped(fresh, 1.0)
        np.testing.assert_allclose(fresh.court.pistons, LOWEST - 12)
    np.testing.assert_allclose(fallen, 37.5 * np.array([5, 7, 8, 8, 8]))


# --------------------------------------------------------------------------------------- the reward


def test_reward_and_the_end_by_hand():
    """The ball, 200 px from the wall, falls freely and flies to the left at 800 px/s."""
    world = court((280, 90, -800), num_agents=10, substeps=1)
    world.court.start[:] = 200
    for step in range(1, 5):
        result = stepped(world)
        home = step == 4  # at x = 120, for 80 - 40 <= 41
        reward = 40 / 200 * 100 - (0 if home else 0.1)
        np.testing.assert_allclose(result.reward[PISTONS], [[reward] * 10], rtol=1e-6)
        assert result.terminated[PISTONS].tolist() == [[home] * 10]
        assert result.done[0] == home
        np.testing.assert_allclose(result.metrics["progress"], 40 * step / 200, rtol=1e-6)
    np.testing.assert_allclose(result.metrics["return"], 4 * 20 - 3 * 0.1, rtol=1e-6)
    assert result.metrics["delivered"][0] == 1.0
    assert not result.truncated[0]
    again = stepped(world)  # nothing happens any more
    assert not again.reward[PISTONS].any()
    assert again.terminated[PISTONS].all()
    np.testing.assert_array_equal(again.observation[PISTONS], result.observation[PISTONS])


def test_time_runs_out():
    world = court((220, 446), [0] * 10, num_agents=10, episode_length=3)
    for step in range(3):
        result = stepped(world)
        assert result.truncated[0] == (step == 2)
    assert not result.terminated[PISTONS].any()
    np.testing.assert_allclose(result.metrics["return"], -0.3, rtol=1e-6)
    assert result.metrics["delivered"][0] == 0.0


def test_staggered_episodes_end_at_different_times():
    world = Pistonball(num_agents=20, episode_length=10).make_world(5, 0, staggered=True)
    world.reset()
    ends = [stepped(world).truncated.tolist() for _ in range(10)]
    assert np.argmax(ends, axis=0).tolist() == [9, 7, 5, 3, 1]


# ------------------------------------------------------------------------------------- observations


def test_observations_by_hand():
    world = court((240, 400, 50, -100, 10), [0, 8, 16, 64, 0, 40, 0, 0, 0, 0], num_agents=10)
    seen = observed(world)[0]
    assert seen.shape == (10, 14)
    # Piston 3: x 180, y 427. Piston 2 is 48 lower, piston 4 64 lower.
    third = [0.8, 1.75, 2, 0.75, 27 / 80, 1, 2, 2, -0.5, -0.6, 1, 0.5, -0.8, 1]
    np.testing.assert_allclose(seen[3], third, rtol=1e-6)
    # Piston 0: x 60, y 491; nothing to its left, and the ball is too far away to be told how far.
    first = [0, 0.25, 2, 2, 91 / 80, 1, 2, 2, 0, 0, 0, 0.5, 0.1, 1]
    np.testing.assert_allclose(seen[0], first, rtol=1e-6)
    assert seen[9, 2] == 0.25
    np.testing.assert_array_equal(seen[9, 11:], 0.0)
    wide = observed(court((240, 400), [0, 8, 16, 64, 0], num_agents=5, window=2))[0]
    np.testing.assert_allclose(
        wide[1, 8:], [0, 0, 0, -0.5, -0.1, 1, 0.5, 0.1, 1, 1, 0.7, 1], atol=1e-6
    )


def test_a_piston_sees_the_same_in_a_row_of_any_length():
    """In the middle of 10 and of 1000 pistons."""
    few = observed(court((300, 400, 9, 8, 7), [4] * 10, num_agents=10))[0]
    many = observed(court((20_100, 400, 9, 8, 7), [4] * 1000, num_agents=1000))[0]
    np.testing.assert_allclose(few[4:6], many[499:501], atol=1e-6)
    assert np.abs(many).max() <= 2


def test_neighbours_are_next_in_the_row():
    world = court(num_agents=5, num_worlds=2)
    near = world.neighbours(2, 1)[PISTONS]
    assert near.agents[1].tolist() == [[1, 2], [0, 2], [1, 3], [2, 4], [3, 2]]
    assert near.landmarks.shape == (2, 5, 1)
    assert (near.landmarks == -1).all()
    assert world.neighbours(6)[PISTONS].agents[0, 1].tolist() == [0, 2, 3, 4, -1, -1]
    assert world.neighbours(0)[PISTONS].agents.shape == (2, 5, 0)


# --------------------------------------------------------------------------------- what is promised


@pytest.mark.parametrize(
    "settings",
    [
        {"num_agents": 5, "episode_length": 9},
        {"num_agents": 5, "actions": "discrete"},
        {"num_agents": 2},
        {"num_agents": 40, "window": 3, "substeps": 7},
        {"num_agents": 4, "observe": "image", "episode_length": 9},
        {"num_agents": 2, "observe": "image", "picture_size": 36, "actions": "discrete"},
    ],
)
def test_it_keeps_what_worlds_promise(settings):
    world = make("pistonball", num_worlds=3, **settings)
    check_world(world)
    assert draw(world.scene(1)).std() > 0


def played(world, steps=40):
    rng, group = np.random.default_rng(0), world.groups[PISTONS]
    rows = [world.reset()[PISTONS]]
    for _ in range(steps):
        actions = np.repeat(group.random_actions(rng, 1, len(group)), world.num_worlds, axis=0)
        step = world.step({PISTONS: actions})
        rows.append(step.observation[PISTONS])
        world.reset(step.done)
    return np.stack(rows)


def test_worlds_side_by_side_are_single_ones_with_their_seeds():
    together = make("pistonball", num_worlds=3, num_agents=6, episode_length=15)
    together.reseed([5, 6, 7])
    all_three = played(together)
    for e, seed in enumerate((5, 6, 7)):
        alone = played(make("pistonball", num_agents=6, episode_length=15, seed=seed))
        np.testing.assert_array_equal(all_three[:, e], alone[:, 0])
    assert not np.array_equal(all_three[:, 0], all_three[:, 1])
    with pytest.raises(ValueError, match="2 seeds are given for 3 worlds"):
        together.reseed([1, 2])


def test_any_number_of_pistons():
    few = Pistonball(num_agents=4, window=2)
    many = few.with_agents(300)
    assert (many.num_agents, many.window) == (300, 2)
    assert few.groups[PISTONS].observation_space == many.groups[PISTONS].observation_space
    world = many.make_world(1, 0)
    assert world.scene().half_size == Pistonball(num_agents=99).make_world(1, 0).scene().half_size
    assert draw(world.scene()).shape[1] < 1500


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_agents": 1}, "num_agents"),
        ({"num_agents": 10_001}, "num_agents"),
        ({"substeps": 0}, "substeps"),
        ({"window": 0}, "window"),
        ({"observe": "pixels"}, "observe"),
        ({"picture_size": 35}, "picture_size"),
        ({"picture_size": 121}, "picture_size"),
        ({"actions": "both"}, "actions"),
        ({"ball_friction": -1}, "ball_friction"),
        ({"ball_mass": 1}, "ball_mass"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Pistonball(**settings)
    with pytest.raises(ValueError, match=f"world.{sentence}") as refusal:
        make("pistonball", **settings)
    assert "\n" not in str(refusal.value)


def test_bad_actions_are_refused():
    world = court(num_agents=5)
    with pytest.raises(ValueError, match=r"shape \(1, 5, 2\); \(1, 5, 1\) is needed"):
        world.step({PISTONS: np.zeros((1, 5, 2), np.float32)})
    with pytest.raises(ValueError, match="holds nan, for 'piston_0' in world 0"):
        stepped(world, np.nan)


def test_golden_play():
    """Guards against drift: random play in three courts."""
    world = make("pistonball", num_worlds=3, num_agents=12, seed=3)
    played(world, 30)
    ball = [1288.58662, 1275.7501, 2.49699055, 0.0, 0.062424800]
    np.testing.assert_allclose(world.court.ball[:, :5].sum(0), ball, atol=1e-5)
