"""What policies say about observations that they cannot act on."""

import re

import numpy as np
import pytest
import torch

import marl
from marl.agents.core.base import Needs, Policy, View
from marl.policies.builtin import BUILTIN
from marl.policies.checked import CheckedPolicy


@pytest.fixture(scope="module")
def world():
    return marl.make("spread", num_worlds=2, integration="semi_implicit")


@pytest.fixture(scope="module")
def policy(world):
    return marl.load_policy("spread", world)


ROWS = np.zeros((2, 4, 29), np.float32)


def changed(value):
    rows = ROWS.copy()
    rows[1, 2, 3] = value
    return rows


@pytest.mark.parametrize(
    ("observation", "sentence"),
    [
        ({"agent": ROWS}, "observation has no 'agents'; the groups are: agents"),
        ({}, "observation has no 'agents'; the groups are: agents"),
        (
            {"agents": ROWS, "others": ROWS},
            "observation has 'others', which is no group; they are: agents",
        ),
        (ROWS, "observation is a ndarray; a dictionary of the groups (agents) is due"),
        (
            {"agents": ROWS[0]},
            "observation['agents'] has shape (4, 29); (E, N, 29) is needed",
        ),
        (
            {"agents": ROWS[..., :5]},
            "observation['agents'] has shape (2, 4, 5); (E, N, 29) is needed",
        ),
        ({"agents": 3.0}, "observation['agents'] has shape (); (E, N, 29) is needed"),
        ({"agents": ROWS.astype(str)}, "observation['agents'] is <U32; an array of floats is"),
        ({"agents": None}, "observation['agents'] is object; an array of floats is needed"),
        ({"agents": [[1.0], [1.0, 2.0]]}, "observation['agents'] is no array of numbers"),
        (
            {"agents": changed(np.nan)},
            "observation['agents'] holds nan for agent 2 of world 1; finite numbers are needed",
        ),
        (
            {"agents": changed(-np.inf)},
            "observation['agents'] holds -inf for agent 2 of world 1; finite numbers are needed",
        ),
    ],
)
def test_observations_that_do_not_fit_are_refused_by_name(world, policy, observation, sentence):
    for checked in (policy, marl.load_policy("greedy", world)):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            checked.act(observation)


def test_any_numbers_will_do(policy):
    """Also those of other dtypes, lists and tensors, and of other numbers of agents and worlds."""
    expected = policy.act({"agents": ROWS})["agents"]
    for rows in (ROWS.astype(float), ROWS.astype(int), ROWS.tolist(), torch.from_numpy(ROWS)):
        np.testing.assert_array_equal(policy.act({"agents": rows})["agents"], expected)
    assert policy.act({"agents": np.zeros((3, 7, 29))})["agents"].shape == (3, 7, 2)


def test_the_groups_have_the_same_worlds():
    world = marl.make("tag")
    policy = marl.load_policy("random", world)
    sizes = {g: group.observation_space.shape[0] for g, group in world.groups.items()}
    observation = {
        g: np.zeros((1 + i, 1, size), np.float32) for i, (g, size) in enumerate(sizes.items())
    }
    with pytest.raises(ValueError, match="different numbers of worlds: "):
        policy.act(observation)


def test_a_policy_that_is_tied_to_its_number_says_so(world):
    policy = BUILTIN["still"](world, 0)
    policy.size_invariant = False
    with pytest.raises(ValueError, match=r"has shape \(2, 3, 29\); \(E, 4, 29\) is needed"):
        CheckedPolicy(policy, world.groups).act({"agents": ROWS[:, :3]})


class Talking(Policy):
    """Hears one number beside the observation."""

    needs = Needs((1, 0))

    def perceive(self, view):
        return {"agents": np.concatenate([view.observation["agents"], np.ones((2, 4, 1))], -1)}

    def act(self, perceived, explore=False):
        return {"agents": perceived["agents"][..., -2:]}


def test_a_policy_that_talks_must_perceive_first(world):
    policy = CheckedPolicy(Talking(), world.groups)
    with pytest.raises(ValueError, match="this policy asks who is near whom before it acts: play"):
        policy.act({"agents": ROWS})
    perceived = policy.perceive(View({"agents": ROWS}))
    assert policy.act(perceived)["agents"].shape == (2, 4, 2)
    with pytest.raises(ValueError, match=r"\['agents'\] has shape \(2, 4, 29\); \(E, N, 30\) is"):
        policy.act({"agents": ROWS})
    with pytest.raises(ValueError, match="observation has no 'agents'"):
        policy.perceive(View({}))
