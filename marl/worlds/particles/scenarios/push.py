"""Push, keep-away: the good agents know which landmark is the goal and go there; the adversaries
do not know, and push them away from it."""

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
    full_like,
    load,
    minimum,
    put_one_of,
    put_places,
    put_relative,
    put_vector,
    steps,
    store,
    where,
)

REACHED = 0.1  # as near as that, an agent is at the goal
HUES = ((26, 230, 26), (26, 26, 230), (230, 26, 26), (230, 160, 26))


class Push(Scenario):
    """MPE2's simple_push. With d the distance from the goal,

    adversary  min over good agents of d - d(itself)
    good       -d(itself)
    """

    metrics: ClassVar[tuple[str, ...]] = ("good_reached", "adversary_reached", "good_distance")

    episode_length: int = steps(25)
    num_good: int = Field(1, ge=1, le=1000, description="good agents")
    num_adversaries: int = Field(1, ge=1, le=1000, description="adversaries")
    num_landmarks: int = Field(2, ge=1, le=len(HUES), description="landmarks, one of them the goal")

    @cached_property
    def groups(self) -> dict[str, Group]:
        bad, good, count = self.num_adversaries, self.num_good, self.num_landmarks
        own, landmarks = Part("self", vectors=1), Part("landmarks", count, vectors=1)
        private = Part("goal", vectors=1), Part("colour", scalars=count + 1)
        colours = Part("colours", count, scalars=count + 1)

        def others(bad: int, good: int) -> tuple[Part, Part]:
            return Part("adversaries", bad, vectors=1), Part("good", good, vectors=1)

        return {
            "adversaries": self.group(
                [f"adversary_{i}" for i in range(bad)],
                (own, landmarks, *others(bad - 1, good)),
                team="bad",
            ),
            "good": self.group(
                [f"agent_{i}" for i in range(good)],
                (own, *private, landmarks, colours, *others(bad, good - 1)),
                team="good",
            ),
        }

    @property
    def agents(self) -> list[Body]:
        bad, good = Body(colour=(191, 64, 64, 200)), Body(colour=(64, 64, 64, 200))
        return [bad] * self.num_adversaries + [good] * self.num_good

    @property
    def landmarks(self) -> list[Body]:
        return [Body(collides=False, colour=(*hue, 255)) for hue in HUES[: self.num_landmarks]]

    @property
    def num_goals(self) -> int:
        return 1

    def reset(self, world, random):
        """Everything anywhere in the square; one landmark is the goal."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)
        store(world.goals, (0, 0), choice(random, self.num_landmarks))

    def observe(self, world, i, out):
        """Own velocity; where the goal is and what colour it has, for the good; landmarks, for the
        good with their colours; all others."""
        agents, landmarks, goal = world.agents, world.landmarks, load(world.goals, (0, 0))
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        good, count = i >= self.num_adversaries, self.num_landmarks
        at = put_vector(out, 0, agents.velocity, i)
        if good:
            at = put_relative(out, at, landmarks.position, goal, x, y)
            at = put_one_of(out, at, goal + 1.0, count + 1, 0.25, 0.75)
        at = put_places(out, at, landmarks, 0, count, -1, x, y)
        if good:
            for j in range(count):
                at = put_one_of(out, at, full_like(goal, j + 1), count + 1, 0.1, 0.9)
        put_places(out, at, agents, 0, self.num_adversaries + self.num_good, i, x, y)

    def score(self, world, reward, metrics):
        """The rewards above; is anybody of each side at the goal, and how far is the closest of the
        good."""
        agents, landmarks, goal = world.agents, world.landmarks, load(world.goals, (0, 0))
        bad, everybody = self.num_adversaries, self.num_adversaries + self.num_good
        nearest = distance_to(agents, bad, landmarks, goal)
        for i in range(bad, everybody):
            d = distance_to(agents, i, landmarks, goal)
            store(reward, i, -d)
            nearest = minimum(nearest, d)
        nearest_bad = distance_to(agents, 0, landmarks, goal)
        for i in range(bad):
            d = distance_to(agents, i, landmarks, goal)
            store(reward, i, nearest - d)
            nearest_bad = minimum(nearest_bad, d)
        store(metrics, 0, where(nearest < REACHED, 1.0, 0.0))
        store(metrics, 1, where(nearest_bad < REACHED, 1.0, 0.0))
        store(metrics, 2, nearest)

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The good agents have the colour of the goal."""
        agent_colours, landmark_colours = super().colours(agents, landmarks, goals)
        agent_colours[self.num_adversaries :, :3] = HUES[int(goals[0])]
        return agent_colours, landmark_colours
