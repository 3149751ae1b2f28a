"""Mixers: from the values of all agents of a team to the value of the team.

The best joint choice of a mixed value is the best choice of every agent, because the team's value
never falls when the value of one agent rises. So each agent can choose alone.

Shapes: N agents, R rows, S numbers of the state (everybody's observations).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl.nn.layers import StackedLinear


class SumMixer(nn.Module):
    """The sum of the values (VDN: Sunehag et al. 2017)."""

    needs_state = False

    def __init__(self, agents: int, state: int, size: int, hidden: int) -> None:
        super().__init__()

    def forward(self, values: Tensor, state: Tensor | None = None) -> Tensor:
        """Values [N, R] -> [R]."""
        return values.sum(0)


class MonotonicMixer(nn.Module):
    """A network of the values whose weights are positive and depend on the state (QMIX: Rashid et
    al. 2018):

        Q_tot = |w2(s)| elu(|W1(s)| q + b1(s)) + b2(s)

    W1 and w2 are networks of the state with a hidden layer (hypernetworks), b1 is linear, and b2
    has a hidden layer, too.
    """

    needs_state = True

    def __init__(self, agents: int, state: int, size: int, hidden: int) -> None:
        """`size`: units between the agents' values and the team's; `hidden`: units of the
        hypernetworks' hidden layer."""
        super().__init__()
        self.agents, self.size = agents, size
        self.first = _hypernetwork(state, hidden, agents * size)
        self.first_bias = StackedLinear(1, state, size)
        self.second = _hypernetwork(state, hidden, size)
        self.second_bias = _hypernetwork(state, size, 1)

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """Values [N, R] and states [R, S] -> [R]."""
        state = state[None]  # [1, R, S]: one network
        first = self.first(state)[0].abs().unflatten(-1, (self.agents, self.size))
        mixed = torch.einsum("nr,rnm->rm", values, first) + self.first_bias(state)[0]
        second, bias = self.second(state)[0].abs(), self.second_bias(state)[0, :, 0]
        return (F.elu(mixed) * second).sum(-1) + bias


def _hypernetwork(state: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        StackedLinear(1, state, hidden), nn.ReLU(), StackedLinear(1, hidden, outputs)
    )


MIXERS: dict[str, type[SumMixer] | type[MonotonicMixer]] = {
    "sum": SumMixer,
    "monotonic": MonotonicMixer,
}
"""Mixers by name."""
