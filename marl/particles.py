"""All names that a scenario is written with.

>>> from marl.particles import Body, Part, Scenario, load, store, where
"""

from marl.worlds.compiled.random import choice, uniform
from marl.worlds.particles.assignment import assigned_distances
from marl.worlds.particles.lane_arrays import load, store
from marl.worlds.particles.lanes import anywhere, exp, inline, maximum, minimum, sqrt, where
from marl.worlds.particles.layout import Body
from marl.worlds.particles.neighbours import (
    closest,
    distance,
    distance_to,
    nearest,
    overlap,
    overlaps,
)
from marl.worlds.particles.observing import (
    put_message,
    put_one_of,
    put_places,
    put_presence,
    put_relative,
    put_vector,
    put_velocities,
)
from marl.worlds.particles.scenario import Scenario, anywhere_in_square, steps
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Group, Part

__all__ = [
    "Body",
    "Group",
    "Part",
    "ParticleWorld",
    "Scenario",
    "anywhere",
    "anywhere_in_square",
    "assigned_distances",
    "choice",
    "closest",
    "distance",
    "distance_to",
    "exp",
    "inline",
    "load",
    "maximum",
    "minimum",
    "nearest",
    "overlap",
    "overlaps",
    "put_message",
    "put_one_of",
    "put_places",
    "put_presence",
    "put_relative",
    "put_vector",
    "put_velocities",
    "sqrt",
    "steps",
    "store",
    "uniform",
    "where",
]
