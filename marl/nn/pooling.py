"""Maxima over items, compiled. They store only the index of each maximum, so the backward pass
costs as little as the forward pass.

Shapes: K stacked networks, R rows (agents), T targets and J rivals in view, W units; float32 or
float64 throughout. 16-bit inputs are converted to float32.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from marl.worlds.compiled.cache import kernel

_kernel = partial(kernel, error_model="numpy")


def pair_max_pool(
    target: Tensor, rival: Tensor, both: list[Tensor], weight: Tensor, there: list[Tensor]
) -> Tensor:
    """relu(max_j target(t) + rival(j) + sum_f both_f(t, j) weight_f), over the rivals j that are
    there; 0 if there is no target.

    Args:
        target: [K, R, T, W].
        rival: [K, R, J, W].
        both: F features of a pair, [K, R, T, J] each.
        weight: [K, F, W].
        there: presence of targets [K, R, T] and rivals [K, R, J]: above 0 if not padding.

    Returns:
        [K, R, T, W]. Gradient flows to the first four, through the maximum of each unit only.
    """
    args = [_wide(x) for x in (target, rival, torch.stack(both, 2), weight)]
    return _PairMaxPool.apply(*args, *there)


def max_pool(x: Tensor) -> Tensor:
    """The maximum over the items of each row, unit by unit: [K, R, T, W], not negative -> [K, R,
    W]. Gradient flows to the first maximum, and to none if it is 0, as after a relu."""
    return _MaxPool.apply(_wide(x))


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.detach().contiguous().numpy() for x in tensors]


class _PairMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> Tensor:
        target, rival, both, weight, targets, rivals = _arrays(*args)
        most = np.empty(target.shape, target.dtype)
        winner = np.empty(target.shape, np.int32)
        _meet(target, rival, both, weight, targets, rivals, most, winner)
        ctx.save_for_backward(*args[1:4], torch.from_numpy(winner))
        return torch.from_numpy(most)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rival, both, weight, winner = ctx.saved_tensors
        rivals, features, weights = _arrays(rival, both, weight)
        to = [np.empty(winner.shape, rivals.dtype)]
        to += [np.zeros_like(x) for x in (rivals, features, weights)]
        wanted = ctx.needs_input_grad[2]  # features of a pair usually need no gradient
        passed, won = _arrays(gradient, winner)
        _reward(passed, features, weights, won, wanted, *to)
        return *[torch.from_numpy(x) for x in to], None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        (items,) = _arrays(x)
        most = np.empty((*x.shape[:2], x.shape[3]), items.dtype)
        winner = np.empty(most.shape, np.int32)
        _find(items, most, winner)
        ctx.save_for_backward(torch.from_numpy(winner))
        ctx.count = x.shape[2]
        return torch.from_numpy(most)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (winner,) = ctx.saved_tensors
        k, r, w = winner.shape
        passed, won = _arrays(gradient, winner)
        to = np.empty((k, r, ctx.count, w), passed.dtype)
        _pass_on(passed, won, to)
        return torch.from_numpy(to)


# The compiler vectorises the loops over units: they are innermost, have no branches and no
# temporary arrays, and compare numbers of 32 bits with numbers of 32 bits.


@_kernel
def _meet(target, rival, both, weight, targets, rivals, most, winner):
    stack, rows, count, width = target.shape
    said = np.empty(width, target.dtype)
    for k in range(stack):
        for r in range(rows):
            for t in range(count):
                best, who = most[k, r, t], winner[k, r, t]
                for w in range(width):
                    best[w] = 0.0
                    who[w] = -1
                if targets[k, r, t] <= 0.0:
                    continue
                for j in range(rival.shape[2]):
                    if rivals[k, r, j] <= 0.0:
                        continue
                    number = np.int32(j)
                    for w in range(width):
                        said[w] = target[k, r, t, w] + rival[k, r, j, w]
                    for f in range(weight.shape[1]):
                        x = both[k, r, f, t, j]
                        for w in range(width):
                            said[w] += x * weight[k, f, w]
                    for w in range(width):
                        more = said[w] > best[w]
                        best[w] = said[w] if more else best[w]
                        who[w] = number if more else who[w]


@_kernel
def _reward(gradient, both, weight, winner, wanted, to_target, to_rival, to_both, to_weight):
    stack, rows, count, width = gradient.shape
    won = np.empty(width, gradient.dtype)
    for k in range(stack):
        for r in range(rows):
            for t in range(count):
                who = winner[k, r, t]
                for w in range(width):
                    to_target[k, r, t, w] = gradient[k, r, t, w] if who[w] >= 0 else 0.0
                for j in range(to_rival.shape[2]):
                    for w in range(width):
                        won[w] = gradient[k, r, t, w] if who[w] == j else 0.0
                    for w in range(width):
                        to_rival[k, r, j, w] += won[w]
                    for f in range(weight.shape[1]):
                        x = both[k, r, f, t, j]
                        for w in range(width):
                            to_weight[k, f, w] += x * won[w]
                        if wanted:
                            for w in range(width):
                                to_both[k, r, f, t, j] += won[w] * weight[k, f, w]


@_kernel
def _find(items, most, winner):
    stack, rows, count, width = items.shape
    for k in range(stack):
        for r in range(rows):
            for w in range(width):
                most[k, r, w] = 0.0
                winner[k, r, w] = -1
            for t in range(count):
                number = np.int32(t)
                for w in range(width):
                    more = items[k, r, t, w] > most[k, r, w]
                    most[k, r, w] = items[k, r, t, w] if more else most[k, r, w]
                    winner[k, r, w] = number if more else winner[k, r, w]


@_kernel
def _pass_on(gradient, winner, to):
    stack, rows, count, width = to.shape
    for k in range(stack):
        for r in range(rows):
            for t in range(count):
                for w in range(width):
                    to[k, r, t, w] = gradient[k, r, w] if winner[k, r, w] == t else 0.0
