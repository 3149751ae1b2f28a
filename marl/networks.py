"""Networks: K of them as one, their weights stacked.

Every network maps [K, B, inputs] to [K, B, outputs]; network k sees slice k only. K=1 is one
network shared by all agents, K=N one for each; there is no Python loop over networks.
"""

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl.contest import contest, largest
from marl.worlds.base import Part

HEADS = 4  # attention heads of a set network
SHARPNESS = 8.0  # of the attention: to look at one target rather than between two


class StackedLinear(nn.Module):
    """K linear layers side by side: [K, B, inputs] -> [K, B, outputs]."""

    def __init__(self, stack: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # PyTorch's own initialisation of a linear layer
        self.weight = nn.Parameter(torch.empty(stack, inputs, outputs).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(stack, 1, outputs).uniform_(-bound, bound)) if bias else None
        )

    def small(self) -> "StackedLinear":
        """Start near zero, as DDPG's output layers do (Lillicrap et al. 2015, section 7): an
        untrained policy then stands almost still instead of running away."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -3e-3, 3e-3)
        return self

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        """`extra`: more inputs, behind those of x. Kept apart they need no copy of x, which may be
        one table that all K share (expanded), and no gradient of it."""
        if extra is not None:
            first, second = self.weight.split([x.shape[-1], extra.shape[-1]], 1)
            return _product(_product(self.bias, x, first), extra, second)
        return _product(self.bias, x, self.weight)


def _product(bias: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
    """bias + x weight, for every one of the stack."""
    if len(weight) == 1:  # the same sum, without the overhead of a batched product
        y = x[0] @ weight[0] if bias is None else torch.addmm(bias[0], x[0], weight[0])
        return y[None]
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight)


class StackedLayerNorm(nn.Module):
    """K layer normalisations side by side (Ba et al. 2016): [K, B, size] -> [K, B, size]."""

    def __init__(self, stack: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, 1, size))
        self.bias = nn.Parameter(torch.zeros(stack, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) * self.weight + self.bias


class Hidden(nn.Module):
    """Layers with LeakyReLU, optionally behind a layer normalisation; `extra` numbers (an action)
    are appended to the input."""

    def __init__(
        self, stack: int, inputs: int, hidden: Sequence[int], layer_norm: bool = False
    ) -> None:
        super().__init__()
        sizes = itertools.pairwise([inputs, *hidden])
        self.layers = nn.ModuleList(StackedLinear(stack, a, b) for a, b in sizes)
        self.norms = nn.ModuleList(StackedLayerNorm(stack, b) for b in hidden if layer_norm)

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x, extra if i == 0 else None)
            x = F.leaky_relu(self.norms[i](x) if self.norms else x, inplace=True)
        return x


class MLP(Hidden):
    """A multi-layer perceptron: hidden layers and a linear one."""

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
    ) -> None:
        super().__init__(stack, inputs + extra, hidden, layer_norm)
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
        """`there` f32[K, B, T, 1] is 1.0 for a sequence's items and 0.0 for the padding at its end,
        which does not count and for which the output is zero."""
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


class SetNetwork(nn.Module):
    """A network for observations made of sets: the order and number of items do not matter.

    The last masked part of the observation holds the targets t (landmarks), the masked parts before
    it the rivals r (other agents); everything else, and `extra`, is one's own. With f, g, h affine:

        pair(t)  = relu(max_r f(t, r, |t - r|))                       who else is near this target
        token(t) = relu(g(t, own, pair(t)))
        picked   = sum_t softmax_t(score(token(t))) t                 targets to look at
        output   = affine(relu(h(own, picked, max_t token(t)))) + linear(own, picked)

    Without `pool` the maximum over tokens is left out. It grows with the number of targets, so that
    an actor that was trained with four and sees ten is pushed about by it; the targets that are
    picked do not.

    The linear term lets an actor start from a plain controller, towards what it looks at and
    against its own velocity, which it learns in a fraction of the time.

    Each item enters with its length, so that who is nearer need not be learned from coordinates. An
    item that is only padding enters as zeros; f and g have no constant but the item's presence, so
    it adds a zero to each maximum, which changes nothing behind the relu.
    """

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
    ) -> None:
        super().__init__()
        sets = [part for part in parts if part.masked and part.vectors]
        if not sets:
            raise ValueError(
                "agent.network is 'set', but the world's observations hold no sets of items; "
                "use 'mlp'"
            )
        self.parts = tuple(parts)
        self.targets, rivals = sets[-1].name, sets[:-1]
        size = sets[-1].item_size + 1
        own = sum(part.size for part in parts if part not in sets) + extra
        self.pairs = nn.ModuleDict(
            {
                r.name: StackedLinear(stack, size + r.item_size + 2, width, bias=False)
                for r in rivals
            }
        )
        tokens = size + own + width * len(rivals)
        self.tokens = StackedLinear(stack, tokens, width, bias=False)
        self.scores = StackedLinear(stack, width, HEADS, bias=False)
        self.pool = pool
        self.trunk = StackedLinear(stack, own + HEADS * size + width * pool, width)
        self.norm = StackedLayerNorm(stack, width) if layer_norm else None
        self.output = StackedLinear(stack, width, outputs).small()
        self.direct = StackedLinear(stack, own + HEADS * size, outputs, bias=False).small()

    def forward(self, observation: Tensor, extra: Tensor | None = None) -> Tensor:
        stack, batch, _ = observation.shape
        own, items = [] if extra is None else [extra], {}
        pieces = observation.split([part.size for part in self.parts], -1)
        for part, piece in zip(self.parts, pieces, strict=True):
            if part.name == self.targets or part.name in self.pairs:
                x = piece.reshape(stack, batch, part.count, part.item_size)
                length = torch.linalg.vector_norm(x[..., :2], dim=-1, keepdim=True)
                items[part.name] = torch.cat([x, length], -1)  # [K, B, count, item + 1]
            else:
                own.append(piece)
        mine = torch.cat(own, -1)
        target = items[self.targets]
        there = target[..., -2:-1]
        pairs = [_pair(f, target, items[name]) for name, f in self.pairs.items()]
        sizes = [x.shape[-1] for x in (target, mine, *pairs)]
        of_target, of_mine, *of_pairs = self.tokens.weight.split(sizes, 1)
        token = _each(torch.cat([target, *pairs], -1), torch.cat([of_target, *of_pairs], 1))
        token = F.relu(token + _product(None, mine, of_mine)[:, :, None] * there)
        score = SHARPNESS * _each(token, self.scores.weight)
        score = score + (there - 1.0) * 1e9  # nobody looks at padding
        picked = (score.softmax(2).transpose(2, 3) @ target).flatten(2)
        direct = torch.cat([mine, picked], -1)
        x = self.trunk(torch.cat([direct, largest(token)], -1) if self.pool else direct)
        return self.output(F.relu(self.norm(x) if self.norm else x)) + self.direct(direct)


def _pair(layer: nn.Module, target: Tensor, rival: Tensor) -> Tensor:
    """pair(t) for one set of rivals: [K, B, targets, ...] and [K, B, rivals, ...] to
    [K, B, targets, width]."""
    gap = torch.linalg.vector_norm(target[:, :, :, None, :2] - rival[:, :, None, :, :2], dim=-1)
    sizes = [target.shape[-1], rival.shape[-1], 1]
    of_target, of_rival, of_gap = cast(StackedLinear, layer).weight.split(sizes, 1)
    of_each = _each(target, of_target), _each(rival, of_rival)
    return contest(*of_each, [gap], of_gap, [target[..., -2], rival[..., -2]])


def _each(x: Tensor, weight: Tensor) -> Tensor:
    """Every item of every row, [K, B, items, inputs], times the weight [K, inputs, outputs]."""
    return _product(None, x.flatten(1, 2), weight).view(*x.shape[:3], weight.shape[2])


NETWORKS = {"mlp": MLP, "set": SetNetwork}
