"""From an actor's outputs to a policy that draws its actions: numbers from a Gaussian through tanh
(Haarnoja et al. 2018, appendix C), choices from a softmax over all joint choices.

Both say what their critics see and how many values these have, so that one text is right for both:
an expectation over all choices is exact, and one over numbers rests on the one draw.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from marl.nn.heads import FORBIDDEN, JointChoices
from marl.worlds.spaces import Group

LOG_DEVIATION = (-5.0, 2.0)  # bounds of the logarithm of a Gaussian's standard deviation


class Drawn(NamedTuple):
    """A draw from a policy, and the policy. Of numbers, C = 1, and the draw stands for all."""

    action: Tensor  # [..., A]
    chance: Tensor  # [..., C] of each joint choice, or 1.0
    log: Tensor  # [..., C]: its logarithm, or that of the draw's density

    def expected(self, values: Tensor) -> Tensor:
        """The mean of values [..., C] under the policy, [..., 1]."""
        return (self.chance * values).sum(-1, keepdim=True)

    def entropy(self) -> Tensor:
        """[..., 1], in nats."""
        return -self.expected(self.log)


class SoftNumbers:
    """Numbers from -1 to 1: u from a Gaussian, then tanh(u). The actor's outputs are the means,
    then the logarithms of the deviations."""

    values = 1  # of a critic, which sees the action
    acts = True
    usual_target = -1.0  # of the entropy, in units of `unit`

    def __init__(self, group: Group) -> None:
        (self._size,) = group.action_space.shape
        self.outputs = 2 * self._size

    def __call__(
        self, output: Tensor, generator: torch.Generator, legal: Tensor | None = None
    ) -> Drawn:
        """A draw for outputs [..., 2 A], with the gradients of its reparameterisation."""
        mean, log_deviation = output.chunk(2, -1)
        log_deviation = log_deviation.clamp(*LOG_DEVIATION)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        u = mean + log_deviation.exp() * noise
        log = -0.5 * (noise.square() + math.log(2 * math.pi)) - log_deviation
        # 1 - tanh(u)^2 = 4 / (e^u + e^-u)^2, whose logarithm has no difference of near numbers
        log = log - 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
        log = log.sum(-1, keepdim=True)
        return Drawn(u.tanh(), torch.ones_like(log), log)

    def best(self, output: Tensor, legal: Tensor | None = None) -> Tensor:
        """The greedy action [..., A]."""
        return output.chunk(2, -1)[0].tanh()

    def beside(self, action: Tensor) -> Tensor | None:
        """The part of everybody's actions that a critic sees; the agent's own come first."""
        return action

    def of_action(self, values: Tensor, action: Tensor) -> Tensor:
        """A critic's value of the action, [..., 1]."""
        return values

    def unit(self, legal: Tensor | None) -> float:
        """The number by which a target of the entropy is multiplied: the size of an action."""
        return float(self._size)


class SoftChoices:
    """Choices: the actor's outputs are the logits of all joint choices, a critic's values are those
    of all joint choices."""

    acts = False
    usual_target = 0.2

    def __init__(self, group: Group) -> None:
        """Raises ValueError if an action has numbers that are no choice."""
        self._joint = JointChoices(group)
        (self._size,) = group.action_space.shape
        self.outputs = self.values = len(self._joint)

    def __call__(
        self, output: Tensor, generator: torch.Generator, legal: Tensor | None = None
    ) -> Drawn:
        """A draw for outputs [..., C]. `legal`: the choices that are allowed, bool[..., A]; None:
        all."""
        log = self._logits(output, legal).log_softmax(-1)
        # The logarithm of exponential noise is minus Gumbel noise.
        noise = torch.empty_like(log).exponential_(generator=generator).log()
        action = self._joint.action((log.detach() - noise).argmax(-1))
        return Drawn(action, log.exp(), log)

    def best(self, output: Tensor, legal: Tensor | None = None) -> Tensor:
        """The greedy action [..., A]: the likeliest joint choice."""
        return self._joint.action(self._logits(output, legal).argmax(-1))

    def beside(self, action: Tensor) -> Tensor | None:
        """The part of everybody's actions that a critic sees: those of the others, if there are
        any. The agent's own come first in `action`."""
        others = action[..., self._size :]
        return others if others.shape[-1] else None

    def of_action(self, values: Tensor, action: Tensor) -> Tensor:
        """A critic's value of the action, [..., 1]."""
        number = self._joint.number(action[..., : self._size].float())
        return values.gather(-1, number[..., None])

    def unit(self, legal: Tensor | None) -> Tensor | float:
        """The number by which a target of the entropy is multiplied: the largest entropy, the
        logarithm of the number of choices that are allowed, [..., 1]."""
        allowed = self._joint.legal(legal)
        if allowed is None:
            return math.log(len(self._joint))
        return allowed.sum(-1, keepdim=True).clamp(min=1).log()

    def _logits(self, output: Tensor, legal: Tensor | None) -> Tensor:
        allowed = self._joint.legal(legal)
        return output if allowed is None else output.masked_fill(~allowed, FORBIDDEN)
