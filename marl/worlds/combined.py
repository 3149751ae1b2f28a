"""Several worlds with the same groups, each with its own random streams, as one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from marl.worlds.base import Arrays, Neighbours, Step, World
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.scene import Scene


class ConcatenatedWorlds(World):
    """Several worlds of E_1, E_2... as one of E_1 + E_2 + ...; those of the first come first."""

    def __init__(self, worlds: Sequence[World]) -> None:
        self.worlds = worlds
        self.groups = worlds[0].groups
        self.events, self.outcomes = worlds[0].events, worlds[0].outcomes
        self.num_worlds = sum(world.num_worlds for world in worlds)
        self._ends = np.cumsum([world.num_worlds for world in worlds])

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        masks = [None] * len(self.worlds) if mask is None else self._split(mask)
        parts = [world.reset(part) for world, part in zip(self.worlds, masks, strict=True)]
        return joined(parts)

    def step(self, actions: Arrays) -> Step:
        parts = self._split(actions)
        return joined([world.step(part) for world, part in zip(self.worlds, parts, strict=True)])

    def _split(self, whole: Any) -> list[Any]:
        return split(whole, self._ends[:-1].tolist())

    def state(self) -> np.ndarray:
        return joined([world.state() for world in self.worlds])

    def scene(self, world: int = 0) -> Scene:
        of = int(np.searchsorted(self._ends, world, "right"))
        return self.worlds[of].scene(world - int(self._ends[of]) + self.worlds[of].num_worlds)

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        return joined([world.neighbours(agents, landmarks) for world in self.worlds])

    def privileged(self) -> Arrays:
        return joined([world.privileged() for world in self.worlds])

    def close(self) -> None:
        for world in self.worlds:
            world.close()

    def state_dict(self) -> dict[str, Any]:
        return states(self.worlds)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_states(self.worlds, state)


def states(worlds: Sequence[World]) -> dict[str, Any]:
    """What all of them need to continue, by their number."""
    return {f"{i}.{k}": v for i, w in enumerate(worlds) for k, v in w.state_dict().items()}


def load_states(worlds: Sequence[World], state: dict[str, Any]) -> None:
    """What `states` returned."""
    for i, world in enumerate(worlds):
        prefix = f"{i}."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        world.load_state_dict(own)


def split(whole: Any, parts: int | Sequence[int]) -> list[Any]:
    """Arrays whose first axis is the world, also in dictionaries and named tuples, in so many equal
    parts, or cut before the worlds of these numbers."""
    count = parts if isinstance(parts, int) else len(parts) + 1
    if count == 1:
        return [whole]
    if isinstance(whole, np.ndarray):
        return np.split(whole, parts)
    if isinstance(whole, tuple):
        pieces = [split(x, parts) for x in whole]
        return [type(whole)(*[x[s] for x in pieces]) for s in range(count)]  # type: ignore[call-arg]
    named = {name: split(x, parts) for name, x in whole.items()}
    return [{name: x[s] for name, x in named.items()} for s in range(count)]


def joined(parts: Sequence[Any], axis: int = 0) -> Any:
    """The inverse of `split`; or arrays concatenated along another axis."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts, axis)
    if isinstance(first, tuple):
        return type(first)(*[joined(x, axis) for x in zip(*parts, strict=True)])  # type: ignore[call-arg]
    return {name: joined([part[name] for part in parts], axis) for name in first}


class MixedSizes(World):
    """E worlds, each made of these islands. Islands differ only in their numbers of agents and
    landmarks. The agents of the first island come first. Metrics are means over the agents."""

    def __init__(self, islands: Sequence[ParticleWorld]) -> None:
        self.islands = islands
        self.num_worlds = islands[0].num_worlds
        self._counts = {g: [len(x.groups[g]) for x in islands] for g in islands[0].groups}
        self.groups = {
            g: replace(group, names=tuple(f"{g}_{i}" for i in range(sum(self._counts[g]))))
            for g, group in islands[0].groups.items()
        }
        agents = np.array([len(island.scenario.agents) for island in islands], np.float32)
        self._share = agents / agents.sum()

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        return joined([island.reset(mask) for island in self.islands], 1)

    def step(self, actions: Arrays) -> Step:
        own: list[Arrays] = [{} for _ in self.islands]
        for g, rows in actions.items():
            ends = np.cumsum(self._counts[g])[:-1]
            for island, part in zip(own, np.split(rows, ends, 1), strict=True):
                island[g] = part
        steps = [island.step(part) for island, part in zip(self.islands, own, strict=True)]
        return Step(
            joined([step.observation for step in steps], 1),
            joined([step.reward for step in steps], 1),
            joined([step.terminated for step in steps], 1),
            steps[0].truncated,
            joined([step.active for step in steps], 1),
            np.logical_and.reduce([step.done for step in steps]),
            {
                name: np.stack([step.metrics[name] for step in steps], -1) @ self._share
                for name in steps[0].metrics
            },
        )

    def state(self) -> np.ndarray:
        return joined([island.state() for island in self.islands], 1)

    def scene(self, world: int = 0) -> Scene:
        """The first island."""
        return self.islands[0].scene(world)

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        found = [island.neighbours(agents, landmarks) for island in self.islands]
        places = [0, *np.cumsum([len(island.scenario.landmarks) for island in self.islands])]
        for g, counts in self._counts.items():
            first = [0, *np.cumsum(counts)]
            for i, near in enumerate(found):
                near[g] = Neighbours(
                    _numbered(near[g].agents, first[i]), _numbered(near[g].landmarks, places[i])
                )
        return joined(found, 1)

    def privileged(self) -> Arrays:
        return joined([island.privileged() for island in self.islands], 1)

    def state_dict(self) -> dict[str, Any]:
        return states(self.islands)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_states(self.islands, state)


def _numbered(numbers: np.ndarray, first: int) -> np.ndarray:
    """Numbers that begin with `first` instead of 0; -1 stays -1."""
    return np.where(numbers < 0, numbers, numbers + first)
