"""Reference: everybody knows to which landmark another agent shall go, and has to tell it. Speaker
and listener at once."""

from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    choice,
    distance_to,
    load,
    put_message,
    put_one_of,
    put_places,
    put_vector,
    steps,
    store,
    where,
)

LANDMARKS = 3
REACHED = 0.1  # as near as that, an agent has arrived
HUES = ((191, 64, 64), (64, 191, 64), (64, 64, 191))


class Reference(Scenario):
    """MPE2's simple_reference. Agent i knows the landmark of its partner, the next agent (the last
    one's is the first). With r(i) minus the distance of the partner of i from there, the reward of
    agent i is (1 - local_ratio) mean r + local_ratio r(i)."""

    metrics: ClassVar[tuple[str, ...]] = ("reached", "distance")

    episode_length: int = steps(25)
    num_agents: int = Field(2, ge=2, le=1000, description="agents")
    local_ratio: float = Field(0.5, ge=0, le=1, description="weight of an agent's own part")

    @cached_property
    def groups(self) -> dict[str, Group]:
        seen = (
            Part("self", vectors=1),
            Part("landmarks", LANDMARKS, vectors=1),
            Part("goal", scalars=LANDMARKS),
            Part("heard", self.num_agents - 1, scalars=self.message_size),
        )
        names = [f"agent_{i}" for i in range(self.num_agents)]
        return {"agents": self.group(names, seen, speaks=True)}

    @property
    def agents(self) -> list[Body]:
        return [Body(collides=False, colour=(64, 64, 64, 200))] * self.num_agents

    @property
    def landmarks(self) -> list[Body]:
        return [Body(collides=False, colour=(*hue, 255)) for hue in HUES]

    @property
    def message_size(self) -> int:
        return 10

    @property
    def num_goals(self) -> int:
        return self.num_agents

    def reset(self, world, random):
        """Everything anywhere in the square; a landmark for each partner."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)
        for i in range(self.num_agents):
            store(world.goals, (i, 0), choice(random, LANDMARKS))

    def observe(self, world, i, out):
        """Own velocity, the landmarks, the colour of the partner's landmark, what others say."""
        agents = world.agents
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.velocity, i)
        at = put_places(out, at, world.landmarks, 0, LANDMARKS, -1, x, y)
        at = put_one_of(out, at, load(world.goals, (i, 0)), LANDMARKS, 0.25, 0.75)
        for j in range(self.num_agents):
            if j != i:
                at = put_message(out, at, world.messages, j)

    def score(self, world, reward, metrics):
        """The reward above; how many are where they shall be, and the mean distance from there."""
        n = self.num_agents
        total, reached = 0.0, 0.0
        for i in range(n):
            partner = i + 1 if i + 1 < n else 0
            d = distance_to(world.agents, partner, world.landmarks, load(world.goals, (i, 0)))
            store(reward, i, -d)
            total = total + d
            reached = reached + where(d < REACHED, 1.0, 0.0)
        for i in range(n):
            own = self.local_ratio * load(reward, i)
            store(reward, i, own - (1.0 - self.local_ratio) * (total / n))
        store(metrics, 0, reached / n)
        store(metrics, 1, total / n)

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Agents have the colour of the landmark to which they shall go."""
        agent_colours, landmark_colours = super().colours(agents, landmarks, goals)
        agent_colours[:, :3] = np.roll(np.array(HUES)[goals.astype(int)], 1, axis=0)
        return agent_colours, landmark_colours
