"""Cooperative navigation: N agents cover L landmarks and keep out of each other's way.

MPE's simple_spread with local views and constant density: each agent sees its nearest neighbours
and landmarks only, and the square in which everything starts grows with the number of agents, so
that a policy meets the same surroundings whatever N is.
"""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box
from numba import njit
from pydantic import Field

from marl.worlds.base import Group, Part
from marl.worlds.particles.assignment import assigned_distances, matched
from marl.worlds.particles.lanes import load, store, where
from marl.worlds.particles.neighbours import (
    closest,
    nearest,
    overlaps,
    put_presence,
    put_relative,
)
from marl.worlds.particles.random import uniform
from marl.worlds.particles.scenario import Body, Scenario

AGENT = Body(radius=0.15, colour=(64, 120, 220, 150))
LANDMARK = Body(radius=0.05, collides=False, colour=(205, 45, 50, 255))
COVERED = (22, 160, 80, 255)
COVER_RADIUS = 0.10


class Spread(Scenario):
    """Cooperative navigation. Let d(i, l) be the distance from agent i to landmark l and c(i) the
    number of other agents that overlap agent i. The reward of agent i is, by name:

    shared      -sum_l min_j d(j, l) - sum_j c(j) / 2, the same for all: each colliding pair costs 1
    mpe2        -(1 - local_ratio) sum_l min_j d(j, l) - local_ratio c(i), as MPE2's simple_spread
    nearest     -min_l d(i, l) - collision_penalty c(i)
    collisions  -collision_penalty c(i)
    assignment  -d(i, own landmark) - collision_penalty c(i), the own landmark being that of the
                assignment with the smallest sum of distances, found anew in each step. Uses global
                information: fit for training, not something that an agent could compute.
    """

    runtime: ClassVar[frozenset[str]] = frozenset(
        {"episode_length", "num_agents", "num_landmarks", "agent_density"}
    )
    metrics: ClassVar[tuple[str, ...]] = ("coverage", "coverage_015", "collisions", "distance")

    num_agents: int = Field(4, ge=1, le=10_000_000, description="N, the number of agents")
    num_landmarks: int | None = Field(
        None, ge=1, le=10_000_000, description="L; null: as many as agents"
    )
    agent_density: float = Field(
        4.0, gt=0, description="agents per half-size squared: half-size = sqrt(N / density)"
    )
    num_perceived_agents: int = Field(3, ge=0, le=64, description="nearest agents each one sees")
    num_perceived_landmarks: int = Field(
        4, ge=1, le=64, description="nearest landmarks each one sees"
    )
    perceive_velocities: bool = Field(True, description="see the nearest agents' velocities too")
    reward: Literal["shared", "mpe2", "nearest", "collisions", "assignment"] = Field(
        "shared", description="which reward (see the formulas above)"
    )
    local_ratio: float = Field(0.5, ge=0, le=1, description="mpe2: weight of an agent's own part")
    collision_penalty: float = Field(
        1.0, ge=0, description="nearest, collisions, assignment: cost of one overlap per step"
    )

    @cached_property
    def groups(self) -> dict[str, Group]:
        observation = (
            Part("self", vectors=1),
            Part(
                "agents",
                self.num_perceived_agents,
                vectors=1 + self.perceive_velocities,
                scalars=1,
                masked=True,
            ),
            Part("landmarks", self.num_perceived_landmarks, vectors=1, scalars=1, masked=True),
        )
        size = sum(part.size for part in observation)
        return {
            "agents": Group(
                names=tuple(f"agent_{i}" for i in range(self.num_agents)),
                observation_space=Box(-np.inf, np.inf, (size,), np.float32),
                action_space=Box(-1.0, 1.0, (2,), np.float32),
                observation_parts=observation,
                action_parts=(Part("force", vectors=1),),
            )
        }

    @property
    def agents(self) -> list[Body]:
        return [AGENT] * self.num_agents

    @property
    def landmarks(self) -> list[Body]:
        return [LANDMARK] * (self.num_landmarks or self.num_agents)

    @property
    def half_size(self) -> float:
        return float(np.sqrt(self.num_agents / self.agent_density))

    def privileged(self, agents: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Where one's own landmark in the best assignment is, relative to oneself; agents left over
        are told where they are."""
        match = matched(agents.astype(np.float64), landmarks.astype(np.float64))
        target = np.take_along_axis(landmarks, np.maximum(match, 0)[..., None], 1) - agents
        return np.where(match[..., None] < 0, 0.0, target)

    def reset(self, world, random):
        """Agents and landmarks anywhere in the square, at rest."""
        for bodies in (world.agents, world.landmarks):
            for i in range(bodies.position.shape[0]):
                store(bodies.position, (i, 0), uniform(random, -world.half_size, world.half_size))
                store(bodies.position, (i, 1), uniform(random, -world.half_size, world.half_size))

    def observe(self, world, i, out):
        """Own velocity; then the nearest agents and the nearest landmarks, relative to oneself."""
        agents, landmarks, near = world.agents, world.landmarks, world.near
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        store(out, 0, load(agents.velocity, (i, 0)))
        store(out, 1, load(agents.velocity, (i, 1)))
        at = 2
        nearest(agents, x, y, i, self.num_perceived_agents, near)
        for k in range(self.num_perceived_agents):
            number = load(near, (k, 1))
            at = put_relative(out, at, agents.position, number, x, y)
            if self.perceive_velocities:
                at = put_relative(out, at, agents.velocity, number, 0.0, 0.0)
            at = put_presence(out, at, number)
        nearest(landmarks, x, y, -1, self.num_perceived_landmarks, near)
        for k in range(self.num_perceived_landmarks):
            number = load(near, (k, 1))
            at = put_relative(out, at, landmarks.position, number, x, y)
            at = put_presence(out, at, number)

    def score(self, world, reward, metrics):
        """The rewards above; coverage within 0.10 and 0.15, overlapping others per agent, and mean
        distance from a landmark to its closest agent."""
        agents, landmarks, near = world.agents, world.landmarks, world.near
        n, m = agents.position.shape[0], landmarks.position.shape[0]
        distance, covered, nearly = 0.0, 0.0, 0.0
        for j in range(m):
            x, y = load(landmarks.position, (j, 0)), load(landmarks.position, (j, 1))
            d = closest(agents, x, y, near)
            distance = distance + d
            covered = covered + where(d < COVER_RADIUS, 1.0, 0.0)
            nearly = nearly + where(d < 0.15, 1.0, 0.0)
        overlapping = 0.0
        if self.reward == "assignment":
            assigned_distances(agents, landmarks, reward)
        for i in range(n):
            own = overlaps(agents, i)
            overlapping = overlapping + own
            if self.reward == "mpe2":
                store(reward, i, -(1.0 - self.local_ratio) * distance - self.local_ratio * own)
            elif self.reward == "nearest":
                x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
                store(reward, i, -closest(landmarks, x, y, near) - self.collision_penalty * own)
            elif self.reward == "collisions":
                store(reward, i, -self.collision_penalty * own)
            elif self.reward == "assignment":
                store(reward, i, -load(reward, i) - self.collision_penalty * own)
        if self.reward == "shared":
            for i in range(n):
                store(reward, i, -distance - 0.5 * overlapping)
        store(metrics, 0, covered / m)
        store(metrics, 1, nearly / m)
        store(metrics, 2, overlapping / n)
        store(metrics, 3, distance / m)

    def colours(self, agents: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Covered landmarks are green."""
        agent_colours, landmark_colours = super().colours(agents, landmarks)
        landmark_colours[_covered(agents, landmarks)] = COVERED
        return agent_colours, landmark_colours


@njit
def _covered(agents, landmarks):
    """bool[m]: which landmarks have an agent within the cover radius; one pair at a time, since all
    would not fit in memory."""
    covered = np.zeros(len(landmarks), np.bool_)
    for j in range(len(landmarks)):
        for i in range(len(agents)):
            dx, dy = agents[i, 0] - landmarks[j, 0], agents[i, 1] - landmarks[j, 1]
            if dx * dx + dy * dy < COVER_RADIUS**2:
                covered[j] = True
                break
    return covered
