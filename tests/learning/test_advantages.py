"""Advantages against a naive loop, and the running scale of returns."""

import numpy as np
import pytest
import torch

from marl.learning import advantages as module
from marl.learning.advantages import ValueNorm, advantages

GAMMA, TRACE = 0.9, 0.8


def naive(reward, value, next_value, terminated, continues):
    """Sum up the discounted errors of every step until its episode ends, or the rollout."""
    found = np.zeros_like(reward)
    for index in np.ndindex(reward.shape):
        t, rest = index[0], index[1:]
        factor = 1.0
        while True:
            now = (t, *rest)
            alive = 1.0 - terminated[now]
            error = reward[now] + GAMMA * alive * next_value[now] - value[now]
            found[index] += factor * error
            if terminated[now] or not continues[t, rest[0]]:
                break
            factor *= GAMMA * TRACE
            t += 1
    return found


def test_advantages_are_those_of_a_naive_loop():
    """World 0 ends by termination, world 1 by time, world 2 never; of world 3 one agent leaves
    earlier than the other."""
    random = np.random.default_rng(0)
    shape = (6, 4, 2)
    reward, value, next_value = random.normal(size=(3, *shape))
    terminated, continues = np.zeros(shape), np.ones((6, 4))
    continues[-1] = 0.0
    terminated[2, 0], continues[2, 0] = 1.0, 0.0
    continues[3, 1] = 0.0
    terminated[1, 3, 0] = terminated[4, 3] = 1.0
    continues[4, 3] = 0.0
    columns = [reward, value, next_value, terminated]
    found = advantages(
        *map(torch.tensor, columns), torch.tensor(continues)[..., None], GAMMA, TRACE
    )
    np.testing.assert_allclose(found, naive(*columns, continues), rtol=1e-12)


def test_a_truncated_and_a_terminated_episode_by_hand():
    """Both have two rewards of 1 and a value of 10 everywhere: only time that ran out counts what
    comes after."""
    ones, ten = torch.ones(2, 2), 10.0 * torch.ones(2, 2)
    terminated = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    continues = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    found = advantages(ones, ten, ten, terminated, continues, 0.5, 1.0)
    ended = [1 + 0.5 * 1 - 10, 1 - 10]
    cut_off = [1 + 0.5 * (1 + 0.5 * 10) - 10, 1 + 0.5 * 10 - 10]
    torch.testing.assert_close(found, torch.tensor([ended, cut_off]).T)


# --------------------------------------------------------------------------------------- ValueNorm


def test_returns_are_scaled_by_their_mean_and_deviation():
    """Each network's, and there and back is the same."""
    random = torch.Generator().manual_seed(0)
    returns = torch.randn(2, 50, 1, generator=random) * torch.tensor([3.0, 0.1])[:, None, None]
    norm = ValueNorm(2)
    assert torch.equal(norm(returns), returns)  # before it has seen any
    norm.observe(returns + 5.0)
    scaled = norm(returns + 5.0)
    torch.testing.assert_close(scaled.mean((1, 2)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std((1, 2), correction=0), torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm.returns(scaled), returns + 5.0)


def test_later_rollouts_count_more():
    norm, decay = ValueNorm(1), module.DECAY
    for mean in (1.0, 2.0, 4.0):
        norm.observe(torch.full((1, 3, 1), mean))
    expected = np.average([1.0, 2.0, 4.0], weights=[decay**2, decay, 1.0])
    assert float(norm.mean) == pytest.approx(expected)


def test_rows_of_agents_that_have_left_do_not_count():
    norm, other = ValueNorm(2), ValueNorm(2)
    returns = torch.arange(8.0).view(2, 4, 1)
    present = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0] * 4])[..., None]
    norm.observe(returns, present)
    other.observe(returns[:, ::2])
    assert float(norm.mean[0]) == float(other.mean[0])
    assert torch.equal(norm(returns)[1], returns[1])  # nobody was there: nothing is known
    norm.observe(returns)
    assert float(norm.mean[1]) == pytest.approx(5.5)


def test_equal_returns_stay_finite():
    norm = ValueNorm(1)
    norm.observe(torch.full((1, 5, 1), 7.0))
    assert norm(torch.tensor([[[7.0]]])) == 0.0
