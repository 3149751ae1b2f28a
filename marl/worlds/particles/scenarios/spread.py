"""Cooperative navigation: N agents cover L landmarks and keep out of each other's way.

MPE's simple_spread with local views and constant density: each agent sees its nearest neighbours
and landmarks only, and the square in which everything starts grows with the number of agents, so
that a policy meets the same surroundings whatever N is.
"""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    assigned_distances,
    closest,
    inline,
    load,
    matched,
    nearest,
    overlaps,
    put_places,
    put_presence,
    put_relative,
    put_vector,
    store,
    where,
)

AGENT = Body(radius=0.15, colour=(64, 120, 220, 150))
LANDMARK = Body(radius=0.05, collides=False, colour=(205, 45, 50, 255))
COVERED = (22, 160, 80, 255)
COVER_RADIUS = 0.10
SILENCE = 2  # zeros that MPE2 shows of every other agent, which could speak but do not


class Spread(Scenario):
    """Cooperative navigation. Let d(i, l) be the distance from agent i to landmark l and c(i) the
    number of other agents that overlap agent i. The reward of agent i is, by name:

    shared      -sum_l min_j d(j, l) - sum_j c(j) / 2, the same for all: each colliding pair costs 1
    original    -sum_i (sum_l min_j d(j, l) + c(i) + 1), the same for all: the sum over the agents,
                each of which also collides with itself, as in the original experiment
    mpe2        -(1 - local_ratio) sum_l min_j d(j, l) - local_ratio c(i), as MPE2's simple_spread
    nearest     -min_l d(i, l) - collision_penalty c(i)
    collisions  -collision_penalty c(i)
    assignment  -d(i, own landmark) - collision_penalty c(i), the own landmark being that of the
                assignment with the smallest sum of distances, found anew in each step. Uses global
                information: fit for training, not something that an agent could compute.
    """

    constants: ClassVar[frozenset[str]] = frozenset(
        {"num_perceived_agents", "num_perceived_landmarks"}
    )
    metrics: ClassVar[tuple[str, ...]] = ("coverage", "coverage_015", "collisions", "distance")
    events: ClassVar[frozenset[str]] = frozenset({"collisions"})
    evaluated_with: ClassVar[tuple[int, ...]] = (4, 12, 80, 1000)

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
    observation: Literal["nearest", "everything"] = Field(
        "nearest", description="what agents see: the nearest of both kinds, or, as in MPE2, all"
    )
    perceive_velocities: bool = Field(True, description="see the nearest agents' velocities too")
    reward: Literal["shared", "original", "mpe2", "nearest", "collisions", "assignment"] = Field(
        "shared", description="which reward (see the formulas above)"
    )
    local_ratio: float = Field(0.5, ge=0, le=1, description="mpe2: weight of an agent's own part")
    collision_penalty: float = Field(
        1.0, ge=0, description="nearest, collisions, assignment: cost of one overlap per step"
    )

    @cached_property
    def groups(self) -> dict[str, Group]:
        names = [f"agent_{i}" for i in range(self.num_agents)]
        if self.observation == "everything":
            others = self.num_agents - 1
            everything = (
                Part("self", vectors=2),
                Part("landmarks", len(self.landmarks), vectors=1),
                Part("agents", others, vectors=1),
                Part("messages", others, scalars=SILENCE),
            )
            return {"agents": self.group(names, everything)}
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
        return {"agents": self.group(names, observation)}

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
        anywhere_in_square(world.agents, random, world.half_size)
        anywhere_in_square(world.landmarks, random, world.half_size)

    def observe(self, world, i, out):
        """Own velocity; then the nearest agents and the nearest landmarks, relative to oneself. Or,
        as in MPE2: own velocity and position, all landmarks, all others, and their silence."""
        agents, landmarks, near = world.agents, world.landmarks, world.near
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.velocity, i)
        if self.observation == "everything":
            _put_everything(out, at, agents, landmarks, i, x, y)
            return
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
        elif self.reward == "original":
            for i in range(n):
                store(reward, i, -n * distance - overlapping - n)
        store(metrics, 0, covered / m)
        store(metrics, 1, nearly / m)
        store(metrics, 2, overlapping / n)
        store(metrics, 3, distance / m)

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Covered landmarks are green."""
        agent_colours, landmark_colours = super().colours(agents, landmarks, goals)
        landmark_colours[_covered(agents, landmarks)] = COVERED
        return agent_colours, landmark_colours


@inline
def _put_everything(out, at, agents, landmarks, i, x, y):
    """Own position, all landmarks, all other agents, and their silence."""
    n = agents.position.shape[0]
    at = put_vector(out, at, agents.position, i)
    at = put_places(out, at, landmarks, 0, landmarks.position.shape[0], -1, x, y)
    at = put_places(out, at, agents, 0, n, i, x, y)
    for c in range((n - 1) * SILENCE):
        store(out, at + c, 0.0)


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
