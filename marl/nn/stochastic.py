"""Stochastic policies: numbers are normal, choices categorical, all independent of each other."""

import math

import torch
from torch import Tensor

from marl.nn.heads import FORBIDDEN
from marl.worlds.spaces import Group

_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


class StochasticHead:
    """The distribution of a group's actions, from outputs [..., A] of a network: means of numbers,
    and logits of choices. `log_deviation`, [..., numbers], is the logarithm of the standard
    deviation of numbers. `legal`, bool[..., A]: the choices that are allowed; None: all."""

    def __init__(self, group: Group) -> None:
        (size,) = group.action_space.shape
        self.choices = group.choices
        chosen = {c for piece in self.choices for c in range(piece.start, piece.stop)}
        self._columns = torch.tensor([c for c in range(size) if c not in chosen], dtype=torch.int64)
        self.numbers = len(self._columns)

    def draw(
        self,
        output: Tensor,
        log_deviation: Tensor,
        generator: torch.Generator,
        legal: Tensor | None = None,
    ) -> Tensor:
        """A sample, [..., A]: numbers that no range limits, and one-hot choices."""
        drawn = torch.zeros_like(output)
        if self.numbers:
            mean = self._of_numbers(output)
            noise = torch.randn(mean.shape, generator=generator)
            drawn[..., self._columns] = mean + log_deviation.exp() * noise
        for piece in self.choices:
            # The logarithm of exponential noise is minus Gumbel noise.
            noise = torch.empty(output[..., piece].shape).exponential_(generator=generator).log_()
            best = (_logits(output, piece, legal) - noise).argmax(-1, keepdim=True)
            drawn[..., piece].scatter_(-1, best, 1.0)
        return drawn

    def greedy(self, output: Tensor, legal: Tensor | None = None) -> Tensor:
        """The most probable sample, [..., A]."""
        best = output.clone()
        for piece in self.choices:
            chosen = _logits(output, piece, legal).argmax(-1, keepdim=True)
            best[..., piece] = torch.zeros_like(best[..., piece]).scatter_(-1, chosen, 1.0)
        return best

    def log_probability(
        self, output: Tensor, log_deviation: Tensor, drawn: Tensor, legal: Tensor | None = None
    ) -> Tensor:
        """The logarithm of a sample's probability (density, of numbers), [..., 1]."""
        total = torch.zeros(())
        if self.numbers:
            far = (self._of_numbers(drawn) - self._of_numbers(output)) * (-log_deviation).exp()
            each = -0.5 * far.square() - log_deviation - _HALF_LOG_TAU
            total = each.sum(-1, keepdim=True)
        for piece in self.choices:
            logs = _logits(output, piece, legal).log_softmax(-1)
            total = total + (logs * drawn[..., piece]).sum(-1, keepdim=True)
        return total

    def entropy(self, output: Tensor, log_deviation: Tensor, legal: Tensor | None = None) -> Tensor:
        """The entropy in nats (differential, of numbers), [..., 1]."""
        total = torch.zeros(())
        if self.numbers:
            total = (log_deviation + (0.5 + _HALF_LOG_TAU)).sum(-1, keepdim=True)
        for piece in self.choices:
            logs = _logits(output, piece, legal).log_softmax(-1)
            total = total - (logs.exp() * logs).sum(-1, keepdim=True)
        return total.expand(*output.shape[:-1], 1)

    def _of_numbers(self, x: Tensor) -> Tensor:
        return x[..., self._columns] if self.choices else x


def _logits(output: Tensor, piece: slice, legal: Tensor | None) -> Tensor:
    if legal is None:
        return output[..., piece]
    return output[..., piece].masked_fill(~legal[..., piece], FORBIDDEN)
