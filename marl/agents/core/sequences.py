"""Networks over steps in a row, with a memory or without.

Shapes: K stacked networks, T steps in a row, [K, T, rows, size]. `hidden`, [K, 1, rows, memory], is
the hidden state before the first step. `keeps`, [K, T, rows, 1], is 0.0 at the first step of an
episode, which begins with an empty hidden state; None: no episode begins.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from marl.agents.core.learner import piecewise
from marl.nn import NETWORKS
from marl.nn.layers import Hidden, StackedLinear
from marl.nn.recurrent import StackedGRU
from marl.worlds.spaces import Part


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
        y = self.network(rows) if torch.is_grad_enabled() else piecewise(self.network, rows)
        return y.unflatten(1, x.shape[1:3]), None


class Recurrent(nn.Module):
    """A multi-layer perceptron with a gated recurrent unit before its last layer."""

    def __init__(
        self,
        stack: int,
        parts: Sequence[Part],
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        memory: int,
        layer_norm: bool = False,
        encoder: str = "nature",
    ) -> None:
        super().__init__()
        self.enter = Hidden(stack, parts, inputs, 0, hidden, layer_norm, encoder)
        self.gru = StackedGRU(stack, hidden[-1], memory)
        self.output = StackedLinear(stack, memory, outputs).small()

    def forward(
        self, x: Tensor, hidden: Tensor, keeps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """[K, T, rows, inputs] -> [K, T, rows, outputs], and the hidden states after each step,
        [K, T, rows, memory]."""
        entered = self.enter(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
        keeps = x.new_ones(1, x.shape[1], 1, 1) if keeps is None else keeps
        states = self.gru.sequence(entered, hidden[:, 0], keeps)
        return self.output(states.flatten(1, 2)).unflatten(1, x.shape[1:3]), states


def sequence_network(
    stack: int,
    parts: Sequence[Part],
    inputs: int,
    outputs: int,
    config: Any,
    layer_norm: bool,
    pool: bool = True,
) -> nn.Module:
    """K networks from `inputs` (which are `parts`) to `outputs` numbers, of the kind, size and
    `memory` of a config."""
    if config.memory:
        sizes = inputs, outputs, config.hidden, config.memory
        return Recurrent(stack, parts, *sizes, layer_norm, config.encoder)
    shape = (inputs, 0, outputs, config.hidden, config.width, layer_norm, pool, config.encoder)
    return Feedforward(NETWORKS[config.network](stack, parts, *shape))
