"""Policies that draw: densities, chances, and what their critics see."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from marl.nn.soft_heads import SoftChoices, SoftNumbers
from marl.testing.probes import group_of
from marl.worlds.spaces import Part

CHOICES = (Part("move", scalars=3, choice=True), Part("say", scalars=2, choice=True))


def numbers():
    return SoftNumbers(group_of(1, 1, 2))


def choices():
    return SoftChoices(group_of(1, 1, 5, action_parts=CHOICES))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_density_of_numbers_is_that_of_a_gaussian_through_tanh():
    output = 0.5 * torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    drawn = numbers()(output, generator(1))
    mean, log_deviation = output.chunk(2, -1)
    base = Independent(Normal(mean, log_deviation.exp()), 1)
    theirs = TransformedDistribution(base, TanhTransform())
    torch.testing.assert_close(drawn.log[:, 0], theirs.log_prob(drawn.action), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(drawn.entropy(), -drawn.log)


def test_the_density_far_out_keeps_its_digits():
    """Where 1 - tanh(u)^2 is zero in float32."""
    output = torch.tensor([[30.0, -15.0, -2.0, -3.0]])
    drawn = numbers()(output, generator())
    noise = torch.randn(1, 2, generator=generator()).double().numpy()
    u = output[:, :2].double().numpy() + noise * np.exp([[-2.0, -3.0]])
    expected = -0.5 * (noise**2 + math.log(2 * math.pi)) - [[-2.0, -3.0]]
    expected -= math.log(4) - 2 * np.logaddexp(u, -u)
    assert float(drawn.log) == pytest.approx(expected.sum(), rel=1e-5)


def test_draws_of_numbers_have_gradients_and_bounded_deviations():
    for value, deviation in [(-50.0, math.exp(-5)), (50.0, math.exp(2)), (0.0, 1.0)]:
        output = torch.tensor([[0.0, 0.0, value, value]]).repeat(20_000, 1)
        u = numbers()(output.double(), generator()).action.atanh()
        assert float(u.clamp(-30, 30).std()) == pytest.approx(deviation, rel=0.05)
    output = torch.zeros(3, 4, requires_grad=True)
    numbers()(output, generator()).action.sum().backward()
    assert (output.grad[:, :2] > 0).all()
    assert (output.grad[:, 2:] != 0).all()


def test_greedy_numbers_are_the_mean_and_critics_see_them():
    head, output, values = numbers(), torch.randn(3, 4), torch.randn(3, 1)
    torch.testing.assert_close(head.best(output), output[:, :2].tanh())
    assert head.beside(output) is output
    assert head.of_action(values, output) is values
    assert head.unit(None) == 2.0
    assert (head.outputs, head.values) == (4, 1)


def test_choices_are_drawn_with_their_chances():
    head, logits = choices(), torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0, 2.0])
    drawn = head(logits.repeat(40_000, 1), generator())
    expected = logits.softmax(-1)
    torch.testing.assert_close(drawn.chance[0], expected)
    torch.testing.assert_close(drawn.log[0], expected.log())
    numbers = (drawn.action @ torch.tensor([0.0, 2.0, 4.0, 0.0, 1.0])).long()
    found = torch.bincount(numbers, minlength=6) / 40_000
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    entropy = float(-(expected * expected.log()).sum())
    assert float(drawn.entropy()[0]) == pytest.approx(entropy, rel=1e-5)
    assert head.best(logits).tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]


def test_forbidden_choices_have_no_chance_no_draw_and_no_gradient():
    """The second row has left: it may do nothing."""
    head, legal = choices(), torch.tensor([[1, 0, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    output = torch.zeros(500, 2, 6, requires_grad=True)
    drawn = head(output, generator(), legal)
    assert (drawn.chance[:, 0] == torch.tensor([0.25, 0.25, 0.0, 0.0, 0.25, 0.25])).all()
    assert (drawn.action[:, 0, 1] == 0).all()
    assert (head.best(torch.eye(6)[2:4, None], legal)[:, 0, 1] == 0).all()
    drawn.expected(0.1 * drawn.log - torch.arange(6.0)).sum().backward()
    assert torch.isfinite(output.grad).all()
    assert (output.grad[:, 0, 2:4] == 0).all()
    assert (output.grad[:, 0, [0, 1, 4, 5]] != 0).all()
    np.testing.assert_allclose(head.unit(legal)[:, 0], [math.log(4), 0.0], rtol=1e-6)
    assert head.unit(None) == math.log(6)


def test_critics_of_choices_see_the_others_and_have_a_value_for_each():
    head = choices()
    action = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 7.0, 8.0]])
    assert head.beside(action).tolist() == [[7.0, 8.0]]
    assert head.beside(action[:, :5]) is None
    assert head.of_action(10.0 * torch.arange(6.0)[None], action).tolist() == [[50.0]]
    assert (head.outputs, head.values) == (6, 6)
