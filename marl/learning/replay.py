"""Replay: transitions in, batches out."""

from collections.abc import Mapping
from dataclasses import fields
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.learning.record import Batch, Columns, Draw, Transition, columns_of
from marl.worlds.spaces import Group

FIELDS = [field.name for field in fields(Batch)]


def needed_bytes(groups: Mapping[str, Group], capacity: int, columns: Columns) -> int:
    """The memory of a full replay, at least."""
    return capacity * sum(
        len(groups[g]) * prod(column.stored) * np.dtype(column.dtype).itemsize
        for g, own in columns.items()
        for column in own.values()
    )


class Replay:
    """The last `capacity` steps of single worlds: a ring, with one table for each group.

    Each column is stored once: a step's next value is in the slot of the world's next step. Only
    the next values of final and newest steps are kept apart. Of a column of several frames the
    newest is stored; the others are in the slots of the steps before, so steps whose frames have
    been overwritten are not drawn.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        capacity: int,
        generator: torch.Generator,
        columns: Columns | None = None,
    ) -> None:
        """`columns`: see `Agent.columns`; None: the standard ones. Groups without columns are not
        stored."""
        self.capacity = capacity
        self.size = 0
        self._next = 0
        self._generator = generator
        columns = columns_of(groups) if columns is None else columns
        self._agents = {g: len(groups[g]) for g in columns}
        self._tables: dict[str, dict[str, Tensor]] = {}
        self._apart: dict[str, dict[str, Tensor]] = {}  # next values that are kept apart
        for g, own in columns.items():
            self._tables[g] = {
                name: torch.zeros(
                    capacity, self._agents[g], *column.stored, dtype=getattr(torch, column.dtype)
                )
                for name, column in own.items()
            }
            table = self._tables[g]
            self._apart[g] = {name: table[name][:0].clone() for name in own if own[name].next}
        every = [column for own in columns.values() for column in own.values()]
        self._history = max((column.frames for column in every), default=1) - 1
        self._frames = {
            g: {name: column.frames for name, column in own.items() if column.frames > 1}
            for g, own in columns.items()
        }
        self._before = torch.full((capacity if self._history else 0,), -1)  # slots of the steps
        # before; -1: there is none in the episode
        self._after = torch.zeros(capacity, dtype=torch.int64)  # the next slot; -1 - p: place p
        # of the values kept apart
        self._free: list[int] = []  # free places of values kept apart
        self._newest = np.zeros(0, np.int64)  # [E] slots of the last step; -1: an episode ended

    @property
    def nbytes(self) -> int:
        """The memory of all columns, in bytes."""
        tables = [*self._tables.values(), *self._apart.values()]
        return sum(column.nbytes for table in tables for column in table.values())

    # ------------------------------------------------------------------------------------- storing

    def add(self, transition: Transition) -> None:
        """Store a step of E worlds; E must not exceed the capacity."""
        worlds = len(transition.done)
        first = min(worlds, self.capacity - self._next)  # the rest starts again at the top
        for g, table in self._tables.items():
            if g in transition.present:
                everybody = torch.ones(1, self._agents[g], dtype=torch.bool)
                table.setdefault("present", everybody.repeat(self.capacity, 1))
            for name, column in table.items():
                values, rows = _values(transition, name, g, column), column.numpy()
                rows[self._next : self._next + first] = values[:first]
                if first < worlds:
                    rows[: worlds - first] = values[first:]
        self._link((self._next + np.arange(worlds)) % self.capacity, transition)
        self._next = (self._next + worlds) % self.capacity
        self.size = min(self.size + worlds, self.capacity)

    def _link(self, slots: np.ndarray, transition: Transition) -> None:
        """Keep the next values of these steps apart; free those of the steps before."""
        after, last = self._after.numpy(), self._newest
        if self._history:
            before, orphans = self._before.numpy(), after[slots]
            before[orphans[orphans >= 0]] = -1
            before[slots] = last if len(last) == len(slots) else -1
        self._free.extend(-1 - after[slots][after[slots] < 0])
        after[slots] = 0
        if len(last) == len(slots):  # otherwise the number of worlds has changed
            arrived = (last >= 0) & (after[last] < 0)
            self._free.extend(-1 - after[last[arrived]])
            after[last[arrived]] = slots[arrived]
        if len(self._free) < len(slots):
            self._make_room(len(slots))
        places = np.array(self._free[-len(slots) :])
        del self._free[-len(slots) :]
        after[slots] = -1 - places
        for g, table in self._apart.items():
            for name, column in table.items():
                column.numpy()[places] = _values(transition, f"next_{name}", g, column)
        self._newest = np.where(transition.done, -1, slots)

    def _make_room(self, least: int) -> None:
        """Double the places for values kept apart; at least `least` new ones."""
        for table in self._apart.values():
            for name, column in table.items():
                room = max(least, len(column))
                table[name] = torch.cat([column, column.new_zeros(room, *column.shape[1:])])
                total = len(column) + room
                new = range(len(column), total)
        self._free.extend(new)

    # ------------------------------------------------------------------------------------- drawing

    def sample(self, batch_size: int, draw: Draw = "agents", window: int = 1) -> dict[str, Batch]:
        """Draw uniformly with replacement: steps of single agents, steps of all agents (the same
        for all groups), or windows that begin with such a step."""
        slots, inside = self._drawn(batch_size), None
        if draw == "windows":
            slots, inside = self._windows(slots, window)
        after = self._after[slots]
        batch = {}
        for g, n in self._agents.items():
            agents = None
            if draw == "agents":
                agents = torch.randint(n, (batch_size,), generator=self._generator)
            batch[g] = self._batch(g, slots, after, agents, inside=inside)
        return batch

    def _drawn(self, count: int) -> Tensor:
        """Slots of steps all of whose frames are there."""
        lost = self._history * len(self._newest) if self.size == self.capacity else 0
        usable = max(self.size - lost, 1)
        slots = torch.randint(usable, (count,), generator=self._generator)
        return (self._next - usable + slots) % self.capacity if lost else slots

    def _batch(
        self, g: str, slots: Tensor, after: Tensor, agents: Tensor | None, **more: Any
    ) -> Batch:
        """The rows of a group at these slots; `after`: what follows them, as in `_after`."""
        rows = {name: _rows(x, slots, agents) for name, x in self._tables[g].items()}
        following = {name: self._following(g, name, after, agents) for name in self._apart[g]}
        for name, frames in self._frames[g].items():
            size = rows[name].shape[-1]
            rows[name] = self._with_history(self._tables[g][name], slots, agents, frames)
            if name in following:
                following[name] = torch.cat([rows[name][..., size:], following[name]], -1)
        rows |= {f"next_{name}": values for name, values in following.items()}
        for name in rows.keys() & {"terminated", "present"}:
            rows[name] = rows[name].float()
        common = {field: rows.pop(field) for field in FIELDS if field in rows}
        return Batch(**common, **more, added=rows)

    def _windows(self, slots: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """The slots of windows, [B, T], and `Batch.inside`. At the end of an episode, or at the
        newest step, a window repeats its last slot."""
        steps, inside = [slots], [torch.ones(len(slots))]
        for _ in range(window - 1):
            after = self._after[steps[-1]]
            inside.append(inside[-1] * (after >= 0))
            steps.append(torch.where(after < 0, steps[-1], after))
        return torch.stack(steps, 1), torch.stack(inside, 1)

    def _with_history(
        self, column: Tensor, slots: Tensor, agents: Tensor | None, frames: int
    ) -> Tensor:
        """The values at these slots after those of the steps before, zeros where there is none."""
        found = [_rows(column, slots, agents)]
        for _ in range(frames - 1):
            slots = torch.where(slots < 0, slots, self._before[slots])
            values = _rows(column, slots.clamp(min=0), agents)
            values[slots < 0] = 0
            found.insert(0, values)
        return torch.cat(found, -1)

    def _following(self, g: str, name: str, after: Tensor, agents: Tensor | None) -> Tensor:
        """The next values of a column; `after`: of the steps, as in `_after`."""
        apart = after < 0
        drawn = _rows(self._tables[g][name], after.clamp(min=0), agents)
        if apart.any():
            which = None if agents is None else agents[apart]
            drawn[apart] = _rows(self._apart[g][name], -1 - after[apart], which)
        return drawn

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        after = self._after[: self.size]
        apart = after < 0
        state = {
            "next": torch.tensor(self._next),
            "generator": self._generator.get_state(),
            "after": after.clamp(min=-1),
            "newest": torch.from_numpy(self._newest.copy()),
        }
        if self._history:
            state["before"] = self._before[: self.size].clone()
        for g, table in self._tables.items():
            state |= {f"{g}.{name}": column[: self.size].clone() for name, column in table.items()}
            for name, column in self._apart[g].items():
                state[f"{g}.next_{name}"] = column[-1 - after[apart]]
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._next, newest = int(state["next"]), state["newest"].numpy().copy()
        after = state["after"].clone()
        apart = after < 0
        if not 0 <= self._next < self.capacity:
            raise ValueError(f"next is {self._next}, but there is room for {self.capacity}")
        if len(after) != self.capacity and self._next != len(after):
            raise ValueError(
                f"training.replay_size is {self.capacity}, but a full replay of {len(after)} steps "
                "continues with that size only"
            )
        before = state["before"] if self._history else self._before
        for name, slots in (("after", after), ("newest", newest), ("before", before)):
            if ((slots < -1) | (slots >= len(after))).any():
                raise ValueError(f"{name} has slots beyond the {len(after)} that there are")
        self.size, self._newest, self._free = len(after), newest, []
        after[apart] = -1 - torch.arange(int(apart.sum()))
        self._after.zero_()[: self.size] = after
        self._generator.set_state(state["generator"])
        if self._history:
            self._before.fill_(-1)[: self.size] = before
        for g, table in self._tables.items():
            table.pop("present", None)
            if f"{g}.present" in state:
                table["present"] = torch.ones(self.capacity, self._agents[g], dtype=torch.bool)
            for name, column in table.items():
                column[: self.size] = state[f"{g}.{name}"]
            for name, column in self._apart[g].items():
                stored = state[f"{g}.next_{name}"]
                if stored.shape != (apart.sum(), *column.shape[1:]):
                    raise ValueError(f"{g}.next_{name} does not fit what is kept apart")
                self._apart[g][name] = stored.to(column.dtype).clone()


def _values(transition: Transition, name: str, g: str, column: Tensor) -> np.ndarray:
    """[E, N, ...]: the values of a column in this transition, as they are stored."""
    of: Any = getattr(transition, name) if name in Transition._fields else transition.added[name]
    if name == "present" and g not in of:
        return np.ones_like(transition.terminated[g], bool)
    values = np.asarray(of[g])
    if values.shape[2:] == column.shape[2:]:
        return values
    return values.reshape(*values.shape[:2], -1)[..., -column.shape[2] :]  # the newest picture


def _rows(column: Tensor, slots: Tensor, agents: Tensor | None) -> Tensor:
    """Rows of all agents, [*slots, N, ...], or of one agent in each slot, [B, 1, ...]."""
    if agents is None:
        return column[slots]
    return column.flatten(0, 1)[slots * column.shape[1] + agents, None]
