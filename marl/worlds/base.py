"""The interface of every world: groups, steps, and a check for your own.

E worlds run side by side. A group is a set of N agents with the same spaces and role. Each quantity
of a group is one stacked array. A world never resets itself: after `step`, the caller stores the
transition and calls `reset(step.done)`. So every next observation is the true one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from marl.values import plain
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group

Arrays = dict[str, np.ndarray]


class Neighbours(NamedTuple):
    """The nearest agents and landmarks of each agent of a group, by number, nearest first; -1 if
    there are fewer."""

    agents: np.ndarray  # i64[E, N, K] other agents of the same group
    landmarks: np.ndarray  # i64[E, N, L]


class Step(NamedTuple):
    """The result of one step of all worlds."""

    observation: Arrays  # {g: f32[E, N_g, O_g]} the true next one, also at the end of an episode
    reward: Arrays  # {g: f32[E, N_g]}
    terminated: Arrays  # {g: bool[E, N_g]} the agent's task ended: do not bootstrap
    truncated: np.ndarray  # bool[E] time ran out: do bootstrap
    active: Arrays  # {g: bool[E, N_g]} the agent is still in the game
    done: np.ndarray  # bool[E] the episode is over: truncated, or terminated for every agent
    metrics: Arrays  # {name: f32[E]}
    present: Arrays | MappingProxyType = MappingProxyType({})  # {g: bool[E, N_g]} the agent was in
    # the game before this step; only for groups whose agents can leave before the episode is over


class NotFiniteActions(ValueError):
    """A policy acted with a number that is not finite."""


def checked_actions(
    actions: Arrays,
    g: str,
    groups: Mapping[str, Group],
    shape: tuple[int, ...],
    dtype: Any = np.float32,
) -> np.ndarray:
    """The actions of a group, of the `shape` [E, N, A], contiguous. Raises ValueError if there are
    none, or they have another shape, and NotFiniteActions if a number is not finite."""
    if g not in actions:
        raise ValueError(f"actions has no {g!r}; the groups are: {', '.join(groups)}")
    given = np.ascontiguousarray(actions[g], dtype)
    if given.shape != shape:
        raise ValueError(f"actions[{g!r}] has shape {given.shape}; {shape} is needed")
    if not np.isfinite(given).all():
        world, agent, number = np.argwhere(~np.isfinite(given))[0]
        raise NotFiniteActions(
            f"actions[{g!r}] holds {given[world, agent, number]}, for {groups[g].names[agent]!r} "
            f"in world {world}; finite numbers are needed"
        )
    return given


class WorldConfig(BaseModel, ABC):
    """The parameters of a world, known before the world is made: the section `world` of a config
    without the name. (For particle worlds it is the `Scenario`.)"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: ClassVar[tuple[str, ...]] = ()  # names; the first one counts most
    events: ClassVar[frozenset[str]] = frozenset()  # metrics that count something in each step
    outcomes: ClassVar[frozenset[str]] = frozenset()  # metrics that are known when an episode ends
    solved_at: ClassVar[float | None] = None  # solved if 100 episodes average this first metric
    evaluated_with: ClassVar[tuple[int, ...]] = ()  # numbers of agents; empty: as in the config
    sides: ClassVar[tuple[tuple[str, ...], ...]] = ()  # groups that form a side; empty: each group
    reaches: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({})  # {agent: the first
    # two numbers of its action for the arrow keys right and up}; 1.0 and 1.0 for other agents
    slow: ClassVar[bool] = False  # slow to step: evaluations have few episodes, few at once

    @property
    @abstractmethod
    def groups(self) -> dict[str, "Group"]:
        """The groups of agents, in the order in which the agents are numbered."""

    @abstractmethod
    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "World":
        """E worlds. `staggered`: their first episodes end at different times, if the world can do
        that."""

    @property
    def agent_count(self) -> int:
        """The number of agents in all groups."""
        return sum(len(group) for group in self.groups.values())

    def with_agents(self, count: int) -> Self:
        """The same parameters with so many agents. A given number of landmarks grows in proportion.
        Raises ValueError if the number of agents is fixed, or not allowed."""
        if "num_agents" not in type(self).model_fields:
            if count != self.agent_count:
                raise ValueError(f"has {self.agent_count} agents, always")
            return self
        parameters = self.model_dump()
        landmarks = parameters.get("num_landmarks")
        if landmarks is not None:
            share = landmarks / parameters["num_agents"]
            parameters["num_landmarks"] = max(1, round(share * count))
        return self.replaced(**{**parameters, "num_agents": count})

    def replaced(self, **parameters: Any) -> Self:
        """The same with some parameters replaced. Raises ValueError if the new values are not
        allowed."""
        return type(self)(**{**self.model_dump(), **plain(parameters)})


class World(ABC):
    """E worlds that are stepped in one call."""

    groups: dict[str, Group]  # in the order in which the agents are numbered
    num_worlds: int  # E
    events: frozenset[str] = frozenset()  # metrics that count something in each step
    outcomes: frozenset[str] = frozenset()  # metrics that are known when an episode ends

    @abstractmethod
    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        """Start a new episode in the worlds where `mask` (bool[E]; None: all) is true. Leave the
        other worlds as they are. Return the observations of all worlds, {g: f32[E, N_g, O_g]}."""

    @abstractmethod
    def step(self, actions: Arrays) -> Step:
        """Take the actions {g: f32[E, N_g, A_g]} for one time step in every world."""

    @abstractmethod
    def state(self) -> np.ndarray:
        """f32[E, S]: the full state of each world, for centralised critics."""

    @abstractmethod
    def scene(self, world: int = 0) -> Scene:
        """A picture of one of the worlds, as it is now."""

    def reseed(self, seeds: Sequence[int]) -> None:
        """Give each world a new random stream, from its next reset on: that of a single world (E =
        1) made with its one of the seeds, 0 or more. Raises NotImplementedError if the world cannot
        be reseeded."""
        raise NotImplementedError(f"{type(self).__name__} cannot be reseeded (World.reseed)")

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        """For each group, the nearest `agents` other agents of the group, by their numbers within
        it, and the nearest `landmarks` landmarks. Raises NotImplementedError if the world has no
        neighbourhoods."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say which agents are near which (World.neighbours)"
        )

    def privileged(self) -> Arrays:
        """{g: f32[E, N_g, X_g]}: numbers that agents cannot observe, for training only. Raises
        NotImplementedError if the world has none."""
        raise NotImplementedError(
            f"{type(self).__name__} has nothing to tell agents while they learn (World.privileged)"
        )

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Release resources, such as processes. The world is not used afterwards."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Arrays from which `load_state_dict` continues bit for bit, including the random
        streams."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`, in a world made with the same parameters."""
