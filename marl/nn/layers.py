"""Layers of K stacked networks: one tensor holds the weights of all K.

Every network maps [K, B, inputs] to [K, B, outputs]; network k sees slice k only. K=1 is one
network shared by all agents, K=N one for each. There is no Python loop over networks.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl.memory import shortage
from marl.nn.encoders import encoder_of
from marl.worlds.spaces import Part

COPIES = 5  # of a weight in training: itself, its target, its gradient, two moments of Adam's


class StackedLinear(nn.Module):
    """K linear layers side by side: [K, B, inputs] -> [K, B, outputs]."""

    def __init__(self, stack: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        if lacking := shortage(COPIES * 4 * stack * inputs * outputs):
            raise ValueError(
                f"a layer of {stack} x {inputs} x {outputs} weights, with its target network, "
                f"gradient and optimiser, {lacking}"
            )
        bound = 1 / math.sqrt(inputs)  # PyTorch's own initialisation of a linear layer
        self.weight = nn.Parameter(torch.empty(stack, inputs, outputs).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(stack, 1, outputs).uniform_(-bound, bound)) if bias else None
        )

    def small(self) -> "StackedLinear":
        """Start near zero, as DDPG's output layers do (Lillicrap et al. 2015, section 7): an
        untrained policy then stands almost still."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -3e-3, 3e-3)
        return self

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        """`extra`: more inputs, after those of x. They are separate, so that x needs no copy and no
        gradient: x may be one table that all K share (expanded)."""
        if extra is not None:
            first, second = self.weight.split([x.shape[-1], extra.shape[-1]], 1)
            return product(product(self.bias, x, first), extra, second)
        return product(self.bias, x, self.weight)


def product(bias: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
    """bias + x weight, for each network of the stack."""
    if len(weight) == 1:  # the same sum, without the overhead of a batched product
        x, weight = x.squeeze(0), weight.squeeze(0)  # x[0] would cost its gradient a copy
        y = x @ weight if bias is None else torch.addmm(bias.squeeze(0), x, weight)
        return y.unsqueeze(0)
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)


class StackedLayerNorm(nn.Module):
    """K layer normalisations side by side (Ba et al. 2016): [K, B, size] -> [K, B, size]."""

    def __init__(self, stack: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, 1, size))
        self.bias = nn.Parameter(torch.zeros(stack, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        if len(self.weight) == 1:  # the same, in one pass; after products of 16 bits, too
            weight, bias = self.weight.flatten(), self.bias.flatten()
            return F.layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias)
        return F.layer_norm(x, x.shape[-1:]) * self.weight + self.bias


class Hidden(nn.Module):
    """Layers with LeakyReLU, optionally after a layer normalisation. Pictures among the `parts` of
    the input go through an encoder first. `extra` numbers (an action) are appended to the input."""

    def __init__(
        self,
        stack: int,
        parts: Sequence[Part],
        inputs: int,
        extra: int,
        hidden: Sequence[int],
        layer_norm: bool = False,
        encoder: str = "nature",
    ) -> None:
        super().__init__()
        self.encoder = encoder_of(stack, parts, encoder)
        inputs = extra + (self.encoder.outputs if self.encoder else inputs)
        sizes = itertools.pairwise([inputs, *hidden])
        self.layers = nn.ModuleList(StackedLinear(stack, a, b) for a, b in sizes)
        self.norms = nn.ModuleList(StackedLayerNorm(stack, b) for b in hidden if layer_norm)
        # Changing a view in place, as a stack of one gives, would cost its gradient two copies.
        self.inplace = stack > 1 or layer_norm

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        if self.encoder is not None:
            x = self.encoder(x)
        for i, layer in enumerate(self.layers):
            x = layer(x, extra if i == 0 else None)
            x = F.leaky_relu(self.norms[i](x) if self.norms else x, inplace=self.inplace)
        return x


class MLP(Hidden):
    """A multi-layer perceptron: hidden layers and a linear layer."""

    def __init__(
        self,
        stack: int,
        parts: Sequence[Part],
        inputs: int,
        extra: int,
        outputs: int,
        hidden: Sequence[int],
        width: int,
        layer_norm: bool = False,
        pool: bool = True,
        encoder: str = "nature",
    ) -> None:
        super().__init__(stack, parts, inputs, extra, hidden, layer_norm, encoder)
        self.output = StackedLinear(stack, hidden[-1], outputs).small()

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        return self.output(super().forward(x, extra))


class StackedLSTM(nn.Module):
    """K bidirectional LSTMs side by side (Hochreiter & Schmidhuber 1997; Schuster & Paliwal 1997):
    sequences [K, B, T, inputs] -> [K, B, T, outputs], half of the outputs from each direction."""

    def __init__(self, stack: int, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.forth = StackedLinear(stack, inputs, 4 * half)
        self.back = StackedLinear(stack, inputs, 4 * half)
        self.forth_again = StackedLinear(stack, half, 4 * half, bias=False)
        self.back_again = StackedLinear(stack, half, 4 * half, bias=False)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` f32[K, B, T, 1] is 1.0 for the items of a sequence and 0.0 for the padding at its
        end. Padding is ignored, and its output is zero."""
        length = x.shape[2]
        order = range(length)
        forth = _run_lstm(self.forth, self.forth_again, x, there, order)
        back = _run_lstm(self.back, self.back_again, x, there, order[::-1])
        return torch.cat([forth, back], -1)


def _run_lstm(
    enter: nn.Module, again: nn.Module, x: Tensor, there: Tensor, order: Sequence[int]
) -> Tensor:
    """One direction: [K, B, T, inputs] -> [K, B, T, half]."""
    gates_in = enter(x.flatten(1, 2)).view(*x.shape[:3], -1)
    h = c = None
    outputs: list[Tensor] = [x] * len(order)
    for t in order:
        gates = gates_in[:, :, t] if h is None else gates_in[:, :, t] + again(h)
        take, keep, new, show = gates.chunk(4, -1)
        fresh = take.sigmoid() * new.tanh()
        c = there[:, :, t] * (fresh if c is None else keep.sigmoid() * c + fresh)
        h = outputs[t] = there[:, :, t] * (show.sigmoid() * c.tanh())
    return torch.stack(outputs, 2)
