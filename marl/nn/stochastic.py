"""Stochastic policies: numbers are normal, choices categorical, all independent of each other."""

import math
from functools import cached_property

import torch
from torch import Tensor

from marl.nn.heads import FORBIDDEN
from marl.worlds.spaces import Group

_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


class StochasticHead:
    """Makes distributions of a group's actions of the outputs of a network."""

    def __init__(self, group: Group) -> None:
        (size,) = group.action_space.shape
        self.choices = group.choices
        chosen = {c for piece in self.choices for c in range(piece.start, piece.stop)}
        self.columns = torch.tensor([c for c in range(size) if c not in chosen], dtype=torch.int64)
        self.numbers = len(self.columns)

    def __call__(
        self, output: Tensor, log_deviation: Tensor, legal: Tensor | None = None
    ) -> "ActionDistribution":
        return ActionDistribution(self, output, log_deviation, legal)

    def greedy(self, output: Tensor, legal: Tensor | None = None) -> Tensor:
        """The most probable sample, [..., A]."""
        best = output.clone()
        for piece in self.choices:
            chosen = _logits(output, piece, legal).argmax(-1, keepdim=True)
            best[..., piece] = torch.zeros_like(best[..., piece]).scatter_(-1, chosen, 1.0)
        return best


class ActionDistribution:
    """The distribution of actions with these outputs [..., A]: means of numbers, and logits of
    choices. `log_deviation`, [..., numbers], is the logarithm of the standard deviation of numbers.
    `legal`, bool[..., A]: the choices that are allowed; None: all."""

    def __init__(
        self, head: StochasticHead, output: Tensor, log_deviation: Tensor, legal: Tensor | None
    ) -> None:
        self.head, self.output, self.log_deviation = head, output, log_deviation
        self._logits = [_logits(output, piece, legal) for piece in head.choices]

    @cached_property
    def _logs(self) -> list[Tensor]:
        """The logarithms of the probabilities of all choices."""
        return [logits.log_softmax(-1) for logits in self._logits]

    def _of_numbers(self, x: Tensor) -> Tensor:
        return x[..., self.head.columns] if self.head.choices else x

    def draw(self, generator: torch.Generator) -> Tensor:
        """A sample, [..., A]: numbers that no range limits, and one-hot choices."""
        drawn = torch.zeros_like(self.output)
        if self.head.numbers:
            mean = self._of_numbers(self.output)
            noise = torch.randn(mean.shape, generator=generator)
            drawn[..., self.head.columns] = mean + self.log_deviation.exp() * noise
        for piece, logits in zip(self.head.choices, self._logits, strict=True):
            # The logarithm of exponential noise is minus Gumbel noise.
            noise = torch.empty(logits.shape).exponential_(generator=generator).log_()
            best = (logits - noise).argmax(-1, keepdim=True)
            drawn[..., piece].scatter_(-1, best, 1.0)
        return drawn

    def log_probability(self, drawn: Tensor) -> Tensor:
        """The logarithm of a sample's probability (density, of numbers), [..., 1]."""
        total = torch.zeros(())
        if self.head.numbers:
            far = self._of_numbers(drawn) - self._of_numbers(self.output)
            far = far * (-self.log_deviation).exp()
            each = -0.5 * far.square() - self.log_deviation - _HALF_LOG_TAU
            total = each.sum(-1, keepdim=True)
        for piece, logs in zip(self.head.choices, self._logs, strict=True):
            total = total + (logs * drawn[..., piece]).sum(-1, keepdim=True)
        return total

    def entropy(self) -> Tensor:
        """The entropy in nats (differential, of numbers), [..., 1]."""
        total = torch.zeros(())
        if self.head.numbers:
            total = (self.log_deviation + (0.5 + _HALF_LOG_TAU)).sum(-1, keepdim=True)
        for logs in self._logs:
            total = total - (logs.exp() * logs).sum(-1, keepdim=True)
        return total.expand(*self.output.shape[:-1], 1)


def _logits(output: Tensor, piece: slice, legal: Tensor | None) -> Tensor:
    if legal is None:
        return output[..., piece]
    return output[..., piece].masked_fill(~legal[..., piece], FORBIDDEN)
