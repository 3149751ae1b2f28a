"""Worlds of bodies in the plane; the one door for those who write rules of such worlds."""

from marl.worlds.compiled.random import choice, uniform
from marl.worlds.particles.assignment import assigned_distances, matched
from marl.worlds.particles.lane_arrays import load, store
from marl.worlds.particles.lanes import (
    anywhere,
    exp,
    full_like,
    inline,
    maximum,
    minimum,
    sqrt,
    where,
)
from marl.worlds.particles.layout import Body
from marl.worlds.particles.neighbours import (
    closest,
    distance,
    distance_to,
    nearest,
    overlap,
    overlaps,
    squared_distance,
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
    "full_like",
    "inline",
    "load",
    "matched",
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
    "squared_distance",
    "steps",
    "store",
    "uniform",
    "where",
]
