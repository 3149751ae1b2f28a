"""Simple: every agent goes to the one landmark. MPE's simplest world, to see whether an agent
learns at all."""

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    distance,
    load,
    put_places,
    put_vector,
    squared_distance,
    steps,
    store,
    where,
)

REACHED = 0.1  # as near as that, an agent has arrived


class Simple(Scenario):
    """MPE2's simple: the reward of an agent is minus its squared distance from the landmark."""

    metrics: ClassVar[tuple[str, ...]] = ("reached", "distance")

    episode_length: int = steps(25)
    num_agents: int = Field(1, ge=1, le=100_000, description="agents, each on its own")

    @cached_property
    def groups(self) -> dict[str, Group]:
        names = [f"agent_{i}" for i in range(self.num_agents)]
        return {"agents": self.group(names, (Part("self", vectors=1), Part("landmark", vectors=1)))}

    @property
    def agents(self) -> list[Body]:
        return [Body(collides=False, colour=(64, 64, 64, 200))] * self.num_agents

    @property
    def landmarks(self) -> list[Body]:
        return [Body(collides=False, colour=(191, 64, 64, 255))]

    def reset(self, world, random):
        """Everything anywhere in the square."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)

    def observe(self, world, i, out):
        """Own velocity, and where the landmark is."""
        agents = world.agents
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.velocity, i)
        put_places(out, at, world.landmarks, 0, 1, -1, x, y)

    def score(self, world, reward, metrics):
        """Minus the squared distance; how many have arrived, and the mean distance."""
        reached, far = 0.0, 0.0
        for i in range(self.num_agents):
            store(reward, i, -squared_distance(world.agents, i, world.landmarks, 0))
            d = distance(world.agents, i, world.landmarks, 0)
            reached = reached + where(d < REACHED, 1.0, 0.0)
            far = far + d
        store(metrics, 0, reached / self.num_agents)
        store(metrics, 1, far / self.num_agents)
