"""A human player of one of the agents, with the arrow keys."""

import numpy as np

from marl.agents.core.base import Policy, WrappedPolicy
from marl.errors import UserError
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group, one_hot

ARROWS = {"LEFT": (-1, 0), "RIGHT": (1, 0), "DOWN": (0, -1), "UP": (0, 1)}
REAL_TIME = 10.0  # steps a second, which take 0.1 s each
STAY = (0, 0)
MOVES = (STAY, *ARROWS.values())  # discrete actions of a world that does not say where they lead


class Keyboard:
    """The arrow keys that are held down."""

    def __init__(self) -> None:
        self._held: dict[str, None] = {}

    def press(self, key: str) -> None:
        if key in ARROWS:
            self._held[key] = None

    def release(self, key: str) -> None:
        self._held.pop(key, None)

    @property
    def push(self) -> np.ndarray:
        """f32[2]: the direction of the keys, within -1 and 1."""
        return np.array([ARROWS[key] for key in self._held] or [(0, 0)], np.float32).sum(0)

    @property
    def way(self) -> tuple[int, int]:
        """The direction of the last pressed key."""
        return ARROWS[next(reversed(self._held))] if self._held else STAY


class HumanPolicy(WrappedPolicy):
    """A policy, except for the moves of one agent, which are a human's. (The agent's messages stay
    the policy's.)"""

    def __init__(
        self,
        policy: Policy,
        groups: dict[str, Group],
        agent: str,
        hands: Keyboard,
        reach: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """`reach`: see `WorldConfig.reaches`. Raises UserError if there is no such agent, or if it
        cannot move."""
        places = {name: (g, i) for g, group in groups.items() for i, name in enumerate(group.names)}
        if agent not in places:
            some = ", ".join([*places][:20]) + ", ..." * (len(places) > 20)
            raise UserError(f"there is no agent {agent!r} to play; there are {some}")
        self._group, self._number = places[agent]
        first = next(iter(groups[self._group].action_parts), None)
        if first is None or first.name not in ("move", "force", "thrust"):
            raise UserError(f"{agent} cannot move, so it cannot be played with the arrow keys")
        if not first.choice and first.size < 2:
            raise UserError(
                f"{agent} moves by one number, for which there are no keys; set "
                "world.actions=discrete"
            )
        super().__init__(policy)
        self._hands, self._reach = hands, np.array(reach, np.float32)
        self._moves = first.scalars if first.choice else 0
        self._ways = first.directions or MOVES[: self._moves]

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = dict(self._policy.act(perceived, explore))
        own = actions[self._group].copy()
        if self._moves:
            way = self._hands.way if self._hands.way in self._ways else STAY
            move = np.array(self._ways.index(way))
            own[:, self._number, : self._moves] = one_hot(move, self._moves)
        else:
            own[:, self._number, :2] = self._hands.push * self._reach
        return {**actions, self._group: own}
