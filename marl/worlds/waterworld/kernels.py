"""What agents of Waterworld sense and earn, and the kernels over all worlds."""

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.random import Random
from marl.worlds.waterworld.physics import (
    TICK,
    begin,
    bounce,
    place,
    radius_of,
    speed_of,
    thrust,
    touch,
)


@njit
def sense(own, own_velocity, at, velocity, radius, fastest, first, rays, reach, near, speed):
    """Let the rays of an agent sense one disc, if it is nearer than what they have: `near` [S] is
    the way to the point of the ray that is nearest to its centre, in lengths of the ray; `speed`
    [S] is how fast it recedes. Of a disc that begins just behind the ray's end `near` is 1.0, and
    only the `first` one of its kind then shows its speed, as in v4."""
    x, y = at[0] - own[0], at[1] - own[1]
    squared = x * x + y * y
    if squared > (reach + radius) ** 2 + radius * radius:
        return
    for k in range(len(rays)):
        along = x * rays[k, 0] + y * rays[k, 1]
        if along < 0.0 or along - radius > reach or squared - along * along > radius * radius:
            continue
        share = min(along / reach, 1.0)
        if share < near[k] or first:
            near[k] = share
            vx, vy = velocity[0] - own_velocity[0], velocity[1] - own_velocity[1]
            speed[k] = (vx * rays[k, 0] + vy * rays[k, 1]) / fastest


@njit
def sense_walls(own, rays, reach, size, near):
    """The way to the walls along each ray, in lengths of the ray."""
    for k in range(len(rays)):
        share = 1.0
        for axis in range(2):
            ray = reach * rays[k, axis]
            if abs(ray) > 1e-11:
                end = min(max(own[axis] + ray, 0.0), size)
                share = min(share, (end - own[axis]) / ray)
        near[k] = share if share < 1.0 - 1e-4 else 1.0


@njit
def look(pond, world, rules, rays, poisoned, out):
    """Write the observation of every agent into out f32[N, O], in v4's order."""
    n, s, f = rules.agents, len(rays), rules.agents + rules.food
    step = 2 if rules.speeds else 1  # blocks of a kind
    nothing = np.zeros(2)
    unread = np.empty(s, np.float32)
    for i in range(n):
        own, moving, seen = pond.position[world, i], pond.velocity[world, i], out[i]
        seen[:] = 0.0
        seen[:s] = 1.0
        for k in range(pond.obstacles.shape[1]):
            sense(own, moving, pond.obstacles[world, k], nothing, rules.obstacle_radius, 1.0,
                  False, rays, rules.reach, seen[:s], unread)  # fmt: skip
        sense_walls(own, rays, rules.reach, rules.size, seen[s : 2 * s])
        for kind, low, high in ((0, n, f), (1, f, pond.position.shape[1]), (2, 0, n)):
            at = (2 + step * kind) * s
            near = seen[at : at + s]
            speed = seen[at + s : at + 2 * s] if rules.speeds else unread
            near[:] = 0.0 if kind == 2 and n == 1 and rules.legacy else 1.0
            first = 1 if kind == 2 and i == 0 else low
            for body in range(low, high):
                if body != i:
                    fastest = rules.agent_speed + (
                        rules.agent_speed if kind == 2 else speed_of(rules, body)
                    )
                    sense(own, moving, pond.position[world, body], pond.velocity[world, body],
                          radius_of(rules, body), fastest, body == first, rays, rules.reach,
                          near, speed)  # fmt: skip
        seen[-2] = pond.touching[world, i, : rules.food].any()
        seen[-1] = poisoned[i] > 0


@njit
def pay(pond, world, rules, spent, eaten, poisoned, reward):
    """Write the reward of every agent: for its thrust of length spent f64[N] and for what it
    touches. `local_ratio` of it is the agent's own, the rest is shared. In v4 the last agent pays
    for its thrust twice."""
    n, local = rules.agents, rules.local_ratio
    for i in range(n):
        met = rules.encounter_reward * pond.touching[world, i, : rules.food].sum()
        reward[i] = met + rules.food_reward * eaten[i] + rules.poison_reward * poisoned[i]
    last = rules.thrust_penalty * spent[n - 1]
    if rules.legacy:
        for i in range(n):
            reward[i] += last * (1.0 - local) / n
        reward[n - 1] += last * local
    shared = (1.0 - local) * (reward.sum() + rules.thrust_penalty * spent.sum()) / n
    for i in range(n):
        reward[i] = local * (reward[i] + rules.thrust_penalty * spent[i]) + shared


@kernel
def reset_ponds(pond, keys, draws, fresh, rules, rays, poisoned, observation):
    """Begin anew in all worlds where `fresh`, bool[E]; arrays as in `step_ponds`."""
    for world in range(len(fresh)):
        if fresh[world]:
            begin(pond, world, rules, Random(keys, draws, world))
            poisoned[world] = 0
        look(pond, world, rules, rays, poisoned[world], observation[world])


@kernel
def step_ponds(pond, keys, draws, rules, rays, actions, eaten, poisoned, reward, observation):
    """One step of all worlds, in place: rays f64[S, 2], their directions; actions f32[E, N, 2];
    whether agents were paid for food, eaten bool[E, N]; how much poison they touched, poisoned
    i64[E, N]; reward f64[E, N]; observation f32[E, N, O]."""
    bodies, n = pond.position.shape[1], rules.agents
    spent = np.empty(n)
    moved = np.empty(bodies - n, np.bool_)
    contacts = np.empty((pond.impulse.shape[2], 5))
    for world in range(len(pond.clock)):
        pond.clock[world] += 1
        position, velocity = pond.position[world], pond.velocity[world]
        clearing = pond.clearing[world]
        for i in range(n):
            spent[i] = thrust(velocity[i], actions[world, i], rules)
        for body in range(bodies):
            for axis in range(2):
                position[body, axis] += (velocity[body, axis] + clearing[body, axis]) * TICK
                clearing[body, axis] = 0.0
        touch(pond, world, rules, eaten[world], poisoned[world], moved)
        for body in range(bodies):
            if body >= n and moved[body - n]:
                place(pond, world, body, rules, Random(keys, draws, world), True)
            else:
                bounce(pond, world, body, rules, contacts)
        pay(pond, world, rules, spent, eaten[world], poisoned[world], reward[world])
        look(pond, world, rules, rays, poisoned[world], observation[world])
