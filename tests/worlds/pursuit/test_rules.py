"""The rules of pursuit, by hand: moves, views, touches, catches, starts."""

import numpy as np
import pytest
from worlds.pursuit.placing import DOWN, LEFT, RIGHT, STAY, UP, act, placed

from marl.worlds.pursuit import rules
from marl.worlds.registry import make

OWN = {"shared_reward": False}
# Evaders, and the cells beside them that are no walls. The obstacle has columns 5 to 11 and rows 4
# to 12 of the 16.
PLACES = {
    "the middle": ((2, 2), [(1, 2), (3, 2), (2, 3), (2, 1)]),
    "the left edge": ((0, 5), [(1, 5), (0, 6), (0, 4)]),
    "the upper edge": ((8, 15), [(7, 15), (9, 15), (8, 14)]),
    "the obstacle": ((4, 8), [(3, 8), (4, 9), (4, 7)]),
    "a corner": ((0, 0), [(1, 0), (0, 1)]),
    "the other corner": ((15, 15), [(14, 15), (15, 14)]),
}


def earned(step):
    return step.reward["pursuers"][0].astype(float).round(4).tolist()


@pytest.mark.parametrize("place", PLACES)
def test_an_evader_is_caught_when_pursuers_are_on_all_free_sides(place):
    evader, sides = PLACES[place]
    world, _ = placed(sides, [evader, (13, 3)], **OWN)
    step = act(world, [STAY] * len(sides))
    assert earned(step) == [4.91] * len(sides)
    assert step.metrics["caught"].tolist() == [0.5]
    assert not step.terminated["pursuers"].any()
    assert world.state_dict()["free"].tolist() == [[False, True]]
    assert world.state()[0].reshape(16, 16, 3)[evader[1], evader[0], rules.EVADERS] == 0
    for missing in range(len(sides)):
        others = [side for side in sides if side != sides[missing]]
        world, _ = placed([*others, evader], [evader], **OWN)  # on top of it counts nothing
        assert act(world, [STAY] * len(sides)).metrics["caught"].tolist() == [0.0]


def test_the_last_catch_ends_the_episode():
    world, _ = placed([(1, 0), (0, 1)], [(0, 0)])
    step = act(world, [STAY, STAY])
    assert step.terminated["pursuers"].all()
    assert step.done.all()
    assert not step.truncated.any()
    assert not step.active["pursuers"].any()
    assert step.metrics["caught"].tolist() == [1.0]
    assert step.metrics["return"][0] == pytest.approx(2 * 4.91)


def test_pursuers_catch_before_evaders_move_and_are_paid_once():
    """Both arrive in this step. Two evaders are on one cell, two pursuers on another."""
    world, _ = placed([(2, 0), (0, 2), (2, 0), (9, 2)], [(0, 0), (0, 0), (15, 0)], **OWN)
    step = act(world, [LEFT, DOWN, LEFT, STAY])
    touches = [2 * 0.01 * share for share in (1, 3 / 4, 2 / 4)]
    assert earned(step) == [round(4.9 + touch, 4) for touch in touches] + [-0.1]
    assert step.metrics["caught"][0] == pytest.approx(2 / 3)


def test_without_surround_so_many_must_be_on_the_evaders_cell():
    settings = {"surround": False, "n_catch": 3, "freeze_evaders": True, **OWN}
    world, _ = placed([(2, 2), (2, 3), (2, 4)], [(2, 2)], **settings)
    assert earned(act(world, [STAY, DOWN, STAY])) == [-0.1, round(-0.1 + 0.01 / 3, 4), -0.1]
    assert earned(act(world, [STAY, STAY, DOWN])) == [-0.1, -0.1, -0.0967]
    step = act(world, [STAY, STAY, DOWN])
    assert earned(step) == [4.9, 4.9, 4.9067]
    assert step.done.all()


def test_a_touch_is_felt_after_every_move_of_anybody():
    """The second of four comes: three of four times it touches. The first leaves: never."""
    pursuers = [(1, 2), (4, 2), (13, 1), (13, 2)]
    world, _ = placed(pursuers, [(2, 2)], freeze_evaders=True, **OWN)
    assert earned(act(world, [LEFT, LEFT, STAY, STAY])) == [-0.1, -0.0925, -0.1, -0.1]
    world, _ = placed(pursuers, [(2, 2)], freeze_evaders=True)
    assert earned(act(world, [LEFT, LEFT, STAY, STAY])) == [round(-0.1 + 0.0075 / 4, 4)] * 4


@pytest.mark.parametrize(("cell", "felt"), [((3, 3), 0), ((0, 3), 1), ((15, 3), 1), ((15, 0), 2)])
def test_evaders_on_the_own_cell_are_touched_where_the_map_ends(cell, felt):
    world, _ = placed([cell], [cell, (8, 1)], freeze_evaders=True, **OWN)
    assert earned(act(world, [STAY])) == [round(-0.1 + 0.01 * felt, 4)]


def test_moves_and_walls():
    """Two can be on one cell; nobody enters the obstacle or leaves the map."""
    starts = [(0, 0), (15, 15), (4, 8), (2, 2), (2, 2), (2, 2), (2, 2)]
    world, _ = placed(starts, [(13, 2)])
    act(world, [LEFT, UP, RIGHT, LEFT, RIGHT, UP, DOWN])
    ends = [(0, 0), (15, 15), (4, 8), (1, 2), (3, 2), (2, 3), (2, 1)]
    assert world.state_dict()["pursuers"][0].tolist() == [list(end) for end in ends]


def test_a_view_by_hand():
    """From the corner, with two pursuers and three evaders near, some on one cell."""
    near = [(0, 0), (2, 1), (2, 1), (4, 0)]  # the last one is out of view
    _, seen = placed(near, [(1, 3), (0, 0), (0, 0), (0, 4)])
    view = seen[0, 0].reshape(7, 7, 3)
    wall, pursuers, evaders = np.ones((7, 7)), np.zeros((7, 7)), np.zeros((7, 7))
    wall[3:, 3:] = 0
    pursuers[3, 3], pursuers[4, 5] = 1, 2
    evaders[6, 4], evaders[3, 3] = 1, 2
    np.testing.assert_array_equal(view, np.stack([wall, pursuers, evaders], 2))


def test_evaders_move_as_often_every_way_and_not_when_frozen():
    world, _ = placed([(13, 13)], [(2, 2)], num_worlds=5000)
    act(world, [STAY])
    places, counts = np.unique(world.state_dict()["evaders"][:, 0], axis=0, return_counts=True)
    assert places.tolist() == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]
    np.testing.assert_allclose(counts / 5000, 0.2, atol=0.03)
    world, _ = placed([(13, 13)], [(2, 2)], num_worlds=50, freeze_evaders=True)
    act(world, [STAY])
    assert (world.state_dict()["evaders"] == 2).all()


def apart(places):
    """The smallest distance of two of them, along the axes."""
    steps = np.abs(places[:, None] - places[None]).sum(-1)
    return steps[~np.eye(len(places), dtype=bool)].min()


def test_everybody_starts_apart_from_the_own_kind_anywhere_but_in_the_obstacle():
    world = make("pursuit", num_worlds=400)
    world.reset()
    state, wall = world.state_dict(), rules.obstacle(16, 16)
    for kind in ("pursuers", "evaders"):
        assert min(apart(places) for places in state[kind]) > 1
        found = np.zeros((16, 16), int)
        np.add.at(found, tuple(state[kind].reshape(-1, 2).T[::-1]), 1)
        assert not found[wall].any()
        assert found[~wall].all()


def test_everybody_starts_in_the_window():
    world = make("pursuit", num_worlds=200, constraint_window=0.5, num_evaders=4)
    world.reset()
    state = world.state_dict()
    places = np.concatenate([state["pursuers"], state["evaders"]], 1)
    assert ((places.max(1) - places.min(1)) < 8).all()
    assert places.min() == 0
    assert places.max() == 14  # 16 x (a number below 0.5, plus 0.5), cut off: not the last cell


def test_more_start_than_can_be_apart():
    world = make("pursuit", num_evaders=60, x_size=5, y_size=5)
    world.reset()
    state = world.state_dict()
    assert not rules.obstacle(5, 5)[tuple(state["evaders"][0].T[::-1])].any()
    assert world.state()[0].reshape(5, 5, 3)[..., rules.EVADERS].sum() == 60
