"""What all families share that learn an actor and critics from replay (DDPG, SAC): settings,
networks, batches, and an agent with a learner for each group.

Shapes: N agents of a group, B transitions, [N, B, size]; the networks take [K, rows, size], with K
stacked networks. N is 1 for transitions of single agents, and for one actor that controls all.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from marl.agents.core.checks import check_augment, check_network
from marl.agents.core.critic_inputs import Look
from marl.agents.core.learner import (
    Learner,
    LearningAgent,
    Logged,
    adam,
    frozen,
    mean_of_present,
    piecewise,
    rows_of,
)
from marl.learning.augmentation import changes_of
from marl.learning.record import Batch
from marl.nn import NETWORKS
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group, Part


class OffPolicyConfig(BaseModel):
    """Settings of every agent that learns an actor and critics from replay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer_norm: tuple[Literal["actor", "critic"], ...] = Field(
        (), description="networks whose hidden layers have layer normalisation"
    )
    normalise: bool = Field(
        False, description="mlp: shift and scale observations by their running statistics"
    )
    gamma: float = Field(0.9, ge=0, lt=1, description="discount factor")
    tau: float = Field(0.01, gt=0, le=1, description="step of the target networks at each update")
    actor_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of the actor")
    critic_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of the critic")
    final_lr: float = Field(
        1.0, gt=0, le=1, description="learning rates fall linearly to this share of their start"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the actor average that acts greedily; 0: no average"
    )
    gradient_clip: float = Field(
        0.0, ge=0, description="largest norm of a network's gradient; 0: no limit"
    )
    augment: bool = Field(
        False,
        description="turn and reflect batches by the square's symmetries; shift pictures at random",
    )


class NetworkConfig(OffPolicyConfig):
    """With the kind and size of actor and critics."""

    name: str
    network: Literal["mlp", "set"] = Field("mlp", description="kind of actor and critic network")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64, 32, 32), min_length=1, description="mlp: units of each hidden layer"
    )
    width: int = Field(64, ge=1, description="set: units of each layer")
    actor_pool: bool = Field(
        True,
        description="set: the actor also gets the maximum over all targets, which grows with them",
    )
    encoder: Literal["nature", "residual"] = Field(
        "nature", description="pictures: the convolutions before the hidden layers"
    )


class Sizes(NamedTuple):
    """Of a group's networks: K of the stack, the actor's outputs, and a critic's values."""

    stack: int
    outputs: int
    values: int = 1
    acts: bool = True  # is the agent's own action in its critic's input?


def make_networks(
    g: str, groups: dict[str, Group], config: NetworkConfig, sizes: Sizes, joint: bool
) -> tuple[nn.Module, Callable[[], nn.Module]]:
    """The actor of a group and a maker of its critics. `joint`: the critics see everybody's
    observations and actions. Raises ValueError if the networks cannot be of this kind."""
    check_network(config, groups, joint)

    def network(of: str, parts: tuple[Part, ...], o: int, a: int, outputs: int) -> nn.Module:
        shape = (config.hidden, config.width, of in config.layer_norm)
        pool = of == "critic" or config.actor_pool
        return NETWORKS[config.network](
            sizes.stack, parts, o, a, outputs, *shape, pool, config.encoder
        )

    group = groups[g]
    parts = group.observation_parts
    o, (own,) = group.observation_size, group.action_space.shape
    actor = network("actor", parts, o, 0, sizes.outputs)
    a = own
    if joint:
        parts = ()
        o = sum(len(x) * x.observation_size for x in groups.values())
        a = sum(len(x) * x.action_space.shape[0] for x in groups.values())
    a = a if sizes.acts else a - own
    return actor, partial(network, "critic", parts, o, a, sizes.values)


class LearnerBatch(NamedTuple):
    """A learner's batch, [N, B, size]."""

    observation: Tensor
    action: Tensor
    next_observation: Tensor
    seen: Tensor  # the part of the observation that the actor sees
    next_seen: Tensor
    reward: Tensor
    terminated: Tensor
    present: Tensor | None = None  # [N, B, 1]: 0.0 for agents that had left
    stays: Tensor | None = None  # [N, B, A]: 0.0 if the agent has left after the step
    legal: Tensor | None = None  # bool[N, B, A]: the choices that were allowed
    next_legal: Tensor | None = None


class CriticInputs(NamedTuple):
    """The inputs of a group's critics, [N, B, size]."""

    observation: Tensor
    action: Tensor
    next_observation: Tensor
    next_action: Tensor


class OffPolicyLearner(Learner):
    """An actor, critics and their targets, and optimisers of one group of agents."""

    def __init__(
        self,
        config: OffPolicyConfig,
        group: Group,
        stack: int,
        actor: nn.Module,
        make_critic: Callable[[], nn.Module],
        critics: int,
    ) -> None:
        """`group`: the actor's spaces. Raises ValueError if the config does not fit them."""
        check_augment(config, group)
        self.config = config
        self.stack = stack
        self.actor = actor
        self.critics = nn.ModuleList(make_critic() for _ in range(critics))
        self.target_critics = frozen(self.critics)
        self.greedy = frozen(self.actor) if config.average else self.actor
        self.actor_optimiser = adam(self.actor, config.actor_lr)
        self.critic_optimiser = adam(self.critics, config.critic_lr)
        self.optimisers = ("actor_optimiser", "critic_optimiser")
        self.stored = ("actor", "critics", "target_critics", "greedy")
        self.published = nn.ModuleDict({"actor": self.greedy})
        if config.normalise:
            self.normalise(group)
        self._changes = changes_of(group) if config.augment else None

    def output(self, actor: nn.Module, seen: Tensor) -> Tensor:
        """The actor's output [N, B, outputs] for normalised observations [N, B, O]."""
        dtype = torch.promote_types(seen.dtype, torch.float32)  # products may be of 16 bits
        return piecewise(actor, self.stacked(seen)).to(dtype).view(*seen.shape[:2], -1)

    def augment(
        self, o: Tensor, a: Tensor, o2: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Observations and actions [B, N, size], with `augment` turned, reflected or shifted."""
        if self._changes is None:
            return o, a, o2
        of_observations, of_actions = self._changes
        return (
            of_observations(o, generator),
            of_actions(a, generator),
            of_observations(o2, generator),
        )

    def estimate(self, critic: nn.Module, o: Tensor, a: Tensor) -> Tensor:
        """A critic's values of what was done, [K, rows, 1]; o and a are its inputs."""
        return critic(o, a)

    def critic_loss(
        self, o: Tensor, a: Tensor, y: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Logged]:
        """Mean squared error of the critics, [K], summed over the critics, and values to log."""
        estimates = [self.estimate(q, o, a).to(y.dtype) for q in self.critics.children()]
        errors = [mean_of_present((q - y).square(), present) for q in estimates]
        loss = torch.stack(errors).sum(0)
        value = mean_of_present(estimates[0].detach(), present)
        return loss, {"critic_loss": loss.detach(), "value": value}


L = TypeVar("L", bound=OffPolicyLearner)


class OffPolicyAgent(LearningAgent[L]):
    """A learner for each group; critics may see the other groups."""

    looks: dict[str, tuple[Look, Look]]  # how critics see observations and actions, see `looks_of`

    def joined(self, g: str, rows: Tensor) -> Tensor:
        """Rows of everybody, [..., N, size], as the group's actors get them."""
        return rows

    def seen(self, g: str, perceived: Arrays, explore: bool) -> Tensor:
        """The inputs of a group's actors, [N, E, O]."""
        rows = self.joined(g, rows_of(perceived[g]))
        return self.learners[g].normalised(rows.transpose(0, 1), learn=explore)

    def legal(self, g: str, observation: Tensor) -> Tensor | None:
        """The choices that observations [E, N, O] allow, bool[N, E, A]; see `Group.legal`."""
        legal = self.groups[g].legal(observation)
        return None if legal is None else self.joined(g, legal).transpose(0, 1)

    def attended(self, g: str, batch: Batch) -> tuple[Batch, Tensor | None]:
        """The batch, in which agents that had left do nothing; and 0.0 for the actions, [B, N, A],
        of agents that have left after the step (None: nobody ever left)."""
        if batch.present is None:
            return batch, None
        stays = (batch.present * (1.0 - batch.terminated))[..., None].expand_as(batch.action)
        return replace(batch, action=batch.action * batch.present[..., None]), stays

    def prepare(self, g: str, batch: Batch) -> LearnerBatch:
        """A batch [B, N, ...] -> [N, B, ...], with `augment` and `normalise`."""
        learner = self.learners[g]
        legal = self.legal(g, batch.observation), self.legal(g, batch.next_observation)
        batch, stays = self.attended(g, batch)
        vectors = batch.observation, batch.action, batch.next_observation
        vectors = learner.augment(*vectors, self.generator)
        observation, action, next_observation = (x.transpose(0, 1) for x in vectors)
        observation = learner.normalised(observation)
        next_observation = learner.normalised(next_observation)
        reward, terminated = batch.reward.T[..., None], batch.terminated.T[..., None]
        present = None if batch.present is None else batch.present.T[..., None]
        stays = None if stays is None else stays.transpose(0, 1)
        shown = observation, action, next_observation, observation, next_observation
        return LearnerBatch(*shown, reward, terminated, present, stays, *legal)

    def critic_inputs(
        self, g: str, steps: dict[str, LearnerBatch], next_actions: dict[str, Tensor]
    ) -> CriticInputs:
        """The inputs of a group's critics."""
        look, act = self.looks[g]
        return CriticInputs(
            look({h: x.observation for h, x in steps.items()}, g),
            act({h: x.action for h, x in steps.items()}, g),
            look({h: x.next_observation for h, x in steps.items()}, g),
            act(next_actions, g),
        )
