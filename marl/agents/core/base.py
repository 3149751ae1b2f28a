"""Policy and Agent: the interface between agents and the loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from marl.learning.exploration import ExplorationConfig
from marl.learning.record import NOTHING, Batch, Columns, Draw, Sampling, columns_of
from marl.worlds.base import Arrays, Neighbours, World
from marl.worlds.spaces import Group


class Needs(NamedTuple):
    """The inputs that a policy needs besides the observation."""

    neighbours: tuple[int, int] = (0, 0)  # numbers of the nearest agents and landmarks, this many
    # of each: `World.neighbours(*neighbours)`
    privileged: bool = False  # `World.privileged`, while the policy explores

    def __or__(self, other: "Needs") -> "Needs":  # type: ignore[override]
        """The needs of two policies together."""
        agents, landmarks = map(max, self.neighbours, other.neighbours)
        return Needs((agents, landmarks), self.privileged or other.privileged)


@dataclass(frozen=True)
class View:
    """The inputs of a policy in one step of all worlds."""

    observation: Arrays  # {g: [E, N_g, *O_g]}
    new_episode: np.ndarray | None = None  # bool[E]: the policy has perceived this step before, and
    # an episode has begun since in these worlds only; None: all worlds have made a step
    neighbours: dict[str, Neighbours] | None = None  # if the policy needs them
    privileged: Arrays | None = None  # if the policy needs it: {g: f32[E, N_g, X_g]}


class Policy(ABC):
    """A policy acts in all worlds at once.

    In each step the loop calls `perceive` once and then `act` with its result. Most policies
    perceive the observation. Agents that communicate exchange their messages in `perceive`.
    """

    needs: Needs = Needs()

    def perceive(self, view: View) -> Arrays:
        """The percept of every agent, {g: [E, N_g, *P_g]}: the actor's input, which replay
        stores."""
        return view.observation

    @abstractmethod
    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        """Actions {g: f32[E, N_g, A_g]} in [-1, 1] for the percepts {g: [E, N_g, *P_g]}; greedy
        unless `explore`."""

    def reset(self, mask: np.ndarray | None = None) -> None:  # noqa: B027 (most have no memory)
        """Forget the last episode in the worlds of `mask` (bool[E]; None: all)."""

    def recorded(self) -> Mapping[str, Arrays]:
        """Values of the last `act` for the columns that an agent adds:
        {name: {g: [E, N_g, ...]}}. Replay stores them with the step."""
        return NOTHING

    def state_dict(self) -> dict[str, Any]:
        """The state from which the policy continues, as a flat dictionary of tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most have no memory)
        """Continue from what `state_dict` returned."""


class WrappedPolicy(Policy):
    """A policy that forwards all calls to another one; a subclass overrides some of them."""

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
    """A policy that learns. The constructors of all agents take the same four arguments."""

    draw: Draw = "agents"  # how the batches of `update` are drawn
    window: int = 1  # steps in a row, if `draw` is "windows"
    size_invariant = True  # the same weights fit groups of any size
    settings_per_group: ClassVar[bool] = False  # the constructor takes `others`, {group: settings}
    stackable = False  # agents with different seeds can learn on one stack of networks

    @abstractmethod
    def __init__(
        self,
        groups: dict[str, Group],
        config: Any,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        """An untrained agent for these groups. `config` belongs to the model in the agent's
        `AgentKind`. `exploration` None: the defaults. All random streams of the agent derive from
        `seed`. Raises ValueError if the groups or settings do not fit."""

    def columns(self, groups: dict[str, Group]) -> Columns:
        """The columns that memory stores of every step of worlds with these groups."""
        return columns_of(groups)

    def sampling(self, groups: dict[str, Group]) -> dict[str, Sampling]:
        """How the batches of each group that learns are drawn."""
        return dict.fromkeys(self.columns(groups), Sampling(self.draw, self.window))

    @abstractmethod
    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        """Learn from a batch drawn as `draw` says; return scalars for the log, as detached
        tensors."""

    @abstractmethod
    def anneal(self, progress: float) -> None:
        """Set learning rates and exploration for this share (0 to 1) of training done."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The part of the state that greedy actions need; a run publishes it."""

    @abstractmethod
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Act with these weights. Raises ValueError with the name of a weight that does not fit."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The state from which learning continues bit for bit (after the same `anneal`), as a flat
        dictionary of tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""

    @classmethod
    def stack(cls, agents: "Sequence[Any]") -> "Any":
        """One policy that acts and learns for several `stackable` agents. Its worlds are those of
        the first agent, then those of the second, and so on; `update` takes a batch for each."""
        raise NotImplementedError(f"{cls.__name__} cannot be stacked")

    def freeze(self, group: str, weights: dict[str, Tensor]) -> None:
        """Let a group play with these weights and stop its learning. Raises ValueError if they do
        not fit, or if the agent cannot freeze groups."""
        raise ValueError(f"groups of {type(self).__name__} cannot be frozen")


PolicyMaker = Callable[[World, int], Policy]  # takes a world and a seed
