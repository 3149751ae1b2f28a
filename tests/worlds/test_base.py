"""Groups: where actions are numbers and where they are choices."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from marl.policies.builtin import Still
from marl.worlds.registry import make
from marl.worlds.spaces import Group, Part

GROUP = Group(
    ("a",),
    Box(-np.inf, np.inf, (1,), np.float32),
    Box(np.float32([-1, -1, 0, 0, 0, 0]), np.float32([1] * 6), dtype=np.float32),
    (),
    (Part("force", vectors=1), Part("letters", 2, scalars=2, choice=True)),
)


def test_every_item_of_a_part_is_a_choice_of_its_own():
    assert GROUP.choices == [slice(2, 4), slice(4, 6)]
    assert make("spread").groups["agents"].choices == []


def test_random_actions_choose_everything_equally_often():
    actions = GROUP.random_actions(np.random.default_rng(0), 4000, 3)
    assert actions.shape == (4000, 3, 6)
    assert actions.dtype == np.float32
    for piece in GROUP.choices:
        assert (actions[..., piece].sum(-1) == 1).all()
        np.testing.assert_allclose(actions[..., piece].mean((0, 1)), 0.5, atol=0.02)
    numbers = actions[..., :2]
    assert numbers.min() < -0.99
    assert numbers.max() > 0.99
    np.testing.assert_allclose(numbers.mean((0, 1)), 0.0, atol=0.03)


def test_to_be_still_is_to_choose_to_stay():
    world = make("world_comm", actions="discrete")
    actions = Still(world).act(world.reset())
    assert actions["good"][0, 0].tolist() == [1, 0, 0, 0, 0]
    assert actions["leader"][0, 0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("scenario", ["spread", "tag", "tennis", "pursuit"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_actions_that_are_not_finite_are_refused_by_the_agents_name(scenario, wrong):
    world = make(scenario, num_worlds=3)
    world.reset()
    rng, groups = np.random.default_rng(0), world.groups
    actions = {g: x.random_actions(rng, 3, len(x)) for g, x in groups.items()}
    before = world.state_dict()
    g, group = list(world.groups.items())[-1]
    actions[g][2, -1, 1] = wrong
    said = rf"actions\['{g}'\] holds {wrong}, for '{group.names[-1]}' in world 2; finite"
    with pytest.raises(ValueError, match=said):
        world.step(actions)
    assert all(np.array_equal(x, before[name]) for name, x in world.state_dict().items())
    actions[g][2, -1, 1] = 1e30  # finite, though its square is not
    world.step(actions)


def test_a_group_without_actions_is_named():
    world = make("tennis")
    world.reset()
    with pytest.raises(ValueError, match="actions has no 'players'; the groups are: players"):
        world.step({})
