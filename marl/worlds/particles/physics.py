"""MPE's physics: soft contacts, damping, Euler integration in one of two orders.

Constants and order of operations are those of MPE2 1.1.1 (mpe2/_mpe_utils/core.py): forces are
computed at the old positions, positions move, velocities are damped and pushed. In float64 the
trajectories equal MPE2's to the last bit. Positions move with the old velocities in MPE2, and in
PettingZoo since May 2023 (explicit Euler). They moved with the new velocities in the original MPE
of Lowe et al. 2017 (semi-implicit Euler). The order matters: explicit steps add energy to contacts,
so agents bounce off each other, and an action moves its agent one step later. Time is in seconds.
"""

import math

import numpy as np
from numba import njit

from marl.worlds.particles.lane_arrays import load, store
from marl.worlds.particles.lanes import (
    anywhere,
    full_like,
    inline,
    lane,
    maximum,
    sqrt,
    where,
    width,
    with_lane,
)
from marl.worlds.particles.neighbours import around

TIME_STEP = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
ACCELERATION = 5.0  # force for an action of 1


@inline
def advance(agents, landmarks, force, semi_implicit):
    """Move the agents by one time step. `force` [n, 2] + lanes holds their own forces; contacts are
    added to it."""
    # Beyond this gap a contact, softened by the margin, has faded below the last bit.
    gap = -CONTACT_MARGIN * math.log(np.finfo(force.dtype).eps)
    _add_contacts(agents, agents.cells, gap, force)
    _add_obstacles(agents, landmarks, gap, force)
    for i in range(agents.position.shape[0]):
        if not agents.movable[i]:
            continue
        vx, vy = load(agents.velocity, (i, 0)), load(agents.velocity, (i, 1))
        if not semi_implicit:
            _move(agents.position, i, vx, vy)
        change = TIME_STEP / agents.mass[i]
        vx = vx * (1.0 - DAMPING) + load(force, (i, 0)) * change
        vy = vy * (1.0 - DAMPING) + load(force, (i, 1)) * change
        if agents.max_speed[i] < np.inf:
            speed = sqrt(vx * vx + vy * vy)
            too_fast = speed > agents.max_speed[i]
            vx = where(too_fast, vx / speed * agents.max_speed[i], vx)
            vy = where(too_fast, vy / speed * agents.max_speed[i], vy)
        store(agents.velocity, (i, 0), vx)
        store(agents.velocity, (i, 1), vy)
        if semi_implicit:
            _move(agents.position, i, vx, vy)


@inline
def _move(position, i, vx, vy):
    store(position, (i, 0), load(position, (i, 0)) + vx * TIME_STEP)
    store(position, (i, 1), load(position, (i, 1)) + vy * TIME_STEP)


@inline
def _add_contacts(agents, cells, gap, force):
    """Agents push each other apart. Every agent's sum runs over the others in ascending order, with
    and without cells, so both searches give equal sums."""
    if cells is None:
        for i in range(agents.position.shape[0]):
            for j in range(i + 1, agents.position.shape[0]):
                if agents.collides[i] and agents.collides[j]:
                    _push(agents, i, agents, j, gap, force, True)
    else:
        for i in range(agents.position.shape[0]):
            if not agents.collides[i]:
                continue
            reach = agents.radius[i] + agents.largest + gap
            count = around(cells, agents.position[i, 0], agents.position[i, 1], reach)
            _sort_start(cells.found, count)
            for place in range(count):
                j = cells.found[place]
                if j != i and agents.collides[j]:
                    _push(agents, i, agents, j, gap, force, False)


@inline
def _add_obstacles(agents, landmarks, gap, force):
    """Landmarks that collide push agents and never move."""
    for j in range(landmarks.position.shape[0]):
        if landmarks.collides[j]:
            for i in range(agents.position.shape[0]):
                if agents.collides[i]:
                    _push(agents, i, landmarks, j, gap, force, False)


@inline
def _push(bodies, i, others, j, gap, force, both):
    """Add the contact force between body i and body j of the other bodies to force[i] and, if both
    move, minus it to force[j]."""
    dx = load(bodies.position, (i, 0)) - load(others.position, (j, 0))
    dy = load(bodies.position, (i, 1)) - load(others.position, (j, 1))
    touch = bodies.radius[i] + others.radius[j]
    reach = touch + gap
    squared = dx * dx + dy * dy
    if anywhere(squared < reach * reach):
        distance = maximum(sqrt(squared), 1e-12)  # no direction, so no force, where both coincide
        depth = _penetration(distance - touch, gap)
        fx = CONTACT_FORCE * dx / distance * depth
        fy = CONTACT_FORCE * dy / distance * depth
        store(force, (i, 0), load(force, (i, 0)) + fx)
        store(force, (i, 1), load(force, (i, 1)) + fy)
        if both:
            store(force, (j, 0), load(force, (j, 0)) - fx)
            store(force, (j, 1), load(force, (j, 1)) - fy)


@inline
def _penetration(distance, reach):
    """Softened depth log(1 + exp(-distance / margin)) * margin of surfaces at this (negative)
    distance, in each lane; zero beyond reach."""
    depth = full_like(distance, 0.0)
    for w in range(width(distance)):
        d = lane(distance, w)
        if d < reach:
            depth = with_lane(depth, w, _softened(-d / CONTACT_MARGIN) * CONTACT_MARGIN)
    return depth


@njit
def _softened(x):
    """log(1 + exp(x)) in float64."""
    if x > 40.0:  # the difference from x is below the last bit
        return x
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit
def _sort_start(numbers, count):
    """Sort the first `count` numbers in place, by insertion: there are only a few."""
    for a in range(1, count):
        number = numbers[a]
        b = a - 1
        while b >= 0 and numbers[b] > number:
            numbers[b + 1] = numbers[b]
            b -= 1
        numbers[b + 1] = number
