"""Maxima over items: values and gradients against plain torch, padding, 16 bits."""

import pytest
import torch

from marl.nn.pooling import max_pool, pair_max_pool


def case(features=2, targets=4, rivals=3, dtype=torch.float64):
    random = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype).requires_grad_()

    both = [drawn(2, 9, targets, rivals) for _ in range(features)]
    there = [(torch.rand(2, 9, n, generator=random) > 0.3).to(dtype) for n in (targets, rivals)]
    return drawn(2, 9, targets, 8), drawn(2, 9, rivals, 8), both, drawn(2, features, 8), there


def naive(target, rival, both, weight, there):
    said = target[:, :, :, None] + rival[:, :, None]
    for f, feature in enumerate(both):
        said = said + feature[..., None] * weight[:, None, None, None, f]
    meet = (there[0][:, :, :, None] * there[1][:, :, None])[..., None]
    return torch.relu(torch.where(meet > 0, said, 0.0).amax(3))


@pytest.mark.parametrize("features", [1, 2])
def test_a_contest_is_the_naive_one(features):
    args = case(features)
    target, rival, both, weight, _ = args
    found, expected = pair_max_pool(*args), naive(*args)
    torch.testing.assert_close(found, expected)
    assert (expected > 0).any()
    assert (expected == 0).any()
    loss = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    learners = [target, rival, *both, weight]
    gradients = [torch.autograd.grad((x * loss).sum(), learners) for x in (found, expected)]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other)


def test_nobody_says_nothing():
    target, rival, both, weight, there = case(rivals=0)
    found = pair_max_pool(target, rival, both, weight, there)
    assert found.eq(0).all()
    assert torch.autograd.grad(found.sum(), target)[0].eq(0).all()


def test_the_largest_is_torchs_own():
    x = torch.relu(case()[0].detach()).requires_grad_()
    assert (x.amax(2) == 0).any()
    torch.testing.assert_close(max_pool(x), x.amax(2))
    loss = torch.linspace(-1, 1, 2 * 9 * 8, dtype=x.dtype).view(2, 9, 8)
    behind_relu = torch.where(x > 0, 1.0, 0.0)  # zeros are shared among equals by torch
    own, other = (torch.autograd.grad((y * loss).sum(), x)[0] for y in (max_pool(x), x.amax(2)))
    torch.testing.assert_close(own * behind_relu, other * behind_relu)


def test_16_bits_are_made_32():
    target, rival, both, weight, there = case(dtype=torch.float32)
    short = target.detach().bfloat16().requires_grad_()
    found = pair_max_pool(short, rival, both, weight, there)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, naive(short.float(), rival, both, weight, there))
    assert torch.autograd.grad(found.sum(), short)[0].dtype == torch.bfloat16
    assert max_pool(short).dtype == torch.float32
