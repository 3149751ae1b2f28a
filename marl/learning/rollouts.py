"""Rollout: the experience of the present policy, used once."""

import numpy as np
import torch

from marl.learning.record import Batch
from marl.learning.replay import Replay


class Rollout(Replay):
    """The last T steps of E worlds, T E = `capacity`, for agents that learn from what their present
    policy did. It is complete after T steps, then taken as a whole."""

    def take(self) -> dict[str, Batch]:
        """All T steps in order, [T, E, N, ...], if they are complete; then it is empty. Otherwise
        nothing."""
        if self.size < self.capacity or self._next:
            return {}
        order = torch.arange(self.capacity).view(-1, len(self._newest))
        after = self._after[order]
        continues = (after >= 0).float()
        batch = {g: self._batch(g, order, after, None, continues=continues) for g in self._tables}
        self._clear()
        return batch

    def _clear(self) -> None:
        """Forget all steps. What follows is a row without a row before it."""
        self.size = 0
        self._after.zero_()
        self._newest = np.full_like(self._newest, -1)
        places = [len(column) for table in self._apart.values() for column in table.values()]
        self._free = list(range(max(places, default=0)))
