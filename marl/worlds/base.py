"""What the rest of the package knows of a world: groups, steps, and a check for your own.

E worlds run side by side. A group is a set of N agents with the same spaces and role; everything
about a group is one stacked array. A world never resets itself: after `step`, the caller stores the
transition and calls `reset(step.done)`, so every next observation is the true one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from marl.worlds.scene import Scene
from marl.worlds.spaces import Group

Arrays = dict[str, np.ndarray]


class Neighbours(NamedTuple):
    """Who and what is nearest to each agent of a group, by number, nearest first; -1 where there
    are fewer."""

    agents: np.ndarray  # i64[E, N, K] other agents of the same group
    landmarks: np.ndarray  # i64[E, N, L]


class Step(NamedTuple):
    """What came of one step of all worlds."""

    observation: Arrays  # {g: f32[E, N_g, O_g]} the true next one, also at the end of an episode
    reward: Arrays  # {g: f32[E, N_g]}
    terminated: Arrays  # {g: bool[E, N_g]} the agent's task ended; its future is worth nothing
    truncated: np.ndarray  # bool[E] time ran out; the future would have gone on
    active: Arrays  # {g: bool[E, N_g]} the agent is still in the game
    done: np.ndarray  # bool[E] the episode is over: truncated, or terminated for every agent
    metrics: Arrays  # {name: f32[E]}
    present: Arrays | MappingProxyType = MappingProxyType({})  # {g: bool[E, N_g]} the agent was in
    # the game until now; only of groups that somebody can leave before the episode is over


class WorldConfig(BaseModel, ABC):
    """The parameters of a world in a config, and what is known of it before it is made: the section
    `world`, but for the name by which it is found. (Of particle worlds it is the `Scenario`.)"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: ClassVar[tuple[str, ...]] = ()
    events: ClassVar[frozenset[str]] = frozenset()  # metrics that count what happens in a step
    outcomes: ClassVar[frozenset[str]] = frozenset()  # metrics that are known when an episode ends
    solved_at: ClassVar[float | None] = None  # the first metric, as a mean over 100 episodes
    evaluated_with: ClassVar[tuple[int, ...]] = ()  # numbers of agents; else as many as there are
    sides: ClassVar[tuple[tuple[str, ...], ...]] = ()  # groups that play together, where not alone
    reaches: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({})  # {agent: what the
    # arrow keys right and up make of the first two numbers of its action}, where not 1.0 and 1.0
    slow: ClassVar[bool] = False  # is evaluated in few episodes, few at once

    @property
    @abstractmethod
    def groups(self) -> dict[str, "Group"]:
        """The groups of agents, in the order in which the agents are numbered."""

    @abstractmethod
    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "World":
        """E worlds; `staggered`: their first episodes do not all end at once, if that can be."""

    @property
    def agent_count(self) -> int:
        """How many agents there are in all groups."""
        return sum(len(group) for group in self.groups.values())

    def with_agents(self, count: int) -> Self:
        """The same with so many agents; the number of landmarks, where it is given, grows in step.
        Raises ValueError where there are always as many as there are, or there cannot be so
        many."""
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
        """The same with some parameters replaced. Raises ValueError where these cannot be."""
        return type(self)(**{**self.model_dump(), **parameters})


class World(ABC):
    """E worlds stepped in one call."""

    groups: dict[str, Group]
    num_worlds: int
    events: frozenset[str] = frozenset()  # metrics that count what happens in a step
    outcomes: frozenset[str] = frozenset()  # metrics that are known when an episode ends

    @abstractmethod
    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        """Start a new episode in the worlds where `mask` (bool[E]; None: all) is true, leave the
        others as they are, and return everybody's observation {g: f32[E, N_g, O_g]}."""

    @abstractmethod
    def step(self, actions: Arrays) -> Step:
        """Act {g: f32[E, N_g, A_g]} for one time step in every world."""

    @abstractmethod
    def state(self) -> np.ndarray:
        """f32[E, S]: everything there is to know about each world, for centralised critics."""

    @abstractmethod
    def scene(self, world: int = 0) -> Scene:
        """What one of the worlds looks like now."""

    def reseed(self, seeds: Sequence[int]) -> None:
        """From the next reset on, let each world draw what a single world (E = 1) made with its one
        of the seeds, 0 or more, would draw. Worlds that cannot be reseeded raise
        NotImplementedError."""
        raise NotImplementedError(f"{type(self).__name__} cannot be reseeded (World.reseed)")

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        """For each group, who is near whom: so many other agents of the group, by their numbers
        within it, and so many landmarks. Worlds in which nobody is near anybody raise
        NotImplementedError."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say which agents are near which (World.neighbours)"
        )

    def privileged(self) -> Arrays:
        """{g: f32[E, N_g, X_g]}: what agents cannot know, but may be told while they learn. Worlds
        that have nothing to tell raise NotImplementedError."""
        raise NotImplementedError(
            f"{type(self).__name__} has nothing to tell agents while they learn (World.privileged)"
        )

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Give back what the worlds hold, such as processes. They are not used any more."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Arrays from which `load_state_dict` continues bit for bit, random streams included."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, in a world made with the same parameters."""
