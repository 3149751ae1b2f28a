"""The bodies of Waterworld: how they move, bounce, are touched, and begin anew.

Agents, food and poison are discs that pass through each other. Only walls and obstacles push them.
PettingZoo's `waterworld_v4` leaves this to Chipmunk (through pymunk), whose solver is followed here
for what can occur: discs without friction against things that do not move. A length of 1 is the
edge of v4's square, 750 of its pixels; times are seconds; a step is one tick of 1/15 s.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from marl.worlds.compiled.random import uniform

TICK = 1.0 / 15.0
WALLS = 4  # bottom, right, top, left: the first of the things that do not move

WALL_BOUNCE, OBSTACLE_BOUNCE = 0.999, 1.0  # the share of its speed that a disc keeps
SLOP = 0.1 / 750  # overlap that is left alone
CLEARED = 1.0 - 0.9 ** (60 * TICK)  # the share of other overlap that is undone in a step
SWEEPS = 10  # of the solver over all contacts of a disc
FORGOTTEN = 4  # steps after which a contact is a new one

SOLID = 0.1  # the radius at which v4's obstacles push, whatever radius is seen
TRIES = 1000  # to find a free place

Pond = namedtuple("Pond", "position velocity clearing impulse met touching count obstacles clock")
"""The state of E worlds. Bodies are agents, then food, then poison, B in all; there are K
obstacles. position, velocity f64[E, B, 2]; clearing f64[E, B, 2]: a velocity that undoes overlap in
the next step; impulse f64[E, B, 4 + K]: what a wall or obstacle last gave, as a velocity; met
i64[E, B, 4 + K]: when; touching bool[E, N, B - N]: which food and poison agents touch; count
i64[E, F]: touches of the food, as v4 counts them; obstacles f64[E, K, 2]; clock i64[E]: steps."""

Rules = namedtuple(
    "Rules",
    "agents food poison coop radius obstacle_radius size acceleration agent_speed food_speed "
    "poison_speed poison_reward food_reward encounter_reward thrust_penalty local_ratio speeds "
    "legacy reach",
)
"""The settings that the kernels read: those of `Waterworld`, by shorter names."""


@njit
def radius_of(rules, body):
    """The radius of a body, by its number."""
    if body < rules.agents:
        return rules.radius
    return 2.0 * rules.radius if body < rules.agents + rules.food else 0.75 * rules.radius


@njit
def speed_of(rules, body):
    """The most that a body of food or poison moves along either axis."""
    return rules.food_speed if body < rules.agents + rules.food else rules.poison_speed


# ------------------------------------------------------------------------------------------ motion


@njit
def thrust(velocity, action, rules):
    """Accelerate an agent; return the length of its thrust."""
    x = min(max(np.float64(action[0]), -1.0), 1.0)
    y = min(max(np.float64(action[1]), -1.0), 1.0)
    length = np.sqrt(x * x + y * y)
    scale = rules.acceleration / max(length, 1.0)
    limit = rules.agent_speed
    velocity[0] = min(max(velocity[0] + scale * x, -limit), limit)
    velocity[1] = min(max(velocity[1] + scale * y, -limit), limit)
    return scale * length


@njit
def overlap(position, radius, thing, obstacles, rules):
    """How deep a disc is in a wall or obstacle (above 0: it is), and the direction into it."""
    if thing == 0:
        return radius - position[1], 0.0, -1.0
    if thing == 1:
        return radius - (rules.size - position[0]), 1.0, 0.0
    if thing == 2:
        return radius - (rules.size - position[1]), 0.0, 1.0
    if thing == 3:
        return radius - position[0], -1.0, 0.0
    x = obstacles[thing - WALLS, 0] - position[0]
    y = obstacles[thing - WALLS, 1] - position[1]
    apart = np.sqrt(x * x + y * y)
    solid = SOLID if rules.legacy else rules.obstacle_radius
    if apart == 0.0:
        return radius + solid, 1.0, 0.0
    return radius + solid - apart, x / apart, y / apart


@njit
def bounce(pond, world, body, rules, contacts):
    """Let walls and obstacles push one body. `contacts` f64[4 + K, 5] is scratch: direction into
    the thing, the speed to leave it with, the speed to undo overlap with and what is given of it.

    Impulses are as Chipmunk's, divided by the mass: those of a contact that goes on are given again
    before the solver corrects them; those of one that was broken for a step or two are only
    remembered, so a body can then be held back by as much.
    """
    velocity, clearing = pond.velocity[world, body], pond.clearing[world, body]
    impulse, met = pond.impulse[world, body], pond.met[world, body]
    clock, touched = pond.clock[world], 0
    for thing in range(len(impulse)):
        depth, x, y = overlap(
            pond.position[world, body], radius_of(rules, body), thing, pond.obstacles[world], rules
        )
        if depth > 0.0:
            touched += 1
            kept = WALL_BOUNCE if thing < WALLS else OBSTACLE_BOUNCE
            contacts[thing, 0], contacts[thing, 1] = x, y
            contacts[thing, 2] = -kept * (velocity[0] * x + velocity[1] * y)
            contacts[thing, 3] = CLEARED * max(depth - SLOP, 0.0) / TICK
            contacts[thing, 4] = 0.0
            if clock - met[thing] >= FORGOTTEN:
                impulse[thing] = 0.0
    if touched == 0:
        return
    for thing in range(len(impulse)):
        depth, x, y = overlap(
            pond.position[world, body], radius_of(rules, body), thing, pond.obstacles[world], rules
        )
        if depth > 0.0:
            if clock - met[thing] == 1:
                velocity[0] -= impulse[thing] * x
                velocity[1] -= impulse[thing] * y
            met[thing] = clock
    for _ in range(SWEEPS if touched > 1 else 1):
        for thing in range(len(impulse)):
            if met[thing] == clock:
                push(velocity, clearing, impulse, contacts[thing], thing)


@njit
def push(velocity, clearing, impulse, contact, thing):
    """One step of the solver for one contact of one body."""
    x, y = contact[0], contact[1]
    given = max(contact[4] + contact[3] + clearing[0] * x + clearing[1] * y, 0.0)
    clearing[0] -= (given - contact[4]) * x
    clearing[1] -= (given - contact[4]) * y
    contact[4] = given
    given = max(impulse[thing] - contact[2] + velocity[0] * x + velocity[1] * y, 0.0)
    velocity[0] -= (given - impulse[thing]) * x
    velocity[1] -= (given - impulse[thing]) * y
    impulse[thing] = given


# ------------------------------------------------------------------------------------------ places


@njit
def place(pond, world, body, rules, random, clear):
    """Put a body anywhere; `clear`: off the obstacles. Food and poison get a velocity."""
    position, velocity = pond.position[world, body], pond.velocity[world, body]
    for _ in range(TRIES):
        position[0] = uniform(random, 0.0, rules.size)
        position[1] = uniform(random, 0.0, rules.size)
        free = True
        for k in range(pond.obstacles.shape[1]):
            x = position[0] - pond.obstacles[world, k, 0]
            y = position[1] - pond.obstacles[world, k, 1]
            apart = 2.0 * radius_of(rules, body) + rules.obstacle_radius
            free = free and x * x + y * y > apart * apart
        if free or not clear:
            break
    velocity[:] = 0.0
    if body >= rules.agents:
        velocity[0] = uniform(random, -1.0, 1.0) * speed_of(rules, body)
        velocity[1] = uniform(random, -1.0, 1.0) * speed_of(rules, body)


@njit
def begin(pond, world, rules, random):
    """A new episode of one world. v4 lets bodies begin in an obstacle, which then pushes them out.
    Several obstacles stand anywhere, a single one in the middle."""
    for k in range(pond.obstacles.shape[1]):
        for axis in range(2):
            anywhere = uniform(random, 0.0, rules.size)
            middle = pond.obstacles.shape[1] == 1
            pond.obstacles[world, k, axis] = 0.5 * rules.size if middle else anywhere
    for body in range(pond.position.shape[1]):
        place(pond, world, body, rules, random, not rules.legacy)
    pond.clearing[world] = 0.0
    pond.impulse[world] = 0.0
    pond.met[world] = -FORGOTTEN
    pond.touching[world] = False
    pond.count[world] = 0
    pond.clock[world] = 0


# ------------------------------------------------------------------------------------------ touches


@njit
def touch(pond, world, rules, eaten, poisoned, moved):
    """Find who touches what after a move. Writes whether each agent is paid for food, eaten
    bool[N]; how many new touches of poison it has, poisoned i64[N]; and which food and poison
    begins anew, moved bool[F + P]."""
    eaten[:] = False
    poisoned[:] = 0
    moved[:] = False
    n = rules.agents
    position, touching = pond.position[world], pond.touching[world]
    for kind in range(rules.food + rules.poison):
        together = rules.radius + radius_of(rules, n + kind)
        reached = 0
        for i in range(n):  # in v4, touches begin in any order; all begin before any ends
            x = position[i, 0] - position[n + kind, 0]
            y = position[i, 1] - position[n + kind, 1]
            touches = x * x + y * y < together * together
            reached += touches
            if touches and not touching[i, kind]:
                if kind >= rules.food:
                    poisoned[i] += 1
                    moved[kind] = True
                elif rules.legacy:
                    pond.count[world, kind] += 1
                    eaten[i] = eaten[i] or pond.count[world, kind] >= rules.coop
        caught = not rules.legacy and kind < rules.food and reached >= rules.coop
        moved[kind] = moved[kind] or caught
        for i in range(n):
            x = position[i, 0] - position[n + kind, 0]
            y = position[i, 1] - position[n + kind, 1]
            touches = x * x + y * y < together * together
            eaten[i] = eaten[i] or (caught and touches)
            if rules.legacy and kind < rules.food and touching[i, kind] and not touches:
                leave(pond, world, rules, i, kind, eaten, moved)
            touching[i, kind] = touches


@njit
def leave(pond, world, rules, agent, food, eaten, moved):
    """An agent no longer touches a piece of food, as v4 treats it. The first who leaves a piece
    that enough have touched is paid and sends it away, with the count at 0. The others leave later
    and are subtracted all the same: from then on that piece needs more agents than before."""
    if pond.count[world, food] < rules.coop:
        pond.count[world, food] -= 1
    else:
        pond.count[world, food] = 0
        eaten[agent] = True
        moved[food] = True
