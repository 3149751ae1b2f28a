"""What the loop knows of an agent: act, update, reset."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from marl.learning.exploration import ExplorationConfig
from marl.learning.record import NOTHING, Batch, Columns, Draw, columns_of
from marl.worlds.base import Arrays, Neighbours, World
from marl.worlds.spaces import Group


class Needs(NamedTuple):
    """What a policy needs to see, beside what its agents observe."""

    neighbours: tuple[int, int] = (0, 0)  # so many agents and landmarks by number, as
    # `World.neighbours(*neighbours)` has them
    privileged: bool = False  # `World.privileged`, while it explores

    def __or__(self, other: "Needs") -> "Needs":  # type: ignore[override]
        """What two policies need together."""
        agents, landmarks = map(max, self.neighbours, other.neighbours)
        return Needs((agents, landmarks), self.privileged or other.privileged)


@dataclass(frozen=True)
class View:
    """What there is to see of all worlds in a step."""

    observation: Arrays  # {g: [E, N_g, *O_g]}
    new_episode: np.ndarray | None = None  # bool[E]: this step was perceived before, and only in
    # these worlds has an episode begun since; None: a step has passed in all
    neighbours: dict[str, Neighbours] | None = None  # where the policy needs them
    privileged: Arrays | None = None  # likewise: {g: f32[E, N_g, X_g]}


class Policy(ABC):
    """Something that acts in every world at once.

    In every step it perceives, once, and then acts on what it has perceived. Most perceive what
    they observe. Those who talk to each other do so here, and need to be told who is near whom.
    """

    needs: Needs = Needs()

    def perceive(self, view: View) -> Arrays:
        """What the agents make of what they see, and hear from their neighbours:
        {g: [E, N_g, *P_g]}."""
        return view.observation

    @abstractmethod
    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        """Actions {g: f32[E, N_g, A_g]} in [-1, 1] for what was perceived, {g: [E, N_g, *P_g]};
        greedy unless `explore`."""

    def reset(self, mask: np.ndarray | None = None) -> None:  # noqa: B027 (most have no memory)
        """Forget what belongs to the episodes that begin in the worlds of `mask` (None: all)."""

    def recorded(self) -> Mapping[str, Arrays]:
        """What belongs to the last `act` and is to be stored with its step, for the columns that
        an agent adds: {name: {g: [E, N_g, ...]}}."""
        return NOTHING

    def state_dict(self) -> dict[str, Any]:
        """Everything that later actions depend on, beside the world: a flat dictionary of
        tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most have no memory)
        """Continue from what `state_dict` returned."""


class WrappedPolicy(Policy):
    """Another policy, of which a subclass changes something; all else is as it does it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.needs = policy.needs

    def perceive(self, view: View) -> Arrays:
        return self._policy.perceive(view)

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        return self._policy.act(perceived, explore)

    def reset(self, mask: np.ndarray | None = None) -> None:
        self._policy.reset(mask)

    def recorded(self) -> Mapping[str, Arrays]:
        return self._policy.recorded()


class Agent(Policy):
    """A policy that learns. All agents are made from the same four things."""

    draw: Draw = "agents"  # what `update` learns from: transitions of single agents, or of all
    window: int = 1  # steps in a row, where `draw` is "windows"
    size_invariant = True  # the same weights fit groups of any size
    settings_per_group: ClassVar[bool] = False  # its class takes `others`, {group: settings}
    stackable = False  # agents that differ in their seed only can learn on one stack of networks

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

    def columns(self, groups: dict[str, Group]) -> Columns:
        """What is to be stored of every step of worlds with these groups."""
        return columns_of(groups)

    @abstractmethod
    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        """Learn from what was drawn as `draw` says; return scalars worth logging, still as
        tensors."""

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

    @classmethod
    def stack(cls, agents: "Sequence[Any]") -> "Any":
        """Agents that are `stackable` as one that learns for all: with `act` and `reset` for their
        worlds one after another, `anneal`, and `update` of a list of batches."""
        raise NotImplementedError(f"{cls.__name__} cannot be stacked")

    def freeze(self, group: str, weights: dict[str, Tensor]) -> None:
        """Let a group play by these weights and learn no more. Raises ValueError where they do not
        fit, or groups cannot be frozen."""
        raise ValueError(f"groups of {type(self).__name__} cannot be frozen")


PolicyMaker = Callable[[World, int], Policy]  # from a world and a seed
