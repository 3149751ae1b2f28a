"""StackedGRU equals torch's own, network by network, also where episodes begin."""

import torch
from torch import nn

from marl.nn.recurrent import StackedGRU

K, T, B, INPUTS, SIZE = 3, 5, 4, 2, 6


def torchs(gru, k):
    """Network k of a stack as one of torch's."""
    cell = nn.GRUCell(INPUTS, SIZE)
    with torch.no_grad():
        for name, layer in (("ih", gru.enter), ("hh", gru.again)):
            getattr(cell, f"weight_{name}").copy_(layer.weight[k].T)
            getattr(cell, f"bias_{name}").copy_(layer.bias[k, 0])
    return cell


def test_a_step_is_torchs():
    gru = StackedGRU(K, INPUTS, SIZE)
    x, hidden = torch.randn(K, B, INPUTS), torch.randn(K, B, SIZE)
    expected = torch.stack([torchs(gru, k)(x[k], hidden[k]) for k in range(K)])
    assert torch.allclose(gru(x, hidden), expected, atol=1e-6)


def test_a_sequence_forgets_at_the_start_of_an_episode():
    gru = StackedGRU(K, INPUTS, SIZE)
    x, hidden = torch.randn(K, T, B, INPUTS), torch.randn(K, B, SIZE)
    keeps = (torch.rand(K, T, B, 1) < 0.6).float()
    states = gru.sequence(x, hidden, keeps)
    for t in range(T):
        hidden = gru(x[:, t], hidden * keeps[:, t])
        assert torch.allclose(states[:, t], hidden, atol=1e-6)
