"""Replay: transitions in, batches out."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


class Transition(NamedTuple):
    """One step of all worlds, as the loop hands it on: dictionaries of arrays, one entry a group.

    `next_observation` is the true one, also at the end of an episode. `terminated` alone decides
    whether the future counts: where only time ran out, it does (Pardo et al. 2018).
    """

    observation: Arrays  # f32[E, N, O]
    action: Arrays  # f32[E, N, A]
    reward: Arrays  # f32[E, N]
    next_observation: Arrays  # f32[E, N, O]
    terminated: Arrays  # bool[E, N]
    kept: Arrays | MappingProxyType = MappingProxyType({})  # i[E, N, ...], see `Agent.keeps`
    acted: Arrays | MappingProxyType = MappingProxyType({})  # bool[E, N], see `Step.acted`


class _Columns(NamedTuple):
    observation: Tensor  # f32[B, N, O]
    action: Tensor  # f32[B, N, A]
    reward: Tensor  # f32[B, N]
    next_observation: Tensor  # f32[B, N, O]
    terminated: Tensor  # f32[B, N], 0.0 or 1.0


class Batch(_Columns):
    """Transitions of N agents side by side: of a whole group, or of one where drawn singly. A tuple
    of five; what an agent had kept beside them is in `kept`, and where agents can be gone before an
    episode is over, `acted` says who was there. Both are None for most."""

    kept: Tensor | None = None  # i32[B, N, ...]
    acted: Tensor | None = None  # f32[B, N], 1.0 or 0.0


class Replay:
    """The last `capacity` steps of single worlds, oldest overwritten first; one table a group.

    `keeps` are the shapes, per agent, of the whole numbers that are to be stored beside.
    """

    def __init__(
        self,
        groups: dict[str, Group],
        capacity: int,
        generator: torch.Generator,
        keeps: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.capacity = capacity
        self.size = 0
        self._next = 0
        self._generator = generator
        self._tables: dict[str, Batch] = {}
        self._acted: dict[str, Tensor] = {}  # of groups that somebody can leave: once one was seen
        for name, group in groups.items():
            n = len(group)
            (observations,), (actions,) = group.observation_space.shape, group.action_space.shape
            self._tables[name] = Batch(
                torch.zeros(capacity, n, observations),
                torch.zeros(capacity, n, actions),
                torch.zeros(capacity, n),
                torch.zeros(capacity, n, observations),
                torch.zeros(capacity, n),
            )
        self._kept = {
            g: torch.zeros(capacity, len(groups[g]), *shape, dtype=torch.int32)
            for g, shape in (keeps or {}).items()
        }

    def add(self, transition: Transition) -> None:
        """Store a step of E worlds; E must not exceed the capacity."""
        worlds = len(next(iter(transition.reward.values())))
        first = min(worlds, self.capacity - self._next)  # the rest starts again at the top
        for group, table in self._tables.items():
            columns = [(column, x[group]) for column, x in zip(table, transition[:5], strict=True)]
            if group in self._kept:
                columns.append((self._kept[group], transition.kept[group]))
            if group in transition.acted:
                self._acted.setdefault(group, torch.ones_like(table.reward))
                columns.append((self._acted[group], transition.acted[group]))
            for column, array in columns:
                dtype = np.float32 if column.is_floating_point() else np.int32
                values = torch.from_numpy(np.asarray(array, dtype))
                column[self._next : self._next + first] = values[:first]
                column[: worlds - first] = values[first:]
        self._next = (self._next + worlds) % self.capacity
        self.size = min(self.size + worlds, self.capacity)

    def sample(self, batch_size: int, whole_steps: bool = False) -> dict[str, Batch]:
        """Transitions of single agents, or of all agents in the same steps of the same worlds,
        drawn evenly with replacement."""
        batch = {}
        steps = torch.randint(self.size, (batch_size,), generator=self._generator)
        for group, table in self._tables.items():
            n = table.reward.shape[1]
            if whole_steps:
                drawn = partial(_whole, rows=steps)
            else:
                agents = torch.randint(n, (batch_size,), generator=self._generator)
                drawn = partial(_single, rows=steps * n + agents)
            batch[group] = own = Batch(*map(drawn, table))
            if group in self._kept:
                own.kept = drawn(self._kept[group])
            if group in self._acted:
                own.acted = drawn(self._acted[group])
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        state = {"next": torch.tensor(self._next), "generator": self._generator.get_state()}
        for group, table in self._tables.items():
            for name, column in zip(Batch._fields, table, strict=True):
                state[f"{group}.{name}"] = column[: self.size].clone()
        state |= {f"{g}.kept": column[: self.size].clone() for g, column in self._kept.items()}
        state |= {f"{g}.acted": column[: self.size].clone() for g, column in self._acted.items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._next = int(state["next"])
        if not 0 <= self._next < self.capacity:
            raise ValueError(f"next is {self._next}, but there is room for {self.capacity}")
        self._generator.set_state(state["generator"])
        for group, table in self._tables.items():
            for name, column in zip(Batch._fields, table, strict=True):
                stored = state[f"{group}.{name}"]
                self.size = len(stored)
                column[: self.size] = stored
        for group, column in self._kept.items():
            column[: self.size] = state[f"{group}.kept"]
        self._acted.clear()
        for group, table in self._tables.items():
            if f"{group}.acted" in state:
                self._acted[group] = torch.ones_like(table.reward)
                self._acted[group][: self.size] = state[f"{group}.acted"]


def _whole(column: Tensor, rows: Tensor) -> Tensor:
    return column[rows]


def _single(column: Tensor, rows: Tensor) -> Tensor:
    """Rows of the agents one after another."""
    return column.flatten(0, 1)[rows, None]
