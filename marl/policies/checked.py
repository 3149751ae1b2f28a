"""The door to policies for programs: what they are given is checked, as worlds check actions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from marl.agents.core.base import Policy, View, WrappedPolicy
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


class CheckedPolicy(WrappedPolicy):
    """A policy that refuses observations which it cannot act on.

    `perceive` and `act` raise ValueError, with one sentence, for a group that is missing or
    unknown, a shape other than [E, N, *O], and values that are no finite numbers. (Training does
    not come through here: worlds and agents fit each other there.)
    """

    def __init__(self, policy: Policy, groups: dict[str, Group]) -> None:
        super().__init__(policy)
        self._groups = groups
        self._tied = not getattr(policy, "size_invariant", True)
        self._percepts: dict[str, tuple[int, ...]] = {}  # shapes without E and N

    def perceive(self, view: View) -> Arrays:
        shapes = {g: group.observation_space.shape for g, group in self._groups.items()}
        self._checked(view.observation, shapes)
        perceived = self._policy.perceive(view)
        self._percepts = {g: rows.shape[2:] for g, rows in perceived.items()}
        return perceived

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        shapes = {g: group.observation_space.shape for g, group in self._groups.items()}
        if any(self.needs.neighbours) and not self._percepts:
            raise ValueError(
                "this policy asks who is near whom before it acts: play it by "
                "marl.rollout.collect(world, policy), or give act() what perceive() returns"
            )
        return self._policy.act(self._checked(perceived, {**shapes, **self._percepts}), explore)

    def state_dict(self) -> dict[str, Any]:
        return self._policy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._policy.load_state_dict(state)

    def _checked(self, given: Any, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
        """Observations as arrays of floats, or of bytes for pictures, {g: [E, N, *shape]}."""
        known = ", ".join(self._groups)
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            raise ValueError(
                f"observation is a {kind}; a dictionary of the groups ({known}) is due"
            )
        for g in self._groups:
            if g not in given:
                raise ValueError(f"observation has no {g!r}; the groups are: {known}")
        for g in given:
            if g not in self._groups:
                raise ValueError(f"observation has {g!r}, which is no group; they are: {known}")
        arrays = {g: self._array(g, given[g], shapes[g]) for g in given}
        counts = {g: len(rows) for g, rows in arrays.items()}
        if len({*counts.values()}) > 1:
            raise ValueError(f"observation has different numbers of worlds: {counts}")
        return arrays

    def _array(self, g: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
        name = f"observation[{g!r}]"
        try:
            rows = np.asarray(given)
        except ValueError as error:  # lists of different lengths
            raise ValueError(f"{name} is no array of numbers") from error
        if rows.dtype.kind not in "biuf":
            raise ValueError(f"{name} is {rows.dtype}; an array of floats is needed")
        count = len(self._groups[g]) if self._tied else "N"
        fits = rows.ndim == 2 + len(shape) and rows.shape[2:] == shape
        if not fits or (self._tied and rows.shape[1] != count):
            wanted = ", ".join(map(str, ("E", count, *shape)))
            raise ValueError(f"{name} has shape {rows.shape}; ({wanted}) is needed")
        picture = self._groups[g].picture is not None
        if picture and rows.dtype != np.uint8:
            raise ValueError(f"{name} is {rows.dtype}; pictures are uint8")
        if rows.dtype.kind != "f" and not picture:
            rows = rows.astype(np.float32)
        if not np.isfinite(rows).all():
            world, agent, *_ = np.argwhere(~np.isfinite(rows))[0]
            value = rows[~np.isfinite(rows)][0]
            where = f"agent {agent} of world {world}"
            raise ValueError(f"{name} holds {value} for {where}; finite numbers are needed")
        return rows
