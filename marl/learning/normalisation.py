"""Normalisation of observations by sizes that the world states, or else by running statistics."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from marl.worlds.spaces import Part

LIMIT = 10.0  # largest normalised number, in standard deviations


class Normaliser(nn.Module):
    """Shifts and scales the observations of K kinds of agents by their running mean and variance.

    A plane vector is only scaled, with one factor for both numbers, so it keeps its direction and
    the symmetries of the plane hold. Padding stays zero and does not enter the statistics; flags of
    presence do not change. Numbers whose typical size the world states (`Part.sizes`) are divided
    by it instead.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, kinds: int, inputs: int, parts: Sequence[Part]) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(kinds, 1, inputs, dtype=torch.float64))
        self._partner = torch.arange(inputs)  # the other number of the plane vector, or itself
        self._centred = torch.ones(inputs, dtype=torch.bool)
        self._scaled = torch.ones(inputs, dtype=torch.bool)
        self._there = torch.full((inputs,), -1)  # the column of the item's flag of presence
        self._sizes = torch.zeros(inputs)  # 0.0: unknown
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
    def observe(self, x: Tensor, present: Tensor | None = None) -> None:
        """Add B observations of each kind, [K, B, inputs], to the statistics; not those of agents
        that had left, where `present`, [K, B, 1], is 0.0."""
        if self._all_known:
            return
        x = x.double()
        weight = self._presence(x) if present is None else self._presence(x) * present
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
        """1.0 for numbers of present items, 0.0 for padding."""
        flags = x[..., self._there.clamp(min=0)]
        return torch.where(self._there >= 0, flags, torch.ones_like(flags))
