"""VMAS's simple_spread as a scenario of marl, for benchmarks/learning.py.

It differs from marl's `spread` in three respects: an action of 1 is a force of 1 instead of 5; all
agents share the reward, the sum over the agents; agents see their position first, and no silence.
VMAS moves positions with the new velocities, as marl does by default. Its contacts end where two
agents no longer overlap, those of MPE fade within a few millimetres; so the two worlds agree to
rounding until agents touch (tests/benchmarks/test_vmas_spread.py).
"""

from functools import cached_property
from typing import ClassVar

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    closest,
    load,
    overlaps,
    put_places,
    put_vector,
    store,
)

AGENT = Body(radius=0.15, acceleration=1.0, colour=(64, 120, 220, 150))
LANDMARK = Body(radius=0.05, collides=False, colour=(205, 45, 50, 255))


class VmasSpread(Scenario):
    """Cooperative navigation with the reward -N sum_l min_j d(j, l) - sum_j c(j), the same for all:
    d(j, l) is the distance from agent j to landmark l, c(j) the number of agents that overlap agent
    j."""

    metrics: ClassVar[tuple[str, ...]] = ("distance", "collisions")
    events: ClassVar[frozenset[str]] = frozenset({"collisions"})

    num_agents: int = 3

    @cached_property
    def groups(self) -> dict[str, Group]:
        names = [f"agent_{i}" for i in range(self.num_agents)]
        seen = (
            Part("self", vectors=2),
            Part("landmarks", self.num_agents, vectors=1),
            Part("agents", self.num_agents - 1, vectors=1),
        )
        return {"agents": self.group(names, seen)}

    @property
    def agents(self) -> list[Body]:
        return [AGENT] * self.num_agents

    @property
    def landmarks(self) -> list[Body]:
        return [LANDMARK] * self.num_agents

    def reset(self, world, random):
        """Agents and landmarks anywhere in the square, at rest."""
        anywhere_in_square(world.agents, random, world.half_size)
        anywhere_in_square(world.landmarks, random, world.half_size)

    def observe(self, world, i, out):
        """Own position and velocity; all landmarks and all others, relative to oneself."""
        agents, landmarks = world.agents, world.landmarks
        n, m = agents.position.shape[0], landmarks.position.shape[0]
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.position, i)
        at = put_vector(out, at, agents.velocity, i)
        at = put_places(out, at, landmarks, 0, m, -1, x, y)
        put_places(out, at, agents, 0, n, i, x, y)

    def score(self, world, reward, metrics):
        """The reward above; mean distance from a landmark to its closest agent, and overlapping
        others per agent."""
        agents, landmarks = world.agents, world.landmarks
        n, m = agents.position.shape[0], landmarks.position.shape[0]
        distance, overlapping = 0.0, 0.0
        for j in range(m):
            x, y = load(landmarks.position, (j, 0)), load(landmarks.position, (j, 1))
            distance = distance + closest(agents, x, y, world.near)
        for i in range(n):
            overlapping = overlapping + overlaps(agents, i)
        for i in range(n):
            store(reward, i, -n * distance - overlapping)
        store(metrics, 0, distance / m)
        store(metrics, 1, overlapping / n)
