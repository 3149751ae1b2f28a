"""World with communication: predators, led by one who sees everything and speaks, hunt good agents
that look for food and hide in forests."""

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
    full_like,
    inline,
    load,
    maximum,
    minimum,
    overlap,
    put_message,
    put_places,
    put_vector,
    steps,
    store,
    where,
)
from marl.worlds.particles.scenarios.tag import outside

TOUCH, FOOD = 5.0, 2.0  # what one is worth
LEADER = 0  # the number of the only one who speaks


class WorldComm(Scenario):
    """MPE2's simple_world_comm. A touch is an adversary that overlaps a good agent; the leader is
    an adversary, too.

    adversary  5 for every touch, whosoever it is - 0.1 distance from the closest good agent
    good       -5 for every adversary that touches it - 2 what leaving the square costs (see tag)
               + 2 for every food it overlaps - 0.05 distance from the closest food

    In a forest one is seen only by those in the same forest, and sees only them; the leader sees
    everybody.
    """

    metrics: ClassVar[tuple[str, ...]] = ("touches", "food")
    sides: ClassVar[tuple[tuple[str, ...], ...]] = (("leader", "adversaries"), ("good",))
    events: ClassVar[frozenset[str]] = frozenset(metrics)

    episode_length: int = steps(25)
    num_good: int = Field(2, ge=1, le=1000, description="good agents, the prey")
    num_adversaries: int = Field(4, ge=1, le=1000, description="predators, with their leader")
    num_obstacles: int = Field(1, ge=0, le=1000, description="obstacles")
    num_food: int = Field(2, ge=1, le=1000, description="places with food")
    num_forests: int = Field(2, ge=0, le=1000, description="forests")

    @cached_property
    def groups(self) -> dict[str, Group]:
        bad, good = self.num_adversaries, self.num_good
        places = (
            Part("self", vectors=2),
            Part("obstacles", self.num_obstacles, vectors=1),
            Part("food", self.num_food, vectors=1),
            Part("forests", self.num_forests, vectors=1),
        )
        hidden, heard = Part("in_forest", self.num_forests, scalars=1), Part("heard", scalars=4)

        def others(bad: int, good: int) -> tuple[Part, Part]:
            return Part("adversaries", bad, vectors=1), Part("good", good, vectors=1)

        def speeds(good: int) -> Part:
            return Part("good_velocities", good, vectors=1)

        of_adversaries = (*places, *others(bad - 1, good), speeds(good), hidden, heard)
        of_good = (*places, *others(bad, good - 1), hidden, speeds(good - 1))
        groups = {
            "leader": self.group(["leadadversary_0"], of_adversaries, speaks=True, team="bad")
        }
        if bad > 1:
            names = [f"adversary_{i}" for i in range(bad - 1)]
            groups["adversaries"] = self.group(names, of_adversaries, team="bad")
        groups["good"] = self.group([f"agent_{i}" for i in range(good)], of_good, team="good")
        return groups

    @property
    def agents(self) -> list[Body]:
        adversary = Body(radius=0.075, acceleration=3.0, max_speed=1.0, colour=(242, 115, 115, 255))
        leader = adversary.model_copy(update={"colour": (166, 38, 38, 255)})
        good = Body(radius=0.045, acceleration=4.0, max_speed=1.3, colour=(115, 242, 115, 255))
        return [leader] + [adversary] * (self.num_adversaries - 1) + [good] * self.num_good

    @property
    def landmarks(self) -> list[Body]:
        obstacle = Body(radius=0.2, colour=(64, 64, 64, 255))
        food = Body(radius=0.03, collides=False, colour=(38, 38, 166, 255))
        forest = Body(radius=0.3, collides=False, colour=(153, 230, 153, 110))
        counts = (obstacle, self.num_obstacles), (food, self.num_food), (forest, self.num_forests)
        return [body for body, count in counts for _ in range(count)]

    @property
    def message_size(self) -> int:
        return 4

    def reset(self, world, random):
        """Everything anywhere in the square, landmarks not quite at its edge."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 0.9)

    def observe(self, world, i, out):
        """Own velocity and position; obstacles, food, forests; all others that can be seen, and how
        fast the good ones are; in which forests one is (1, or -1); what the leader says, for the
        adversaries."""
        agents, landmarks, bad = world.agents, world.landmarks, self.num_adversaries
        n, m = agents.position.shape[0], landmarks.position.shape[0]
        x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
        at = put_vector(out, 0, agents.velocity, i)
        at = put_vector(out, at, agents.position, i)
        at = put_places(out, at, landmarks, 0, m, -1, x, y)
        velocities = at + 2 * (n - 1)
        forests = velocities + 2 * (n - bad - (i >= bad))
        if i >= bad:  # the good see forests first
            forests, velocities = velocities, velocities + self.num_forests
        for j in range(n):
            if j != i:
                there = _in_sight(agents, landmarks, i, j, m, self.num_forests)
                if i == LEADER:
                    there = full_like(x, 1.0)
                store(out, at, there * (load(agents.position, (j, 0)) - x))
                store(out, at + 1, there * (load(agents.position, (j, 1)) - y))
                at += 2
                if j >= bad:
                    store(out, velocities, there * load(agents.velocity, (j, 0)))
                    store(out, velocities + 1, there * load(agents.velocity, (j, 1)))
                    velocities += 2
        for f in range(self.num_forests):
            hidden = overlap(agents, i, landmarks, m - self.num_forests + f)
            store(out, forests + f, 2.0 * hidden - 1.0)
        if i < bad:
            put_message(out, forests + self.num_forests, world.messages, LEADER)

    def score(self, world, reward, metrics):
        """The rewards above; how many touches there are, and agents that eat."""
        agents, landmarks, bad = world.agents, world.landmarks, self.num_adversaries
        n, larder = agents.position.shape[0], self.num_obstacles
        touches, eating = 0.0, 0.0
        for i in range(bad, n):
            touched, fed = 0.0, 0.0
            hunger = distance(agents, i, landmarks, larder)
            for j in range(bad):
                touched = touched + overlap(agents, i, agents, j)
            for j in range(larder, larder + self.num_food):
                fed = fed + overlap(agents, i, landmarks, j)
                hunger = minimum(hunger, distance(agents, i, landmarks, j))
            own = FOOD * fed - 0.05 * hunger - TOUCH * touched
            store(reward, i, own - 2.0 * outside(agents, i))
            touches = touches + touched
            eating = eating + fed
        for j in range(bad):
            closest = distance(agents, j, agents, bad)
            for i in range(bad + 1, n):
                closest = minimum(closest, distance(agents, j, agents, i))
            store(reward, j, TOUCH * touches - 0.1 * closest)
        store(metrics, 0, touches)
        store(metrics, 1, eating)


@inline
def _in_sight(agents, landmarks, i, j, m, forests):
    """1.0 where agent i sees agent j: both in one forest, or neither in any."""
    together = full_like(load(agents.position, (i, 0)), 0.0)
    either = together
    for f in range(m - forests, m):
        own, other = overlap(agents, i, landmarks, f), overlap(agents, j, landmarks, f)
        together = maximum(together, own * other)
        either = maximum(either, maximum(own, other))
    return where(either > 0.0, together, 1.0)
