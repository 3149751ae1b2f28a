"""Functions that write an observation, one number after another.

Every function writes into out[at], out[at + 1]... and returns the next place.
"""

from marl.worlds.particles.lane_arrays import gather, load, store
from marl.worlds.particles.lanes import inline, where


@inline
def put_vector(out, at, array, i):
    """Write array[i], a plane vector."""
    store(out, at, load(array, (i, 0)))
    store(out, at + 1, load(array, (i, 1)))
    return at + 2


@inline
def put_relative(out, at, array, number, x, y):
    """Write array[number] - (x, y), a plane vector; zeros if `number` is -1. Each lane has its own
    number."""
    store(out, at, gather(array, number, 0, x) - x)
    store(out, at + 1, gather(array, number, 1, y) - y)
    return at + 2


@inline
def put_presence(out, at, number):
    """Write 1.0, or 0.0 if `number` is -1."""
    store(out, at, where(number >= 0.0, 1.0, 0.0))
    return at + 1


@inline
def put_places(out, at, bodies, first, last, skip, x, y):
    """Write the positions of bodies first..last - 1 relative to (x, y), without number `skip`."""
    for j in range(first, last):
        if j != skip:
            store(out, at, load(bodies.position, (j, 0)) - x)
            store(out, at + 1, load(bodies.position, (j, 1)) - y)
            at += 2
    return at


@inline
def put_velocities(out, at, bodies, first, last, skip):
    """Write the velocities of bodies first..last - 1, without number `skip`."""
    for j in range(first, last):
        if j != skip:
            at = put_vector(out, at, bodies.velocity, j)
    return at


@inline
def put_message(out, at, messages, i):
    """Write the message of agent i."""
    for c in range(messages.shape[1]):
        store(out, at + c, load(messages, (i, c)))
    return at + messages.shape[1]


@inline
def put_one_of(out, at, number, count, low, high):
    """Write `count` numbers: `high` at place `number`, `low` elsewhere."""
    for c in range(count):
        store(out, at + c, where((number >= c) & (number <= c), high, low))
    return at + count
