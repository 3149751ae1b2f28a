"""Networks of the PPO family: over steps in a row, with a memory or without."""

import torch
from torch import Tensor, nn

from marl.agents.core.learner import PIECE
from marl.nn.layers import Hidden, StackedLinear
from marl.nn.recurrent import StackedGRU


class Feedforward(nn.Module):
    """A network without memory. It looks at every row alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Tensor, hidden: Tensor | None = None, keeps: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """[K, T, rows, inputs] -> [K, T, rows, outputs]. There are no hidden states."""
        rows = x.flatten(1, 2)
        pieces = (rows,) if torch.is_grad_enabled() else rows.split(PIECE, 1)
        output = torch.cat([self.network(piece) for piece in pieces], 1)
        return output.unflatten(1, x.shape[1:3]), None


class Recurrent(nn.Module):
    """A multi-layer perceptron with a gated recurrent unit before its last layer."""

    def __init__(
        self,
        stack: int,
        inputs: int,
        outputs: int,
        hidden: tuple[int, ...],
        memory: int,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.enter = Hidden(stack, inputs, hidden, layer_norm)
        self.gru = StackedGRU(stack, hidden[-1], memory)
        self.output = StackedLinear(stack, memory, outputs).small()

    def forward(
        self, x: Tensor, hidden: Tensor, keeps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """[K, T, rows, inputs] -> [K, T, rows, outputs], and the hidden states after each step,
        [K, T, rows, memory]. `hidden`, [K, 1, rows, memory], is the one before the first step;
        `keeps`, [K, T, rows, 1]: 0.0 at the first step of an episode; None: there is none."""
        entered = self.enter(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
        keeps = x.new_ones(1, x.shape[1], 1, 1) if keeps is None else keeps
        states = self.gru.sequence(entered, hidden[:, 0], keeps)
        return self.output(states.flatten(1, 2)).unflatten(1, x.shape[1:3]), states


class GaussianActor(nn.Module):
    """A policy's network and the logarithm of its numbers' standard deviation, which does not
    depend on what an agent sees."""

    def __init__(self, network: nn.Module, stack: int, numbers: int, log_deviation: float) -> None:
        super().__init__()
        self.network = network
        self.log_deviation = nn.Parameter(torch.full((stack, 1, numbers), log_deviation))
