"""Counter-based random numbers, one stream per world.

A number depends only on the seed, the world's place in the batch, and the count of numbers that the
world has drawn. It does not depend on threads or on the number of worlds. The mixing function is
the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
"""

from collections import namedtuple

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel

Random = namedtuple("Random", "keys draws world")
"""keys, draws: u64[E], each world's stream and how many numbers it has drawn; world: which one."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@njit
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@kernel
def stream_keys(seed, num_worlds):
    """u64[num_worlds]: the key of every world's stream."""
    keys = np.empty(num_worlds, np.uint64)
    root = _mix(np.uint64(seed) + _GOLDEN)
    for world in range(num_worlds):
        keys[world] = _mix(root + np.uint64(world + 1) * _GOLDEN)
    return keys


@njit
def uniform(random, low, high):
    """A float64 drawn uniformly from [low, high) for this world."""
    random.draws[random.world] += np.uint64(1)
    bits = _mix(random.keys[random.world] + random.draws[random.world] * _GOLDEN)
    return low + (high - low) * (np.float64(bits >> np.uint64(11)) * 2.0**-53)


@njit
def choice(random, count):
    """One of 0, 1 ... count - 1 with equal probability, as a float64 for this world."""
    return np.floor(uniform(random, 0.0, count))
