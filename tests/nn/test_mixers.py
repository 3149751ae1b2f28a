"""Mixers: equations by hand, and monotonicity."""

import numpy as np
import pytest
import torch

from marl.nn.mixers import MonotonicMixer, SumMixer

AGENTS, STATE, ROWS = 3, 5, 200


@pytest.fixture
def mixer():
    torch.manual_seed(0)
    return MonotonicMixer(AGENTS, STATE, 8, 16).double()


def rows(seed=1):
    random = torch.Generator().manual_seed(seed)
    values = 5 * torch.randn(AGENTS, ROWS, generator=random, dtype=torch.float64)
    return values, torch.randn(ROWS, STATE, generator=random, dtype=torch.float64)


def test_the_sum_is_the_sum():
    values, state = rows()
    assert torch.equal(SumMixer(AGENTS, STATE, 8, 16)(values, state), values.sum(0))


def test_the_teams_value_never_falls_with_the_value_of_an_agent(mixer):
    values, state = rows()
    for agent in range(AGENTS):
        for step in (1e-4, 3.0):
            more = values.clone()
            more[agent] += step
            assert (mixer(more, state) >= mixer(values, state)).all()
    values.requires_grad_(True)
    (slopes,) = torch.autograd.grad(mixer(values, state).sum(), values)
    assert (slopes >= 0).all()
    assert (slopes > 0).float().mean() > 0.9
    assert slopes.std() > 0  # it depends on the state


def test_the_equations_by_hand(mixer):
    values, state = rows()
    weights = {name: x[0].detach().numpy() for name, x in mixer.state_dict().items()}

    def of_state(name, s):
        inside = s @ weights[f"{name}.0.weight"] + weights[f"{name}.0.bias"][0]
        return np.maximum(inside, 0) @ weights[f"{name}.2.weight"] + weights[f"{name}.2.bias"][0]

    mixed = mixer(values, state).detach().numpy()
    for r in range(0, ROWS, 50):
        q, s = values[:, r].numpy(), state[r].numpy()
        first = np.abs(of_state("first", s)).reshape(AGENTS, 8)
        x = q @ first + s @ weights["first_bias.weight"] + weights["first_bias.bias"][0]
        x = np.where(x > 0, x, np.exp(x) - 1)
        total = x @ np.abs(of_state("second", s)) + of_state("second_bias", s)[0]
        assert mixed[r] == pytest.approx(total, rel=1e-9)
