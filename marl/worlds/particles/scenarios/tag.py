"""Tag, predator and prey: slower adversaries hunt faster good agents among obstacles."""

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere,
    anywhere_in_square,
    exp,
    inline,
    load,
    maximum,
    minimum,
    overlap,
    put_places,
    put_vector,
    put_velocities,
    steps,
    store,
    where,
)

TOUCH = 10.0  # reward and cost of one


class Tag(Scenario):
    """MPE2's simple_tag. A touch is an adversary that overlaps a good agent.

    adversary  10 for every touch, whosoever it is
    good       -10 for every adversary that touches it - what leaving the square costs (`outside`)
    """

    metrics: ClassVar[tuple[str, ...]] = ("touches",)
    events: ClassVar[frozenset[str]] = frozenset(metrics)

    episode_length: int = steps(25)
    num_good: int = Field(1, ge=1, le=10_000, description="good agents, the prey")
    num_adversaries: int = Field(3, ge=1, le=10_000, description="adversaries, the predators")
    num_obstacles: int = Field(2, ge=0, le=10_000, description="obstacles")
    good_speed: float = Field(1.3, gt=0, description="top speed of good agents")
    good_acceleration: float = Field(4.0, gt=0, description="their largest force")
    adversary_speed: float = Field(1.0, gt=0, description="top speed of adversaries")
    adversary_acceleration: float = Field(3.0, gt=0, description="their largest force")

    @cached_property
    def groups(self) -> dict[str, Group]:
        bad, good = self.num_adversaries, self.num_good

        def seen(bad: int, good: int) -> tuple[Part, ...]:
            return (
                Part("self", vectors=2),
                Part("obstacles", self.num_obstacles, vectors=1),
                Part("adversaries", bad, vectors=1),
                Part("good", good, vectors=1),
                Part("good_velocities", good, vectors=1),
            )

        return {
            "adversaries": self.group(
                [f"adversary_{i}" for i in range(bad)], seen(bad - 1, good), team="bad"
            ),
            "good": self.group(
                [f"agent_{i}" for i in range(good)], seen(bad, good - 1), team="good"
            ),
        }

    @property
    def agents(self) -> list[Body]:
        adversary = Body(
            radius=0.075,
            acceleration=self.adversary_acceleration,
            max_speed=self.adversary_speed,
            colour=(217, 89, 89, 255),
        )
        good = Body(
            radius=0.05,
            acceleration=self.good_acceleration,
            max_speed=self.good_speed,
            colour=(89, 217, 89, 255),
        )
        return [adversary] * self.num_adversaries + [good] * self.num_good

    @property
    def landmarks(self) -> list[Body]:
        return [Body(radius=0.2, colour=(64, 64, 64, 255))] * self.num_obstacles

    def reset(self, world, random):
        """Everything anywhere in the square, obstacles not quite at its edge."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 0.9)

    def observe(self, world, i, out):
        """Own velocity and position; obstacles, all others, and how fast the good ones are."""
        agents, bad, everybody = world.agents, self.num_adversaries, world.agents.position.shape[0]
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.velocity, i)
        at = put_vector(out, at, agents.position, i)
        at = put_places(out, at, world.landmarks, 0, self.num_obstacles, -1, x, y)
        at = put_places(out, at, agents, 0, everybody, i, x, y)
        put_velocities(out, at, agents, bad, everybody, i)

    def score(self, world, reward, metrics):
        """The rewards above; how many touches there are."""
        agents, bad, everybody = world.agents, self.num_adversaries, world.agents.position.shape[0]
        touches = 0.0
        for i in range(bad, everybody):
            own = 0.0
            for j in range(bad):
                own = own + overlap(agents, i, agents, j)
            store(reward, i, -TOUCH * own - outside(agents, i))
            touches = touches + own
        for j in range(bad):
            store(reward, j, TOUCH * touches)
        store(metrics, 0, touches)


@inline
def outside(agents, i):
    """What it costs agent i to leave the square: for each of |x| and |y|, nothing up to 0.9, from
    there 10 for each unit up to 1, and exp(2 (|x| - 1)), but at most 10, beyond."""
    return _beyond(load(agents.position, (i, 0))) + _beyond(load(agents.position, (i, 1)))


@inline
def _beyond(v):
    v = maximum(v, -v)
    cost = maximum((v - 0.9) * 10.0, 0.0)
    if anywhere(v >= 1.0):
        cost = where(v < 1.0, cost, minimum(exp(2.0 * v - 2.0), 10.0))
    return cost
