"""Views: many agents as one."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from marl.worlds.spaces import Group, Part
from marl.worlds.views import JointView

TEAM = Group(
    ("ann", "bob", "cat"),
    Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, np.inf], np.float32)),
    Box(-1.0, 1.0, (1,), np.float32),
    (Part("place", vectors=1),),
    (Part("push", scalars=1),),
)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_rows_are_joined_agent_after_agent_and_come_apart_again(make):
    """Whatever comes before, worlds or batches."""
    view = JointView(TEAM)
    for shape in [(3, 2), (5, 3, 2), (4, 5, 3, 2)]:
        rows = np.random.default_rng(0).normal(size=shape)
        joined = view.join(make(rows))
        assert joined.shape == (*shape[:-2], 1, 6)
        for i in range(3):
            assert (joined[..., 0, 2 * i : 2 * i + 2] == make(rows[..., i, :])).all()
        assert (view.split(joined) == make(rows)).all()


def test_the_joint_group_has_one_body_with_all_eyes_and_limbs():
    group = JointView(TEAM).group
    assert len(group) == 1
    assert group.observation_space == Box(
        np.array([-2, 0] * 3, np.float32), np.array([2, np.inf] * 3, np.float32)
    )
    assert group.action_space == Box(-1.0, 1.0, (3,), np.float32)
    assert group.observation_parts == TEAM.observation_parts * 3
    assert group.action_parts == TEAM.action_parts * 3
    assert sum(part.size for part in group.observation_parts) == group.observation_space.shape[0]


def test_one_agent_stays_as_it_is():
    one = Group(("only",), *(getattr(TEAM, x) for x in ("observation_space", "action_space")))
    view = JointView(one)
    assert view.group.observation_space == one.observation_space
    rows = np.ones((5, 1, 2))
    assert (view.join(rows) == rows).all()
    assert (view.split(rows) == rows).all()
