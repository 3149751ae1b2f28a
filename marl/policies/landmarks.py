"""Policies that need no training, for comparison.

Random and still play in every world, those of heuristics.py and landing.py in theirs. The policies
here are for worlds of landmarks. All but `assignment` use observations only, and work in any world
whose observations have a part "landmarks" (and "agents", for local-assignment). They steer by one
PD controller, clip(p (target - position) - d velocity, -1, 1), with the gains `GAINS` of the
world's integration.
"""

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from marl.agents.auction import AuctionConfig, Auctions
from marl.agents.core.base import Policy, View
from marl.errors import UserError
from marl.worlds.base import Arrays, World
from marl.worlds.compiled.cache import kernel
from marl.worlds.particles.assignment import match, matched
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Group, pieces

# p and d. Explicit steps bounce and act later, so they need smaller gains: with the other gains the
# oracle's coverage at N=4 is .87 instead of .97.
GAINS = {"explicit": (3.0, 3.0), "semi_implicit": (10.0, 1.5)}


class Greedy(Policy):
    """Goes to the nearest landmark."""

    def __init__(self, world: World, seed: int = 0) -> None:
        _check_sight(world, "landmarks")
        self._groups, self._gains = world.groups, _gains(world)

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        _check_steering(self._groups, observation)
        actions = {}
        for g, rows in observation.items():
            landmarks = _items(self._groups[g], "landmarks", rows)
            actions[g] = _steer(landmarks[..., 0, :2], rows[..., :2], self._gains)
        return actions


class LocalAssignment(Policy):
    """Goes to the agent's landmark in the best assignment of the visible agents to the visible
    landmarks; brakes if no landmark is left for it."""

    def __init__(self, world: World, seed: int = 0) -> None:
        _check_sight(world, "agents", "landmarks")
        self._groups, self._gains = world.groups, _gains(world)

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        _check_steering(self._groups, observation)
        actions = {}
        for g, rows in observation.items():
            agents = _items(self._groups[g], "agents", rows)
            landmarks = _items(self._groups[g], "landmarks", rows)
            flat = [x.reshape(-1, *x.shape[2:]).astype(np.float64) for x in (agents, landmarks)]
            targets = _local_targets(*flat).reshape(*rows.shape[:2], 2)
            actions[g] = _steer(targets, rows[..., :2], self._gains)
        return actions


class Assignment(Policy):
    """The oracle: sees everything. It sends every agent to its landmark in the assignment with the
    smallest sum of distances, computed once at the start of an episode."""

    def __init__(self, world: World, seed: int = 0) -> None:
        if not isinstance(world, ParticleWorld):
            raise ValueError("the policy 'assignment' needs a particle world")
        self._world, self._gains = world, _gains(world)
        self._match: np.ndarray | None = None  # i64[E, N], -1 for agents without a landmark

    def reset(self, mask: np.ndarray | None = None) -> None:
        agents, landmarks = self._world.positions()
        if self._match is None or mask is None:
            self._match = np.full(agents.shape[:2], -1)
            mask = np.ones(len(agents), bool)
        new = matched(agents[mask].astype(np.float64), landmarks[mask].astype(np.float64))
        self._match[mask] = new

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self._match is None else {"match": torch.from_numpy(self._match.copy())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._match = state["match"].numpy().copy() if "match" in state else None

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        _check_steering(self._world.groups, observation)
        if self._match is None:
            self.reset()
        match = cast(np.ndarray, self._match)
        agents, landmarks = self._world.positions()
        targets = np.take_along_axis(landmarks, np.maximum(match, 0)[..., None], 1) - agents
        targets = np.where(match[..., None] < 0, 0.0, targets)
        action = _steer(targets, self._world.velocities(), self._gains)
        ends = np.cumsum([len(group) for group in self._world.groups.values()])[:-1]
        return dict(zip(self._world.groups, np.split(action, ends, axis=1), strict=True))


class Claims(Policy):
    """Goes to the landmark that the agent has claimed in the auction among neighbours
    (`agents.auction`)."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self._gains = _gains(world)
        self.auctions = Auctions(world.groups, AuctionConfig(companions=0))
        self.needs = self.auctions.needs
        self._generator = torch.Generator().manual_seed(seed)

    def perceive(self, view: View) -> Arrays:
        return self.auctions.perceive(view, self._generator)

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        for g, rows in perceived.items():
            claim = _items(self.auctions.groups[g], "claim", rows)
            actions[g] = _steer(claim[..., 0, :2], rows[..., :2], self._gains)
        return actions

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.auctions.reset(mask)

    def state_dict(self) -> dict[str, Tensor]:
        return self.auctions.state_dict() | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.auctions.load_state_dict(state)
        self._generator.set_state(state["generator"])


def _items(group: Group, name: str, rows: np.ndarray) -> np.ndarray:
    """One part of observations [E, N, O] as [E, N, count, item]."""
    return pieces(group.observation_parts, rows)[name]


def _check_sight(world: World, *names: str) -> None:
    """Raise ValueError if not all agents see these parts."""
    for group in world.groups.values():
        for name in names:
            if name not in [part.name for part in group.observation_parts]:
                raise ValueError(f"this policy needs observations with a part {name!r}")


def _check_steering(groups: dict[str, Group], played: Iterable[str]) -> None:
    """Raise UserError if the agents of these groups do more than steer."""
    for g in played:
        if groups[g].action_space.shape != (2,) or groups[g].choices:
            raise UserError(f"this policy only steers, but the agents of {g!r} do something else")


def _gains(world: World) -> tuple[float, float]:
    integration = world.scenario.integration if isinstance(world, ParticleWorld) else "explicit"
    return GAINS[integration]


def _steer(target: np.ndarray, velocity: np.ndarray, gains: tuple[float, float]) -> np.ndarray:
    """PD control towards a target in relative coordinates."""
    p, d = gains
    return np.clip(p * target - d * velocity, -1.0, 1.0).astype(np.float32)


@kernel
def _local_targets(agents, landmarks):
    """The target of each agent, [B, 2], from the agents [B, K, item] and landmarks [B, L, item] in
    view, in coordinates relative to it."""
    targets = np.zeros((len(agents), 2))
    for b in range(len(agents)):
        rivals, places = 0, 0
        while rivals < agents.shape[1] and agents[b, rivals, -1] > 0:
            rivals += 1
        while places < landmarks.shape[1] and landmarks[b, places, -1] > 0:
            places += 1
        here = np.zeros((1 + rivals, 2))
        here[1:] = agents[b, :rivals, :2]
        own = match(here, landmarks[b, :places, :2])[0]
        if own >= 0:
            targets[b] = landmarks[b, own, :2]
    return targets
