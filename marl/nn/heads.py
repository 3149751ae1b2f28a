"""From an actor's outputs to actions: numbers by tanh, choices by Gumbel-softmax (Jang, Gu & Poole
2017, with the straight-through estimator of their section 2.2; temperature 1)."""

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
