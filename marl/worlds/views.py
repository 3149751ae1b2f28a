"""Other views of the agents of a world."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from marl.worlds.spaces import Group


class JointView:
    """All agents of a group as one agent, with the observations and actions of all, one after the
    other. Works with NumPy arrays and torch tensors."""

    def __init__(self, group: Group) -> None:
        n = len(group)
        self._agents = n
        self.group = Group(
            names=("all",),
            observation_space=_tiled(group.observation_space, n),
            action_space=_tiled(group.action_space, n),
            observation_parts=group.observation_parts * n,
            action_parts=group.action_parts * n,
        )

    def join(self, x: Any) -> Any:
        """[..., N, size] -> [..., 1, N size]."""
        return x.reshape(*x.shape[:-2], 1, x.shape[-2] * x.shape[-1])

    def split(self, x: Any) -> Any:
        """[..., 1, N size] -> [..., N, size]."""
        return x.reshape(*x.shape[:-2], self._agents, x.shape[-1] // self._agents)


def _tiled(space: Box, n: int) -> Box:

    return Box(np.tile(space.low, n), np.tile(space.high, n), dtype=np.float32)
