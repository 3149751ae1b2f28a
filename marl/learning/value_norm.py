"""The running scale of returns."""

import torch
from torch import Tensor, nn

DECAY = 0.99  # of the statistics of returns, at each rollout
LEAST = 1e-3  # the smallest deviation by which returns are divided


class ValueNorm(nn.Module):
    """Running mean and deviation of the returns of K critics, which predict normalised returns
    (Yu et al. 2022, without PopArt's change of the critic's weights). Later rollouts count more."""

    weight: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, stack: int) -> None:
        super().__init__()
        for name in ("weight", "mean", "square"):
            self.register_buffer(name, torch.zeros(stack, 1, 1, dtype=torch.float64))

    def observe(self, returns: Tensor, present: Tensor | None = None) -> None:
        """Add the returns of a rollout, [K, rows, 1]. Rows where `present` is 0.0 do not count."""
        x = returns.double()
        there = torch.ones_like(x) if present is None else present.double()
        count = there.sum(1, keepdim=True)
        new = (1.0 - DECAY) * (count > 0)  # agents that had all left say nothing
        self.weight += new * (1.0 - self.weight)
        share = new / self.weight.clamp(min=1.0 - DECAY) * there / count.clamp(min=1.0)
        self.mean += (share * (x - self.mean)).sum(1, keepdim=True)
        self.square += (share * (x.square() - self.square)).sum(1, keepdim=True)

    def forward(self, returns: Tensor) -> Tensor:
        """Returns [K, rows, 1] -> normalised returns."""
        return (returns - self.mean.float()) / self._deviation()

    def returns(self, normalised: Tensor) -> Tensor:
        """Normalised returns [K, rows, 1] -> returns."""
        return normalised * self._deviation() + self.mean.float()

    def _deviation(self) -> Tensor:
        """[K, 1, 1]; 1.0 before any rollout."""
        deviation = (self.square - self.mean.square()).clamp(min=LEAST**2).sqrt()
        return torch.where(self.weight > 0, deviation, 1.0).float()
