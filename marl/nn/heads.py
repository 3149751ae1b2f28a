"""From an actor's outputs to actions: numbers by tanh, choices by Gumbel-softmax (Jang, Gu & Poole
2017, with the straight-through estimator of their section 2.2; temperature 1)."""

import math

import torch
from torch import Tensor

from marl.worlds.spaces import Group

FORBIDDEN = -1e9  # the output for a choice that is not allowed


class ActionHead:
    """The map from outputs to the actions of a group."""

    def __init__(self, group: Group) -> None:
        self.choices = group.choices
        chosen = [c for piece in self.choices for c in range(piece.start, piece.stop)]
        self._numbers = [c for c in range(group.action_space.shape[0]) if c not in chosen]

    def __call__(
        self,
        output: Tensor,
        generator: torch.Generator | None = None,
        legal: Tensor | None = None,
    ) -> Tensor:
        """Outputs of an actor, [..., A], as actions. Numbers go through tanh. A choice takes the
        largest output or, with `generator`, a draw from the softmax of the outputs. The chosen
        number is 1.0 and the others are 0.0; gradients are those of the softmax. `legal`: the
        choices that are allowed, bool[..., A]; None: all."""
        if not self.choices:
            return output.tanh()
        columns, at = [], 0
        for piece in self.choices:
            logits = output[..., piece]
            if legal is not None:
                logits = logits.masked_fill(~legal[..., piece], FORBIDDEN)
            if generator is not None:
                # The logarithm of exponential noise is minus Gumbel noise.
                logits = logits - torch.empty(logits.shape).exponential_(generator=generator).log()
            soft = logits.softmax(-1)
            hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
            columns += [output[..., at : piece.start].tanh(), hard + (soft - soft.detach())]
            at = piece.stop
        return torch.cat([*columns, output[..., at:].tanh()], -1)

    def with_choices_of(self, action: Tensor, changed: Tensor) -> Tensor:
        """`changed`, with the choices of `action`."""
        for piece in self.choices:
            changed[..., piece] = action[..., piece]
        return changed

    def saturated(self, output: Tensor) -> Tensor:
        """1.0 if a number is at its bounds, or a choice as good as sure (0.99), else 0.0: of every
        number, then of every choice."""
        numbers = output[..., self._numbers] if self.choices else output
        sure = [output[..., piece].softmax(-1).amax(-1, keepdim=True) for piece in self.choices]
        return (torch.cat([numbers.tanh().abs(), *sure], -1) > 0.99).float()


MOST_CHOICES = 4096  # joint ones; a network has an output for each


class JointChoices:
    """All joint choices of an agent: every combination of what it can choose, numbered from 0. An
    agent that moves (one of 5) and says a letter (one of 10) has 50."""

    def __init__(self, group: Group) -> None:
        """Raises ValueError if an action has numbers that are no choice, or too many choices."""
        pieces, (size,) = group.choices, group.action_space.shape
        if sum(piece.stop - piece.start for piece in pieces) < size:
            raise ValueError("it acts with choices only; world.actions can be 'discrete' only")
        if (count := math.prod(piece.stop - piece.start for piece in pieces)) > MOST_CHOICES:
            raise ValueError(
                f"an action is one of {count} joint choices, but at most {MOST_CHOICES} are allowed"
            )
        each = torch.cartesian_prod(*[torch.arange(piece.start, piece.stop) for piece in pieces])
        self._columns = each.view(-1, len(pieces))  # [C, choices] of the action's ones
        self.table = torch.zeros(len(self._columns), size).scatter(1, self._columns, 1.0)
        steps = [1]  # the number of a joint choice is the sum of step times choice
        for piece in pieces[:0:-1]:
            steps.insert(0, steps[0] * (piece.stop - piece.start))
        numbers = [
            step * torch.arange(piece.stop - piece.start)
            for step, piece in zip(steps, pieces, strict=True)
        ]
        self._number = torch.cat(numbers).float()  # [A]: its share of the joint choice's number

    def __len__(self) -> int:
        return len(self.table)

    def action(self, number: Tensor) -> Tensor:
        """i64[...] -> one-hot actions, f32[..., A]."""
        return self.table[number]

    def number(self, action: Tensor) -> Tensor:
        """One-hot actions, f32[..., A] -> i64[...]; 0 for an agent that did nothing."""
        return (action @ self._number).round().long()

    def legal(self, legal: Tensor | None) -> Tensor | None:
        """The joint choices whose parts are all allowed: bool[..., A] -> bool[..., C]."""
        return None if legal is None else legal[..., self._columns].all(-1)
