"""The record: what the loop hands on of every step, which columns of it an agent learns from, and
what these look like when they are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from marl.worlds.base import Arrays
from marl.worlds.spaces import Group

Draw = Literal["agents", "steps", "windows"]
"""Single agents in single steps; all agents of a step; or all agents in successive steps."""

NOTHING: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """What is stored of every step, for each agent of a group."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    next: bool = False  # its value after the step is drawn, too, under the name `next_NAME`


Columns = dict[str, dict[str, Column]]
"""{group: {name: Column}}."""


def columns_of(groups: Mapping[str, Group], **more: Column) -> Columns:
    """The columns from which every agent can learn, and `more` in each group."""

    def columns(group: Group) -> dict[str, Column]:
        observations, actions = group.observation_space, group.action_space
        return {
            "observation": Column(observations.shape, str(observations.dtype), next=True),
            "action": Column(actions.shape),
            "reward": Column(),
            "terminated": Column(dtype="bool"),
            **more,
        }

    return {g: columns(group) for g, group in groups.items()}


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
    done: np.ndarray  # bool[E] the episode is over
    present: Mapping[str, np.ndarray] = NOTHING  # bool[E, N], see `Step.present`
    added: Mapping[str, Arrays] = NOTHING  # {name: {group: [E, N, ...]}}, see `Policy.recorded`


@dataclass(frozen=True)
class Batch:
    """What is drawn for a group: B steps of N agents side by side (N = 1: of single agents), or
    windows of T steps. Then every shape begins with [B, T, N]."""

    observation: Tensor  # [B, N, *O]
    action: Tensor  # f32[B, N, A]
    reward: Tensor  # f32[B, N]
    next_observation: Tensor  # [B, N, *O]
    terminated: Tensor  # f32[B, N], 0.0 or 1.0
    present: Tensor | None = None  # f32[B, N], 0.0 for agents that had left; None: nobody ever did
    inside: Tensor | None = None  # f32[B, T]: 0.0 behind the end of an episode; None: no windows
    added: Mapping[str, Tensor] = field(default_factory=dict)  # {name: [B, N, ...]}
