"""What the rest of the package knows of a world: groups, steps, and a check for your own.

E worlds run side by side. A group is a set of N agents with the same spaces and role; everything
about a group is one stacked array. A world never resets itself: after `step`, the caller stores the
transition and calls `reset(step.done)`, so every next observation is the true one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from pydantic import BaseModel, ConfigDict

from marl.worlds.scene import Scene

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """A stretch of an observation or action: `count` items of `vectors` plane vectors (x, y) each,
    then `scalars` plain numbers.

    Where `masked`, the last scalar of an item says whether the item is there (1.0) or only padding
    (0.0, as are all its numbers). Where `choice`, one of the scalars of an item is 1.0 and the
    others are 0.0: the number of what was chosen. `sizes` tells how large the numbers of an item
    typically are, where that is known. Networks read from all this which numbers belong together,
    symmetry augmentation which numbers turn with the plane, normalisation what is large.
    """

    name: str
    count: int = 1
    vectors: int = 0
    scalars: int = 0
    masked: bool = False
    choice: bool = False
    sizes: tuple[float, ...] = ()

    @property
    def item_size(self) -> int:
        return 2 * self.vectors + self.scalars

    @property
    def size(self) -> int:
        return self.count * self.item_size


@dataclass(frozen=True)
class Group:
    """Agents with the same spaces and role.

    `observation_parts` and `action_parts` describe the layout of the vectors; empty where it is
    unknown, which rules out what needs it (set networks, symmetry augmentation) and nothing else.
    """

    names: tuple[str, ...]
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.spaces.Box
    observation_parts: tuple[Part, ...] = ()
    action_parts: tuple[Part, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def choices(self) -> list[slice]:
        """Where in an action something is chosen: one of these numbers is 1.0, the others 0.0."""
        found, start = [], 0
        for part in self.action_parts:
            for item in range(start, start + part.size, max(part.item_size, 1)):
                if part.choice:
                    found.append(slice(item, item + part.item_size))
            start += part.size
        return found

    def random_actions(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """f32[*shape, A]: numbers anywhere from -1 to 1, and choices, all equally likely."""
        size = (*shape, *self.action_space.shape)
        actions = rng.uniform(-1, 1, size).astype(np.float32)
        for piece in self.choices:
            actions[..., piece] = one_hot(actions[..., piece].argmax(-1), piece.stop - piece.start)
        return actions


def one_hot(chosen: np.ndarray, count: int) -> np.ndarray:
    """f32[..., count]: 1.0 at the number chosen (i64[...]), 0.0 elsewhere."""
    return (chosen[..., None] == np.arange(count)).astype(np.float32)


def pieces(parts: Sequence[Part], rows: Any) -> dict[str, Any]:
    """The parts of observations [..., O] by name, [..., count, item] each; arrays or tensors."""
    found, start = {}, 0
    for part in parts:
        piece = rows[..., start : start + part.size]
        found[part.name] = piece.reshape(*rows.shape[:-1], part.count, part.item_size)
        start += part.size
    return found


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
    acted: Arrays | MappingProxyType = MappingProxyType(
        {}
    )  # {g: bool[E, N_g]} the agent was in the
    # game until now; only of groups that somebody can leave before the episode is over


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
