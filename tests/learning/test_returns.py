"""Lambda returns against a loop that follows the definition."""

import numpy as np
import pytest
import torch

from marl.learning.returns import lambda_returns

GAMMA = 0.9


def naive(reward, terminated, value, continues, share):
    """The weighted mean of the returns of 1, 2, ... steps, of one world."""
    returns = []
    for t in range(len(reward)):
        last = t  # of the steps in a row
        while continues[last] and not terminated[last]:
            last += 1
        n_step = []
        for end in range(t, last + 1):
            g = sum(GAMMA ** (k - t) * reward[k] for k in range(t, end + 1))
            n_step.append(g + GAMMA ** (end - t + 1) * (1 - terminated[end]) * value[end])
        *shorter, whole = n_step
        weights = [(1 - share) * share**k for k in range(len(shorter))]
        mean = sum(w * g for w, g in zip(weights, shorter, strict=True))
        returns.append(mean + share ** len(shorter) * whole)
    return returns


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_lambda_returns(share):
    """World 0 is terminated at step 3, in world 1 time runs out there, world 2 goes on; all rows
    end in the middle of an episode."""
    steps, worlds, agents = 8, 3, 2
    random = np.random.default_rng(0)
    reward, value = random.normal(size=(2, agents, steps, worlds))
    terminated, continues = np.zeros((steps, worlds)), np.ones((steps, worlds))
    terminated[3, 0] = 1.0
    continues[3, :2] = continues[-1] = 0.0
    found = lambda_returns(
        torch.tensor(reward),
        torch.tensor(GAMMA * (1 - terminated)).expand(agents, -1, -1),
        torch.tensor(value),
        torch.tensor(continues)[None],
        share,
    )
    for i in range(agents):
        for e in range(worlds):
            one = (reward[i, :, e], terminated[:, e], value[i, :, e], continues[:, e])
            np.testing.assert_allclose(found[i, :, e], naive(*one, share), rtol=1e-12)


def test_a_termination_ends_the_return_and_the_end_of_time_does_not():
    reward, value, continues = (torch.tensor([[[x], [0.0]]]) for x in (1.0, 5.0, 0.0))
    for gamma, expected in [(0.0, 1.0), (GAMMA, 1.0 + GAMMA * 5.0)]:
        discount = torch.full_like(reward, gamma)
        returns = lambda_returns(reward, discount, value, continues, 1.0)
        assert float(returns[0, 0, 0]) == pytest.approx(expected)


def advantages(reward, value, next_value, terminated, continues, share):
    """Generalised advantages, [T, E, N]: the discounted sum of the errors of every step, until its
    episode or the rollout ends."""
    found = np.zeros_like(reward)
    for index in np.ndindex(reward.shape):
        (t, *rest), factor = index, 1.0
        while True:
            now = (t, *rest)
            alive = 1.0 - terminated[now]
            error = reward[now] + GAMMA * alive * next_value[now] - value[now]
            found[index] += factor * error
            if terminated[now] or not continues[t, rest[0]]:
                break
            factor *= GAMMA * share
            t += 1
    return found


def test_minus_values_they_are_generalised_advantages():
    """World 0 ends by termination, world 1 by time, world 2 never; of world 3 one agent leaves
    earlier than the other."""
    random, shape, share = np.random.default_rng(0), (6, 4, 2), 0.8
    reward, value, next_value = random.normal(size=(3, *shape))
    terminated, continues = np.zeros(shape), np.ones((6, 4))
    continues[-1] = 0.0
    terminated[2, 0], continues[2, 0] = 1.0, 0.0
    continues[3, 1] = 0.0
    terminated[1, 3, 0] = terminated[4, 3] = 1.0
    continues[4, 3] = 0.0
    next_value[:-1] = np.where(continues[:-1, :, None] > 0, value[1:], next_value[:-1])
    expected = advantages(reward, value, next_value, terminated, continues, share)
    columns = (reward, GAMMA * (1 - terminated), next_value)
    agents_first = [torch.tensor(np.moveaxis(x, 2, 0)) for x in columns]
    returns = lambda_returns(*agents_first, torch.tensor(continues)[None], share)
    found = np.moveaxis(returns.numpy(), 0, 2) - value
    np.testing.assert_allclose(found, expected, rtol=1e-9)
