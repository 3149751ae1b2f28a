"""Worlds of several sizes at once: islands, none of which sees another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from marl.worlds.base import Arrays, Neighbours, Step, World
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.scene import Scene
from marl.worlds.side_by_side import joined, load_states, states


class Islands(World):
    """E worlds, each with one of these islands, which differ in their numbers of agents and
    landmarks only; the agents of the first island come first. Metrics are means over the agents."""

    def __init__(self, islands: Sequence[ParticleWorld]) -> None:
        self.islands = islands
        self.num_worlds = islands[0].num_worlds
        self._counts = {g: [len(x.groups[g]) for x in islands] for g in islands[0].groups}
        self.groups = {
            g: replace(group, names=tuple(f"{g}_{i}" for i in range(sum(self._counts[g]))))
            for g, group in islands[0].groups.items()
        }
        agents = np.array([island.scenario.agent_count for island in islands], np.float32)
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
    """Numbers that begin with `first` instead of 0; -1 stays."""
    return np.where(numbers < 0, numbers, numbers + first)
