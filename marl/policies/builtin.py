"""Policies that need no training, by name."""

from collections.abc import Callable

import numpy as np

from marl.agents.core.base import Policy
from marl.policies.heuristics import Chase, Forage, Wave
from marl.policies.landing import Landing
from marl.policies.landmarks import Assignment, Claims, Greedy, LocalAssignment
from marl.policies.random import Random
from marl.worlds.base import Arrays, World
from marl.worlds.spaces import one_hot

NOWHERE = (0, 0)


class Still(Policy):
    """No force, or the move "stay"; always the same message: the choice that leads nowhere, as far
    as the world says where its choices lead, or else the first one that is allowed."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self._groups = world.groups
        self._actions = {}
        for g, group in world.groups.items():
            action = self._actions[g] = np.zeros(group.action_space.shape, np.float32)
            parts = [part for part in group.action_parts for _ in range(part.count) if part.choice]
            for piece, part in zip(group.choices, parts, strict=True):
                ways = part.directions or (NOWHERE,)
                action[piece.start + (ways.index(NOWHERE) if NOWHERE in ways else 0)] = 1.0

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        return {g: self._of(g, rows) for g, rows in observation.items()}

    def _of(self, g: str, rows: np.ndarray) -> np.ndarray:
        action, legal = self._actions[g], self._groups[g].legal(rows)
        actions = np.broadcast_to(action, (*rows.shape[:2], *action.shape))
        if legal is not None:
            actions = actions.copy()
            for piece in self._groups[g].choices:
                first = legal[..., piece].argmax(-1)
                actions[..., piece] = one_hot(first, piece.stop - piece.start)
        return actions


BUILTIN: dict[str, Callable[..., Policy]] = {
    "random": Random,
    "still": Still,
    "greedy": Greedy,
    "local-assignment": LocalAssignment,
    "auction": Claims,
    "assignment": Assignment,
    "landing": Landing,
    "wave": Wave,
    "chase": Chase,
    "forage": Forage,
}


HOMES = {"landing": "tennis", "wave": "pistonball", "chase": "pursuit", "forage": "waterworld"}
"""The worlds in which those policies play, where nobody says which and it is not `spread`."""
