"""Rays from walkers to the ground and to legs, as Box2D casts them in multiwalker."""

import math

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel

RAYS = 10
ANGLES = 1.5 * np.arange(RAYS) / RAYS  # rad, from straight down towards the front
SIDES = 5  # the most of a body


@kernel
def cast(
    poses: np.ndarray,  # f64[N, B, 3]: place and angle of each walker's bodies, the hull first
    corners: np.ndarray,  # f64[B, SIDES, 2]: of each body from its place, counterclockwise
    counts: np.ndarray,  # i64[B]: how many corners a body has
    ground: np.ndarray,  # f64[T]: its heights, every `step`
    step: float,
    length: float,  # of a ray
) -> np.ndarray:
    """How far each ray comes from its walker's hull, as a share of its length, f64[N, RAYS]."""
    walkers, bodies, _ = poses.shape
    shares = np.ones((walkers, RAYS))
    for i in range(walkers):
        x, y = poses[i, 0, 0], poses[i, 0, 1]
        for k in range(RAYS):
            dx, dy = length * math.sin(ANGLES[k]), -length * math.cos(ANGLES[k])
            share = to_ground(x, y, dx, dy, ground, step)
            for j in range(walkers):
                near = abs(poses[j, 0, 0] - x) < 3.0 * length
                for b in range(bodies):
                    if near and (i != j or b > 0):  # it begins in the own hull
                        outline = corners[b, : counts[b]]
                        share = to_body(x, y, dx, dy, poses[j, b], outline, share)
            shares[i, k] = share
    return shares


@njit
def to_ground(x: float, y: float, dx: float, dy: float, ground: np.ndarray, step: float) -> float:
    """The share of a ray at which it meets the ground, at most 1."""
    least = 1.0
    first, last = math.floor(x / step), math.floor((x + dx) / step)
    for edge in range(max(first, 0), min(last, len(ground) - 2) + 1):
        rise = ground[edge + 1] - ground[edge]
        across = rise * dx - step * dy
        if across == 0.0:
            continue
        left, down = edge * step - x, ground[edge] - y
        share = (rise * left - step * down) / across
        place = ((share * dx - left) * step + (share * dy - down) * rise) / (step**2 + rise**2)
        if 0.0 <= share <= least and 0.0 <= place <= 1.0:
            least = share
    return least


@njit
def to_body(
    x: float, y: float, dx: float, dy: float, pose: np.ndarray, corners: np.ndarray, most: float
) -> float:
    """The share of a ray at which it enters a convex body, at most `most`. A ray that begins in it
    goes on."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = x - pose[0], y - pose[1]
    x, y, dx, dy = c * x + s * y, c * y - s * x, c * dx + s * dy, c * dy - s * dx
    enters, leaves, outside = 0.0, most, False
    for v in range(len(corners)):
        ax, ay = corners[v]
        bx, by = corners[(v + 1) % len(corners)]
        far = (by - ay) * (ax - x) - (bx - ax) * (ay - y)  # of the side, along its normal
        speed = (by - ay) * dx - (bx - ax) * dy
        if speed < 0.0 and far / speed > enters:
            enters, outside = far / speed, True
        elif speed > 0.0:
            leaves = min(leaves, far / speed)
        elif speed == 0.0 and far < 0.0:
            return most
    return enters if outside and enters <= leaves else most
