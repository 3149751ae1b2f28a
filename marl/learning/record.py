"""The record: the loop's transitions, the columns of them that replay stores, and its batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from marl.worlds.base import Arrays
from marl.worlds.spaces import Group

Draw = Literal["agents", "steps", "windows", "rollout"]
"""Rows of a batch: single agents of steps, all agents of steps, or all agents of windows, drawn
from replay; or everything since the last update, in order."""


class Sampling(NamedTuple):
    """How the batches of a group are drawn."""

    draw: Draw = "agents"
    window: int = 1  # steps in a row, if `draw` is "windows"


NOTHING: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """The shape and dtype of a value that replay stores of each step, for each agent."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    next: bool = False  # batches also have its value after the step, as `next_NAME`
    frames: int = 1  # the value is so many in a row, oldest first: of the last steps, and zeros
    # before an episode's first one; each is stored once

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of what is stored of each step: of several frames the newest one."""
        return self.shape if self.frames == 1 else (self.shape[0] // self.frames,)


Columns = dict[str, dict[str, Column]]
"""{group: {name: Column}}."""


def columns_of(groups: Mapping[str, Group], **more: Column) -> Columns:
    """The standard columns, and `more` in each group."""

    def columns(group: Group) -> dict[str, Column]:
        observations, actions = group.observation_space, group.action_space
        frames = group.picture.count if group.picture else 1
        return {
            "observation": Column(
                (group.observation_size,), str(observations.dtype), next=True, frames=frames
            ),
            "action": Column(actions.shape),
            "reward": Column(),
            "terminated": Column(dtype="bool"),
            **more,
        }

    return {g: columns(group) for g, group in groups.items()}


class Transition(NamedTuple):
    """One step of all worlds, in dictionaries of arrays with an entry for each group.

    `next_observation` is the true one, also at the end of an episode. `terminated` alone stops the
    bootstrap; the end of time does not (Pardo et al. 2018).
    """

    observation: Arrays  # f32[E, N, O]
    action: Arrays  # f32[E, N, A]
    reward: Arrays  # f32[E, N]
    next_observation: Arrays  # f32[E, N, O]
    terminated: Arrays  # bool[E, N]
    done: np.ndarray  # bool[E] the episode is over
    present: Mapping[str, np.ndarray] = NOTHING  # bool[E, N], see `Step.present`
    added: Mapping[str, Arrays] = NOTHING  # {name: {group: [E, N, ...]}}, see `Policy.recorded`


@dataclass(frozen=True)
class Batch:
    """A batch of one group: B steps of N agents (N = 1: single agents); or B windows of T steps,
    where all shapes begin with [B, T, N]; or a rollout of T steps of E worlds, [T, E, N]."""

    observation: Tensor  # [B, N, *O]
    action: Tensor  # f32[B, N, A]
    reward: Tensor  # f32[B, N]
    next_observation: Tensor  # [B, N, *O]
    terminated: Tensor  # f32[B, N], 0.0 or 1.0
    present: Tensor | None = None  # f32[B, N], 0.0 for agents that had left; None: none ever did
    inside: Tensor | None = None  # f32[B, T]: 0.0 after the end of an episode; None: no windows
    continues: Tensor | None = None  # f32[T, E]: 1.0 if the world's next step is the next row, 0.0
    # at the end of an episode and in the last row; None: no rollout
    added: Mapping[str, Tensor] = field(default_factory=dict)  # {name: [B, N, ...]}
