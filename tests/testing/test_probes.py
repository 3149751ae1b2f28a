"""Probes reward the answers that they say are right, and nothing else as much."""

import numpy as np
import pytest

from marl.testing import probes
from marl.testing.probes import ANSWERS, WORLDS


def rewards(world, actions):
    return world.step({g: np.asarray(x, np.float32) for g, x in actions.items()}).reward


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (probes.action_matters, lambda o: {"agents": np.full((WORLDS, 1, 1), 0.5)}),
        (probes.action_follows_observation, lambda o: o),
        (
            probes.answers_of_their_own,
            lambda o: {"agents": np.tile(np.array(ANSWERS)[:, None], (WORLDS, 1, 1))},
        ),
        (
            probes.two_unlike_groups,
            lambda o: {"one": o["one"][..., :1], "two": o["two"] * [1, -1]},
        ),
        (
            probes.what_another_sees,
            lambda o: {"agents": o["agents"][:, [1, 1]] * [[1], [0]]},
        ),
    ],
)
def test_the_answer_is_best(make, answer):
    world = make()
    best = rewards(world, answer(world.reset()))
    for g, reward in best.items():
        assert reward.shape == (WORLDS, len(world.groups[g]))
        assert np.abs(reward).max() < 1e-6
    other = rewards(world, {g: x + 0.1 for g, x in answer(world.reset()).items()})
    assert all((reward < -0.005).all() for reward in other.values())


def test_rewards_that_no_action_changes():
    nothing = {"agents": np.zeros((WORLDS, 1, 1))}
    for truncates in (False, True):
        world = probes.constant_reward(truncates)
        world.reset()
        step = world.step(nothing)
        assert (step.reward["agents"] == 1.0).all()
        assert step.done.all()
        assert (step.truncated == truncates).all()
        assert (step.terminated["agents"] == (not truncates)).all()
    world = probes.reward_in_observation()
    seen = world.reset()["agents"][..., 0]
    assert {*np.unique(seen)} == {-1.0, 1.0}
    assert (rewards(world, nothing)["agents"] == seen).all()


def test_the_second_step_is_rewarded():
    world, nothing = probes.reward_a_step_later(), {"agents": np.zeros((WORLDS, 1, 1))}
    assert (world.reset()["agents"] == 0).all()
    first, second = world.step(nothing), world.step(nothing)
    assert (first.observation["agents"] == 1).all()
    assert not first.done.any()
    assert (first.reward["agents"] == 0).all()
    assert (second.reward["agents"] == 1).all()
    assert second.done.all()


def test_the_first_is_rewarded_for_what_the_second_does():
    world = probes.another_agents_action()
    assert (world.reset()["agents"][3] == np.eye(2)).all()
    reward = rewards(world, {"agents": np.tile([[0.9], [0.25]], (WORLDS, 1, 1))})["agents"]
    assert (reward == [0.5, 0.0]).all()
