"""Adversary, physical deception: the good agents know which landmark is the goal and stay near it;
the adversary does not know, watches where they go, and wants to be there, too."""

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
    minimum,
    put_places,
    put_relative,
    steps,
    store,
    where,
)

ADVERSARY = Body(radius=0.15, collides=False, colour=(217, 89, 89, 150))
GOOD = Body(radius=0.15, collides=False, colour=(89, 89, 217, 150))
LANDMARK = Body(radius=0.08, collides=False, colour=(38, 38, 38, 255))
GOAL = (38, 166, 38, 255)
REACHED = 0.1  # as near as that, an agent is at the goal


class Adversary(Scenario):
    """MPE2's simple_adversary. With d the distance from the goal,

    adversary  -d(itself)
    good       -min over good agents of d + sum over adversaries of d, the same for all
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "good_reached",
        "adversary_reached",
        "good_distance",
        "adversary_distance",
    )

    episode_length: int = steps(25)
    num_good: int = Field(2, ge=1, le=1000, description="good agents, and landmarks")
    num_adversaries: int = Field(1, ge=1, le=1000, description="adversaries")

    @cached_property
    def groups(self) -> dict[str, Group]:
        bad, good = self.num_adversaries, self.num_good
        goal, landmarks = Part("goal", vectors=1), Part("landmarks", good, vectors=1)

        def others(bad: int, good: int) -> tuple[Part, Part]:
            return Part("adversaries", bad, vectors=1), Part("good", good, vectors=1)

        return {
            "adversaries": self.group(
                [f"adversary_{i}" for i in range(bad)],
                (landmarks, *others(bad - 1, good)),
                team="bad",
            ),
            "good": self.group(
                [f"agent_{i}" for i in range(good)],
                (goal, landmarks, *others(bad, good - 1)),
                team="good",
            ),
        }

    @property
    def agents(self) -> list[Body]:
        return [ADVERSARY] * self.num_adversaries + [GOOD] * self.num_good

    @property
    def landmarks(self) -> list[Body]:
        return [LANDMARK] * self.num_good

    @property
    def num_goals(self) -> int:
        return 1

    def reset(self, world, random):
        """Everything anywhere in the square; one landmark is the goal."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)
        store(world.goals, (0, 0), choice(random, self.num_good))

    def observe(self, world, i, out):
        """Where the goal is, for the good; where all landmarks and all others are."""
        agents, landmarks = world.agents, world.landmarks
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = 0
        if i >= self.num_adversaries:
            at = put_relative(out, at, landmarks.position, load(world.goals, (0, 0)), x, y)
        at = put_places(out, at, landmarks, 0, self.num_good, -1, x, y)
        put_places(out, at, agents, 0, self.num_adversaries + self.num_good, i, x, y)

    def score(self, world, reward, metrics):
        """The rewards above; is anybody of each side at the goal, and how far is the closest."""
        agents, landmarks, goal = world.agents, world.landmarks, load(world.goals, (0, 0))
        bad, everybody = self.num_adversaries, self.num_adversaries + self.num_good
        total, nearest_bad = 0.0, distance_to(agents, 0, landmarks, goal)
        for i in range(bad):
            d = distance_to(agents, i, landmarks, goal)
            store(reward, i, -d)
            total = total + d
            nearest_bad = minimum(nearest_bad, d)
        nearest = distance_to(agents, bad, landmarks, goal)
        for i in range(bad + 1, everybody):
            nearest = minimum(nearest, distance_to(agents, i, landmarks, goal))
        for i in range(bad, everybody):
            store(reward, i, total - nearest)
        store(metrics, 0, where(nearest < REACHED, 1.0, 0.0))
        store(metrics, 1, where(nearest_bad < REACHED, 1.0, 0.0))
        store(metrics, 2, nearest)
        store(metrics, 3, nearest_bad)

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The goal is green."""
        agent_colours, landmark_colours = super().colours(agents, landmarks, goals)
        landmark_colours[int(goals[0])] = GOAL
        return agent_colours, landmark_colours
