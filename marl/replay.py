"""Replay: transitions in, batches out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.worlds.base import Arrays, Group


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


class _Columns(NamedTuple):
    observation: Tensor  # f32[B, N, O]
    action: Tensor  # f32[B, N, A]
    reward: Tensor  # f32[B, N]
    next_observation: Tensor  # f32[B, N, O]
    terminated: Tensor  # f32[B, N], 0.0 or 1.0


class Batch(_Columns):
    """Transitions of N agents side by side: of a whole group, or of one where drawn singly. A tuple
    of five; what an agent had kept beside them is in `kept`, which is None for most."""

    kept: Tensor | None = None  # i32[B, N, ...]


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
            kept = self._kept.get(group)
            if whole_steps:
                batch[group] = Batch(*[column[steps] for column in table])
                if kept is not None:
                    batch[group].kept = kept[steps]
            else:
                agents = torch.randint(n, (batch_size,), generator=self._generator)
                rows = steps * n + agents
                batch[group] = Batch(*[column.flatten(0, 1)[rows, None] for column in table])
                if kept is not None:
                    batch[group].kept = kept.flatten(0, 1)[rows, None]
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        state = {"next": torch.tensor(self._next), "generator": self._generator.get_state()}
        for group, table in self._tables.items():
            for name, column in zip(Batch._fields, table, strict=True):
                state[f"{group}.{name}"] = column[: self.size].clone()
        state |= {f"{g}.kept": column[: self.size].clone() for g, column in self._kept.items()}
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
