"""What the loop knows of an agent: act, update, reset."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from marl.learning.exploration import ExplorationConfig
from marl.learning.replay import Batch
from marl.worlds.base import Arrays, Neighbours, World
from marl.worlds.spaces import Group


class Policy(ABC):
    """Something that acts in every world at once.

    In every step it perceives, once, and then acts on what it has perceived. Most perceive what
    they observe. Those who talk to each other do so here; they set `knows` and are told who is near
    whom.
    """

    privileged = False  # learns from what agents cannot know, `World.privileged`
    knows: tuple[int, int] = (0, 0)  # so many neighbours and landmarks by number, as
    # `World.neighbours(*knows)` has them

    def perceive(
        self,
        observation: Arrays,
        neighbours: dict[str, Neighbours] | None = None,
        begun: np.ndarray | None = None,
        privileged: Arrays | None = None,
    ) -> Arrays:
        """What the agents make of what they observe, {g: f32[E, N_g, O_g]}, and hear from their
        neighbours: {g: f32[E, N_g, P_g]}. `begun` bool[E]: it was called before in this step,
        and only in these worlds has an episode begun since; None: a step has passed in all.
        `privileged` is what `World.privileged` says, for those who learn from it."""
        return observation

    @abstractmethod
    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        """Actions {g: f32[E, N_g, A_g]} in [-1, 1] for what was perceived, {g: f32[E, N_g, P_g]};
        greedy unless `explore`."""

    def reset(self, mask: np.ndarray | None = None) -> None:  # noqa: B027 (most have no memory)
        """Forget what belongs to the episodes that begin in the worlds of `mask` (None: all)."""

    def kept(self) -> Arrays:
        """What belongs to the last `act` and is to be stored with the transition, whole numbers
        {g: i[E, N_g, ...]}; their shapes are in `Agent.keeps`."""
        return {}


class Agent(Policy):
    """A policy that learns. All agents are made from the same four things."""

    whole_steps = False  # learns from whole steps of a world, not from transitions of single agents
    any_number = True  # the same weights fit groups of any size
    keeps: Mapping[str, tuple[int, ...]] = MappingProxyType({})  # shape per agent of what is `kept`
    perceives: dict[str, Group] | None = None  # groups with the spaces of what is perceived, which
    # is what replay holds; None: it is what is observed

    @abstractmethod
    def __init__(
        self,
        groups: dict[str, Group],
        config: Any,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        """An untrained agent for these groups. `config` is of the model that stands next to the
        agent's class in its `AgentKind`; exploration None: its defaults; all random streams of the
        agent derive from `seed`. Raises ValueError where the groups do not fit it."""

    @abstractmethod
    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        """Learn from a batch of [B, N, ...], N being 1 unless `whole_steps`; return scalars worth
        logging, still as tensors."""

    @abstractmethod
    def anneal(self, progress: float) -> None:
        """Set learning rates and exploration for this share (0 to 1) of training done."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """What is needed to act: the part of the state that is published."""

    @abstractmethod
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Act with these weights. Raises ValueError, naming the weight, where a shape differs."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything from which learning continues bit for bit (after the same `anneal`): a flat
        dictionary of tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


PolicyMaker = Callable[[World, int], Policy]  # from a world and a seed
