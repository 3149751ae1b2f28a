"""Observations brought to a common scale: by what the world says is large, or else by their running
statistics."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from marl.worlds.spaces import Part

LIMIT = 10.0  # of a normalised number, in standard deviations


class Normaliser(nn.Module):
    """Shifts and scales what K kinds of agents see, by the mean and variance of all they have seen.

    A plane vector is only scaled, both of its numbers alike, so that its direction stays and turned
    or reflected observations are turned or reflected still. Items that are not there count for
    nothing and stay zero, as do the numbers that say whether they are there. Numbers of which the
    world says how large they are (`Part.sizes`) are divided by that, and statistics count for
    nothing.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, kinds: int, inputs: int, parts: Sequence[Part]) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self._partner = torch.arange(inputs)  # the other number of a plane vector, or itself
        self._centred = torch.ones(inputs, dtype=torch.bool)
        self._scaled = torch.ones(inputs, dtype=torch.bool)
        self._there = torch.full((inputs,), -1)  # the column that says whether a number is there
        self._sizes = torch.zeros(inputs)  # 0.0: not known
        start = 0
        for part in parts:
            for item in range(part.count):
                first = start + item * part.item_size
                if part.sizes:
                    self._sizes[first : first + part.item_size] = torch.tensor(part.sizes)
                for x in range(first, first + 2 * part.vectors, 2):
                    self._partner[x], self._partner[x + 1] = x + 1, x
                    self._centred[x : x + 2] = False
                if part.masked:
                    last = first + part.item_size - 1
                    self._there[first:last] = last
                    self._scaled[last] = False
            start += part.size
        self._all_known = bool((self._sizes > 0).all())

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take note of B observations of each kind, [K, B, inputs]."""
        if self._all_known:
            return
        x = x.double()
        weight = self._presence(x)
        added = weight.sum(1, keepdim=True)
        total = self.count + added
        share = weight / total.clamp(min=1.0)
        self.mean += (share * (x - self.mean)).sum(1, keepdim=True)
        self.square += (share * (x.square() - self.square)).sum(1, keepdim=True)
        self.count.copy_(total)

    def forward(self, x: Tensor) -> Tensor:
        """[K, B, inputs] -> [K, B, inputs]."""
        if self._all_known:
            return x / self._sizes
        mean = self.mean * self._centred
        variance = (self.square - mean.square()).clamp(min=0.0)
        variance = 0.5 * (variance + variance[..., self._partner])
        seen = self._scaled & (self.count > 0)
        scale = torch.where(seen, variance.sqrt().clamp(min=1e-4), 1.0).float()
        known = self._sizes > 0
        mean, scale = torch.where(known, 0.0, mean), torch.where(known, self._sizes, scale)
        shifted = (x - torch.where(seen, mean, 0.0).float()) / scale
        return shifted.clamp(-LIMIT, LIMIT) * self._presence(x)

    def _presence(self, x: Tensor) -> Tensor:
        """1.0 for numbers of items that are there, 0.0 for padding."""
        flags = x[..., self._there.clamp(min=0)]
        return torch.where(self._there >= 0, flags, torch.ones_like(flags))
