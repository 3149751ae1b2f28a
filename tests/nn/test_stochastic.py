"""Distributions of actions against torch's own."""

import torch
from torch.distributions import Categorical, Normal

from marl.nn.stochastic import StochasticHead
from marl.testing.probes import group_of
from marl.worlds.spaces import Part

BOTH = group_of(
    1,
    1,
    7,
    action_parts=(
        Part("turn", scalars=1),
        Part("say", count=2, scalars=2, choice=True),
        Part("push", vectors=1),
    ),
)
NUMBERS, CHOICES = [0, 5, 6], [slice(1, 3), slice(3, 5)]
LEGAL = torch.tensor([True, True, False, True, True, True, True])


def outputs(rows=50):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, rows, 7, generator=generator), torch.tensor([[[-1.0, 0.0, 0.5]]])


def drawn(legal=None, rows=50):
    output, log_deviation = outputs(rows)
    head = StochasticHead(BOTH)
    return head(output, log_deviation, legal).draw(torch.Generator().manual_seed(1))


def test_log_probabilities_and_entropies_are_those_of_torch():
    output, log_deviation = outputs()
    sample, policy = drawn(), StochasticHead(BOTH)(output, log_deviation)
    normal = Normal(output[..., NUMBERS], log_deviation.exp())
    logs, entropy = normal.log_prob(sample[..., NUMBERS]).sum(-1), normal.entropy().sum(-1)
    for piece in CHOICES:
        choice = Categorical(logits=output[..., piece])
        logs = logs + choice.log_prob(sample[..., piece].argmax(-1))
        entropy = entropy + choice.entropy()
    torch.testing.assert_close(policy.log_probability(sample)[..., 0], logs)
    torch.testing.assert_close(policy.entropy()[..., 0], entropy)


def test_samples_have_the_distribution():
    output, log_deviation = (x[:1, :1] for x in outputs())
    rows = output.expand(1, 40_000, 7)
    sample = StochasticHead(BOTH)(rows, log_deviation).draw(torch.Generator().manual_seed(1))[0]
    numbers = sample[:, NUMBERS]
    torch.testing.assert_close(numbers.mean(0), output[0, 0, NUMBERS], atol=0.03, rtol=0)
    torch.testing.assert_close(numbers.std(0).log(), log_deviation[0, 0], atol=0.02, rtol=0)
    for piece in CHOICES:
        share = output[0, 0, piece].softmax(-1)
        torch.testing.assert_close(sample[:, piece].mean(0), share, atol=0.02, rtol=0)


def test_what_is_forbidden_is_never_drawn_and_costs_nothing():
    output, log_deviation = outputs()
    head, sample = StochasticHead(BOTH), drawn(LEGAL)
    assert not sample[..., 2].any()
    assert (sample[..., 1] == 1.0).all()
    assert not head.greedy(output, LEGAL)[..., 2].any()
    other = output.clone()
    other[..., 1:3] += torch.tensor([3.0, 5.0])  # of what there is no choice
    policies = [head(x, log_deviation, LEGAL) for x in (output, other)]
    assert torch.equal(*[policy.log_probability(sample) for policy in policies])
    assert torch.equal(*[policy.entropy() for policy in policies])
    leaf = output.clone().requires_grad_()
    head(leaf, log_deviation, LEGAL).log_probability(sample).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert not leaf.grad[..., 1:3].any()


def test_the_most_probable_sample():
    output, log_deviation = outputs()
    head = StochasticHead(BOTH)
    greedy = head.greedy(output)
    assert torch.equal(greedy[..., NUMBERS], output[..., NUMBERS])
    policy = head(output, log_deviation)
    assert (policy.log_probability(greedy) >= policy.log_probability(drawn())).all()
