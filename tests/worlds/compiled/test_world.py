"""What compiled worlds share: streams that begin at a reset, first episodes of many lengths."""

import numpy as np
import pytest

from marl.worlds.registry import find_scenario

SMALL = {
    "tennis": {},
    "pistonball": {"num_agents": 8},
    "pursuit": {"num_agents": 4},
    "prison": {"num_agents": 4},
    "waterworld": {"num_agents": 2, "num_food": 2, "num_poison": 3},
}
LENGTH = 8
worlds = pytest.mark.parametrize("name", SMALL)


def made(name, num_worlds=2, seed=0, **options):
    scenario = find_scenario(name)(**SMALL[name], episode_length=LENGTH)
    return scenario.make_world(num_worlds, seed, **options)


def played(world, steps):
    """The observations of so many steps with the same actions each time."""
    ((g, group),) = world.groups.items()
    rng, seen = np.random.default_rng(0), []
    for _ in range(steps):
        step = world.step({g: group.random_actions(rng, world.num_worlds, len(group))})
        seen.append(step.observation[g].copy())
    return np.array(seen)


@worlds
def test_new_streams_begin_at_a_world_s_own_next_reset(name):
    one, other = made(name), made(name)
    for world in (one, other):
        world.reset()
    other.reseed([7, 8])
    assert (played(one, 3) == played(other, 3)).all()  # also in a game that draws in its steps
    only_first = np.array([True, False])
    for world in (one, other):
        world.reset(only_first)
    (before, after) = (played(world, 3) for world in (one, other))
    assert (before[:, 1] == after[:, 1]).all()
    assert (before[:, 0] != after[:, 0]).any()


@worlds
def test_a_reseeded_world_is_a_single_one_with_this_seed(name):
    many = made(name)
    many.reset()
    played(many, 2)
    many.reseed([7, 8])
    g = next(iter(many.groups))
    seen = many.reset()[g]
    for seed, own in zip((7, 8), seen, strict=True):
        assert (made(name, 1, seed).reset()[g][0] == own).all()
    assert (many.reset()[g] != seen).any()  # the streams go on, and do not begin again


@worlds
def test_a_state_knows_streams_that_have_not_begun(name):
    one, other = made(name), made(name, seed=3)
    one.reset()
    one.reseed([7, 8])
    other.load_state_dict(one.state_dict())
    g = next(iter(one.groups))
    assert (one.reset()[g] == other.reset()[g]).all()


@pytest.mark.parametrize("name", [name for name in SMALL if name != "tennis"])
def test_first_episodes_are_cut_short_by_different_amounts(name):
    world = made(name, 4, staggered=True)
    world.reset()
    ((g, group),) = world.groups.items()
    still = {g: np.zeros((4, len(group), *group.action_space.shape), np.float32)}
    for piece in group.choices:
        still[g][..., piece.start] = 1.0
    done = np.array([world.step(still).done for _ in range(LENGTH)])
    assert done.argmax(0).tolist() == [7, 5, 3, 1]


@worlds
def test_no_worlds_and_wrong_seeds_are_refused(name):
    with pytest.raises(ValueError, match="num_worlds is 0: at least 1 is needed"):
        made(name, 0)
    with pytest.raises(ValueError, match="3 seeds are given for 2 worlds"):
        made(name).reseed([1, 2, 3])
