"""A network for observations made of sets."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl.nn.layers import StackedLayerNorm, StackedLinear, product
from marl.nn.pooling import max_pool, pair_max_pool
from marl.worlds.spaces import Part

HEADS = 4  # attention heads of a set network
SHARPNESS = 8.0  # of the attention, so that it selects one target and not a point between two


class SetNetwork(nn.Module):
    """A network for observations made of sets: order and number of items do not matter.

    The last masked part of the observation holds the targets t (landmarks), and the masked parts
    before it the rivals r (other agents). All other numbers, and `extra`, belong to the agent
    itself ("own"). With f, g, h affine:

        pair(t)  = relu(max_r f(t, r, |t - r|))                       rivals near this target
        token(t) = relu(g(t, own, pair(t)))
        picked   = sum_t softmax_t(score(token(t))) t                 attended target
        output   = affine(relu(h(own, picked, max_t token(t)))) + linear(own, picked)

    Without `pool` the maximum over tokens is left out. The maximum grows with the number of
    targets. So it disturbs an actor that was trained with four targets and sees ten. The attended
    target does not have this problem.

    The linear term lets an actor start from a plain controller, towards the attended target and
    against its own velocity. It learns this controller in a fraction of the time.

    Each item enters with its length, so the network need not learn distances from coordinates. A
    padding item enters as zeros, and f and g have no constant except the item's presence. So
    padding adds a zero to each maximum, which changes nothing after the relu.
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
        encoder: str = "",
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
        token = F.relu(token + product(None, mine, of_mine)[:, :, None] * there)
        score = SHARPNESS * _each(token, self.scores.weight)
        score = score + (there - 1.0) * 1e9  # no attention to padding
        picked = (score.softmax(2).transpose(2, 3) @ target).flatten(2)
        direct = torch.cat([mine, picked], -1)
        x = self.trunk(torch.cat([direct, max_pool(token)], -1) if self.pool else direct)
        return self.output(F.relu(self.norm(x) if self.norm else x)) + self.direct(direct)


def _pair(layer: nn.Module, target: Tensor, rival: Tensor) -> Tensor:
    """pair(t) for one set of rivals: [K, B, targets, ...] and [K, B, rivals, ...] to
    [K, B, targets, width]."""
    gap = torch.linalg.vector_norm(target[:, :, :, None, :2] - rival[:, :, None, :, :2], dim=-1)
    sizes = [target.shape[-1], rival.shape[-1], 1]
    of_target, of_rival, of_gap = cast(StackedLinear, layer).weight.split(sizes, 1)
    of_each = _each(target, of_target), _each(rival, of_rival)
    return pair_max_pool(*of_each, [gap], of_gap, [target[..., -2], rival[..., -2]])


def _each(x: Tensor, weight: Tensor) -> Tensor:
    """Every item of every row, [K, B, items, inputs], times the weight [K, inputs, outputs]."""
    return product(None, x.flatten(1, 2), weight).view(*x.shape[:3], weight.shape[2])
