"""The running scale of returns."""

import numpy as np
import pytest
import torch

from marl.learning import value_norm as module
from marl.learning.value_norm import ValueNorm


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
