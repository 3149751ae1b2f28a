"""The memory layout of the bodies of a world for compiled code, and the interface of its rules."""

from collections import namedtuple
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from marl.worlds.spaces import Group

Bodies = namedtuple(
    "Bodies", "position velocity radius largest mass max_speed collides movable cells"
)
"""All agents, or all landmarks, of one block of worlds. position, velocity: [n, 2] + lanes, in
world units and world units per second; radius, mass, max_speed [n]; largest: the largest radius;
collides, movable: bool[n]; cells: Cells or None."""


Cells = namedtuple("Cells", "start order position found side edge half_size")
"""Bodies sorted by cell, rows of cells from y = -half_size up. start: i32[side * side + 1], where
each cell begins in `order` (i32[n], body numbers) and in `position` [n, 2]; found: i32[n], scratch.
"""


# Of the discrete moves: stay, left, right, down, up.
DIRECTIONS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
MOVES = len(DIRECTIONS)


Square = namedtuple("Square", "agents landmarks messages goals near half_size")
"""One block of worlds as compiled code sees it. agents, landmarks: Bodies; messages
[n, message_size] + lanes: each agent's message in this step, zeros if it cannot speak; goals
[num_goals, 1] + lanes: the numbers chosen at the start of the episode; near [rows, 2] + lanes:
scratch for `nearest`; half_size of the spawn square."""


class Body(BaseModel):
    """Physical constants of one agent or landmark; the defaults are MPE2's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float = 0.05
    mass: float = 1.0
    acceleration: float = 5.0  # force of an action of 1
    max_speed: float = float("inf")
    collides: bool = True
    movable: bool = True  # for agents; landmarks never move
    colour: tuple[int, int, int, int] = (64, 64, 64, 255)


@dataclass(frozen=True)
class Blocks:
    """How `num_worlds` worlds share out into blocks: so many `lanes` abreast, or, with one, each on
    its own, without an axis for it."""

    num_worlds: int
    lanes: int
    dtype: np.dtype

    @property
    def count(self) -> int:
        """Of the blocks; lanes of the last one may be empty."""
        return -(-self.num_worlds // self.lanes)

    @property
    def trailing(self) -> tuple[int, ...]:
        """The last axis of arrays, if there is one."""
        return (self.lanes,) if self.lanes > 1 else ()

    def zeros(self, rows: int, columns: int) -> np.ndarray:
        """[blocks, rows, columns] + lanes."""
        return np.zeros((self.count, rows, columns, *self.trailing), self.dtype)

    def bodies(self, bodies: list[Body]) -> Bodies:
        """Bodies with these constants, in every block; at rest in the middle."""
        return Bodies(
            self.zeros(len(bodies), 2),
            self.zeros(len(bodies), 2),
            np.array([body.radius for body in bodies], self.dtype),
            float(max((body.radius for body in bodies), default=0.0)),
            np.array([body.mass for body in bodies], self.dtype),
            np.array([body.max_speed for body in bodies], self.dtype),
            np.array([body.collides for body in bodies], bool),
            np.array([body.movable for body in bodies], bool),
            None,
        )

    def unpacked(self, array: np.ndarray) -> np.ndarray:
        """[E, n, size] from [blocks, n, size] + lanes, as a copy."""
        if self.lanes > 1:
            worlds = self.count * self.lanes
            array = np.moveaxis(array, -1, 1).reshape(worlds, *array.shape[1:3])
        return array[: self.num_worlds].copy()

    def pack(self, array: np.ndarray, values: np.ndarray) -> None:
        """Write [E, n, size] into [blocks, n, size] + lanes."""
        padded = np.zeros((self.count * self.lanes, *values.shape[1:]), self.dtype)
        padded[: self.num_worlds] = values
        if self.lanes > 1:
            padded = padded.reshape(self.count, self.lanes, *values.shape[1:])
            padded = np.moveaxis(padded, 1, -1)
        array[:] = padded


class Rules(Protocol):
    """The part of a scenario that `ParticleWorld` needs beside the compiled methods reset, observe
    and score; see `Scenario`."""

    metrics: ClassVar[tuple[str, ...]]
    events: ClassVar[frozenset[str]]

    @property
    def groups(self) -> dict[str, Group]: ...
    @property
    def agents(self) -> list[Body]: ...
    @property
    def landmarks(self) -> list[Body]: ...
    @property
    def half_size(self) -> float: ...
    @property
    def message_size(self) -> int: ...
    @property
    def num_goals(self) -> int: ...
    @property
    def episode_length(self) -> int: ...
    @property
    def actions(self) -> str: ...
    @property
    def integration(self) -> str: ...

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def privileged(self, agents: np.ndarray, landmarks: np.ndarray) -> np.ndarray: ...
