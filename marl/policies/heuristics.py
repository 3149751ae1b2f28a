"""Heuristics of single scenarios, from observations alone."""

import numpy as np

from marl.agents.core.base import Policy
from marl.policies.random import Random
from marl.worlds.base import Arrays, World
from marl.worlds.pistonball.world import PISTONS
from marl.worlds.pursuit.rules import CHANNELS, MOVES, PURSUERS
from marl.worlds.pursuit.world import TEAM
from marl.worlds.spaces import one_hot, pieces
from marl.worlds.waterworld.world import PURSUERS as SWIMMERS
from marl.worlds.waterworld.world import WAYS

URGENT = 2.0  # cells: by how much a held side of an evader brings its other sides nearer
CLOSE = 0.8  # of a ray's length: poison nearer than that is avoided


class Wave(Policy):
    """Pistonball: raises the pistons on the right of the ball, behind it, and lowers the others."""

    def __init__(self, world: World, seed: int = 0) -> None:
        _check_home(world, "pistonball", PISTONS, "ball")
        self._group = world.groups[PISTONS]

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        rows = observation[PISTONS]
        ball = pieces(self._group.observation_parts, rows)["ball"][..., 0, :]
        behind = ball[..., 0] < 0.0
        if self._group.choices:  # down, stay, up
            return {PISTONS: one_hot(np.where(behind, 2, 0), 3)}
        return {PISTONS: np.where(behind, 1.0, -1.0)[..., None].astype(np.float32)}


class Chase(Random):
    """Pursuit: goes to the nearest side of an evader in sight that no other pursuer holds; a side
    is the nearer, the more of the evader's other sides are held or walled. It draws among equal
    ways, and moves at random where it sees no such side."""

    def __init__(self, world: World, seed: int = 0) -> None:
        _check_home(world, "pursuit", TEAM, "window")
        super().__init__(world, seed)
        (part,) = world.groups[TEAM].observation_parts
        self._side = round((part.size // CHANNELS) ** 0.5)
        across = np.arange(self._side) - self._side // 2
        self._cells = np.stack(np.meshgrid(across, across), -1).reshape(-1, 2)  # (x, y) of each

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        rows = observation[TEAM]
        view = rows.reshape(*rows.shape[:2], self._side, self._side, CHANNELS)
        wall, pursuers, evaders = np.moveaxis(view > 0, -1, 0)
        middle = self._side // 2
        pursuers[..., middle, middle] = view[..., middle, middle, PURSUERS] > 1  # not itself
        held = sum(_beside(wall | pursuers))  # of the four cells beside each
        worth = np.max(_beside(np.where(evaders, 1.0 + URGENT * held, 0.0)), axis=0)
        goal = ((worth > 0) & ~wall & ~pursuers).reshape(*rows.shape[:2], -1)
        cost = np.abs(self._cells).sum(1) - worth.reshape(goal.shape)
        cost = np.where(goal, cost + self._rng.uniform(0, 0.1, goal.shape), np.inf)
        target = self._cells[cost.argmin(-1)]  # [E, N, 2]
        left = np.abs(target[..., None, :] - np.array(MOVES)).sum(-1)  # the way after each move
        left = left + self._rng.uniform(0, 0.1, left.shape)
        for k, (x, y) in enumerate(MOVES):
            if middle:
                left[..., k] += 9.0 * wall[..., middle + y, middle + x]
        to_goal = one_hot(left.argmin(-1), len(MOVES))
        wander = super().act(observation)[TEAM]
        return {TEAM: np.where(goal.any(-1)[..., None], to_goal, wander)}


def _beside(grid: np.ndarray) -> list[np.ndarray]:
    """What is on the left, on the right, below and above of each cell, [..., Y, X]; 0 outside."""
    padded = np.pad(grid, [(0, 0)] * (grid.ndim - 2) + [(1, 1)] * 2)
    shifts = (padded[..., 1:-1, :-2], padded[..., 1:-1, 2:], padded[..., :-2, 1:-1])
    return [1.0 * x for x in (*shifts, padded[..., 2:, 1:-1])]


class Forage(Policy):
    """Waterworld: swims along the ray on which food is nearest, and away from near poison."""

    def __init__(self, world: World, seed: int = 0) -> None:
        _check_home(world, "waterworld", SWIMMERS, "food_distance")
        self._group = world.groups[SWIMMERS]
        rays = self._group.observation_parts[0].scalars
        angles = np.arange(rays) * (2 * np.pi / rays)
        self._rays = np.stack([np.cos(angles), np.sin(angles)], -1)

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        seen = pieces(self._group.observation_parts, observation[SWIMMERS])
        food, poison = seen["food_distance"][..., 0, :], seen["poison_distance"][..., 0, :]
        towards = self._rays[food.argmin(-1)] * (food.min(-1, keepdims=True) < 1.0)
        away = self._rays[poison.argmin(-1)] * (poison.min(-1, keepdims=True) < CLOSE)
        thrust = (towards - away).astype(np.float32)
        if self._group.choices:
            thrust = one_hot((thrust @ WAYS.T).argmax(-1), len(WAYS))
        return {SWIMMERS: thrust}


def _check_home(world: World, home: str, g: str, part: str) -> None:
    """Raise ValueError if a world has no such group, or one that sees something else."""
    parts = world.groups[g].observation_parts if g in world.groups else ()
    if part not in [each.name for each in parts]:
        raise ValueError(f"this policy needs the world {home!r}")
