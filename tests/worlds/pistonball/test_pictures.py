"""What pistons are shown: by hand, in stacks of four, and beside PettingZoo's own pictures."""

import numpy as np
import pytest

from marl import make
from marl.config.parsing import parse_config
from marl.learning.replay import needed_bytes
from marl.worlds.pistonball.physics import LOWEST
from marl.worlds.pistonball.world import PISTONS, Pistonball

WHITE, BLUE = 255, 137


def world_of(num_worlds=1, ball=(140, 300), heights=0.0, **settings):
    """Courts with the ball at rest at (x, y) and piston heads at these heights in px."""
    settings = {"num_agents": 4, "random_rotate": False, **settings}
    world = make("pistonball", num_worlds=num_worlds, observe="image", **settings)
    world.reset()
    world.court.ball[:, :2] = ball
    world.court.pistons[:] = LOWEST - np.asarray(heights)
    return world


def shown(world):
    return world.reset(np.zeros(world.num_worlds, bool))[PISTONS]


def stepped(world, move=1.0):
    shape = world.num_worlds, len(world.groups[PISTONS]), 1
    return world.step({PISTONS: np.full(shape, move, np.float32)})


def test_a_picture_by_hand():
    """Of 120 x 120 pixels: its columns are those of the view, and its rows 3.8 apart."""
    seen = shown(world_of(picture_size=120, heights=[8, 40, 20, 60]))[0, :, 3].astype(int)
    assert seen.shape == (4, 120, 120)
    first, second, _, last = seen
    assert (first[:, :19] == 62).all()  # walls
    assert (first[:, 21:39] == 73).all()
    assert (last[:, 81:99] == 73).all()
    assert (last[:, 101:] == 62).all()
    assert (second[:40] == WHITE).all()
    row = int((300 - 40) / 456 * 120)  # the ball's middle, at 100 px of the second one's view
    assert (second[row + 1, 62:100] == BLUE).all()
    assert (second[row, 101:118] == 62).all()  # the mark, which lies to the right
    assert (second[row, :58] == WHITE).all()
    tops = [np.flatnonzero(second[:, x] < WHITE)[-1] for x in (5, 45, 85)]  # heads, left of rods
    rows = (LOWEST - np.array([8, 40, 20]) - 40) / 456 * 120
    assert (np.abs(rows - tops) < 2.5).all()
    assert (second[-1, [20, 60, 100]] == BLUE).all()  # the rods


def test_neighbours_see_the_same_column():
    seen = shown(world_of(picture_size=84, num_agents=5, heights=[8, 16, 24, 32, 40]))[0, :, 3]
    apart = np.abs(seen[1, :, 28:].astype(int) - seen[2, :, :-28]) > 60
    assert apart.mean() < 0.01  # by a third of a pixel of the view
    assert (np.abs(seen[1].astype(int) - seen[2]) > 60).mean() > 0.03


def test_the_last_four_pictures_begin_with_zeros():
    world = world_of(2, (140, 300))
    begun = shown(world)
    assert not begun[:, :, :3].any()
    before = begun
    for step in range(1, 6):
        seen = stepped(world).observation[PISTONS]
        np.testing.assert_array_equal(seen[:, :, :3], before[:, :, 1:])
        assert seen[:, :, max(3 - step, 0) :].any((-1, -2)).all()
        assert not seen[:, :, : max(3 - step, 0)].any()
        assert (seen[:, :, 3] != before[:, :, 3]).any()
        before = seen
    again = world.reset(np.array([False, True]))[PISTONS]
    np.testing.assert_array_equal(again[0], before[0])
    assert not again[1, :, :3].any()
    assert again[1, :, 3].any()


def test_pictures_end_with_the_episode():
    world = world_of(1, (100, 300))
    world.court.ball[:, 2] = -800.0
    last = stepped(world)
    assert last.done[0]
    np.testing.assert_array_equal(stepped(world).observation[PISTONS], last.observation[PISTONS])


def test_memory_is_that_of_single_pictures():
    config = parse_config({"world": {"scenario": "pistonball"}, "agent": {"name": "iql"}})
    groups = Pistonball(num_agents=3, observe="image", actions="discrete").groups
    needed = needed_bytes(groups, 1000, config.make_agent(groups, seed=0).columns(groups))
    assert 84 * 84 * 3 * 1000 < needed < 1.05 * 84 * 84 * 3 * 1000


# ------------------------------------------------------------------------------ beside PettingZoo's


def both(**settings):
    """PettingZoo's and ours, from the same start."""
    pytest.importorskip("pymunk")
    pytest.importorskip("supersuit")
    settings = {"num_agents": 5, "observe": "image", **settings}
    real, ours = (make(name, seed=1, **settings) for name in ("real_pistonball", "pistonball"))
    seen = real.reset()[PISTONS]
    ours.reset()
    ours.court.ball[:], ours.court.pistons[:] = real.court.ball, real.court.pistons
    ours.court.start[:] = real.court.start
    return real, ours, seen


@pytest.mark.parametrize("size", [84, 50])
def test_pictures_are_pettingzoos(size):
    """Measured: grey levels differ by 0.15 in the mean, and 0.13 % of the pixels by more than 24,
    at the edges of heads and marks."""
    real, ours, seen = both(picture_size=size)
    pairs, rng = [(seen, shown(ours))], np.random.default_rng(0)
    for _ in range(25):
        step = real.step({PISTONS: rng.uniform(-1, 1, (1, 5, 1)).astype(np.float32)})
        now = real.court
        ours.past.count[:] = 0
        ours.court.ball[:], ours.court.pistons[:] = now.ball, now.pistons
        pairs.append((step.observation[PISTONS], shown(ours)))
    theirs, mine = (np.concatenate(x)[:, :, 3].astype(int) for x in zip(*pairs, strict=True))
    apart = np.abs(theirs - mine)
    assert apart.mean() < 0.5
    assert (apart > 24).mean() < 0.005
    assert (np.abs(theirs[1:] - theirs[:-1]) > 24).mean() > 0.01  # the game goes on


def test_the_same_game_shows_the_same_stacks():
    real, ours, seen = both()
    pairs, rng = [(seen, shown(ours))], np.random.default_rng(0)
    for _ in range(5):
        actions = {PISTONS: rng.uniform(-1, 1, (1, 5, 1)).astype(np.float32)}
        pairs.append(tuple(w.step(actions).observation[PISTONS] for w in (real, ours)))
    for theirs, mine in pairs:
        assert np.abs(theirs.astype(int) - mine).mean() < 0.5
        assert ((theirs == 0).all((-1, -2)) == (mine == 0).all((-1, -2))).all()


def test_the_door_to_pettingzoo_has_the_same_observations():
    """The real game as a scenario, and by PettingZoo's name with the preset."""
    pytest.importorskip("supersuit")
    name, options = "pettingzoo:butterfly/pistonball_v6", {"n_pistons": 3}
    door = make(name, preset="84x84", options=options, processes=0)
    real, _, _ = both(num_agents=3)
    assert door.groups["piston"].picture == real.groups[PISTONS].picture
    assert door.groups["piston"].observation_space == real.groups[PISTONS].observation_space
