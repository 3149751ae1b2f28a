"""Deep deterministic policy gradient (Lillicrap et al. 2015, algorithm 1) for many agents.

Three choices span the family: what the actor sees, what the critic sees, and whether every agent
has networks of its own or all share one (`FAMILY`). Networks of their own are stacked, so there is
no loop over agents. How actor and critic are improved is in `actor_critic`.

Shapes: N agents of a group, B transitions, [N, B, size] throughout. Where transitions of single
agents are drawn, N is 1; so it is where one actor and one critic control all agents together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from marl.agents.core.actor_critic import ActorCritic, ActorCriticConfig, of_all
from marl.agents.core.learner import LearningAgent, below, piecewise
from marl.learning.augmentation import RandomViews
from marl.learning.exploration import ExplorationConfig
from marl.learning.replay import Batch
from marl.nn import NETWORKS
from marl.nn.heads import ActionHead
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group
from marl.worlds.views import JointView


@dataclass(frozen=True)
class Row:
    """What makes a member of the family."""

    actor: Literal["own", "all"]  # observations that the actor sees
    critic: Literal["own", "all"]  # observations and actions that the critic sees
    networks: Literal["one", "each"]  # one actor and critic a group, or for each agent


FAMILY = {
    "ddpg": Row(actor="own", critic="own", networks="each"),  # independent learners
    "global": Row(actor="all", critic="all", networks="one"),  # one mind for all bodies
    "atoc": Row(actor="own", critic="own", networks="one"),  # Jiang & Lu 2018, no communication
    "maddpg": Row(actor="own", critic="all", networks="each"),  # Lowe et al. 2017
    "saddpg": Row(actor="own", critic="all", networks="one"),  # shared actor and critic
}


class DDPGConfig(ActorCriticConfig):
    """Settings of the DDPG family."""

    name: Literal["ddpg", "global", "atoc", "maddpg", "saddpg"] = "atoc"
    network: Literal["mlp", "set"] = Field("mlp", description="kind of actor and critic network")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64, 32, 32), min_length=1, description="mlp: units of the hidden layers"
    )
    width: int = Field(64, ge=1, description="set: units of every layer")
    actor_pool: bool = Field(
        True,
        description="set: the actor has the maximum over all targets, too, which grows with them",
    )
    random_views: dict[str, NonNegativeInt] = Field(
        {}, description="smallest number of items of each part to show, at random, in training"
    )
    frozen: str = Field(
        "",
        description="in `agents`: a run or file by whose weights the group plays, without learning",
    )

    @property
    def row(self) -> Row:
        """What makes it the member of the family that it is."""
        return FAMILY[self.name]


class DDPG(LearningAgent["_Learner"]):
    """Deterministic policy gradient: a learner for each group, and what they see of each other."""

    def __init__(
        self,
        groups: dict[str, Group],
        config: DDPGConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
        others: Mapping[str, DDPGConfig] = MappingProxyType({}),
    ) -> None:
        """`others` are the settings of groups that are not as `config` says. Raises ValueError for
        settings that do not fit."""
        configs = {g: others.get(g, config) for g in groups}
        self.alike = not others
        self._rows = {g: own.row for g, own in configs.items()}
        rows = self._rows.values()
        # Only where nobody's networks need to know whose transition it was may agents be mixed.
        self.whole_steps = any(row != FAMILY["atoc"] for row in rows)
        self.any_number = all(row.actor == "own" and row.networks == "one" for row in rows)
        self._shown: dict[str, Tensor] = {}  # with random views: items shown, [N, E, parts]
        self._views = {
            g: JointView(groups[g]) for g, row in self._rows.items() if row.actor == "all"
        }
        seen = {g: self._views[g].group if g in self._views else groups[g] for g in groups}
        super().__init__(groups, config, exploration, seed, lambda g: _Learner(g, seen, configs[g]))
        self._learn = {g: not own.frozen for g, own in configs.items()}
        self._doing = {g: ActionHead(group) for g, group in groups.items()}
        self.chooses = any(group.choices for group in groups.values())
        if self.chooses and self._noise:
            raise ValueError(
                "exploration.kind is 'psne', which disturbs numbers; world.actions are choices"
            )

    # ------------------------------------------------------------------------------------- acting

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self._learners.items():
                exploring = explore and self._learn[g]
                rows = self.seen(g, observation, exploring)
                if exploring and g in self._noise:
                    action = self._noise[g].act(rows)
                else:
                    output = learner.output(learner.actor if exploring else learner.greedy, rows)
                    action = learner.doing(output, self.exploration.chooser(exploring))
                actions[g] = self.done(g, action, exploring)
        return actions

    def seen(self, g: str, observation: Arrays, explore: bool) -> Tensor:
        """What the actors of a group see, [N, E, O]."""
        rows = torch.as_tensor(observation[g], dtype=torch.float32)
        if g in self._views:
            rows = self._views[g].join(rows)
        rows = self._learners[g].normalised(rows.transpose(0, 1), learn=explore)
        return self._half_hidden(g, rows) if explore else rows

    def done(self, g: str, action: Tensor, explore: bool) -> np.ndarray:
        """What the agents of a group do in the end, from what their actors want, [N, E, A]."""
        action = action.transpose(0, 1)
        if g in self._views:
            action = self._views[g].split(action)
        if explore:
            action = self._doing[g].with_choices_of(action, self.exploration.disturb(g, action))
        return action.numpy()

    def _half_hidden(self, g: str, rows: Tensor) -> Tensor:
        """With random views: what is shown, the same view for a whole episode, so that learning
        meets the situations into which a narrow view leads."""
        views = self._learners[g].views
        if views is None:
            return rows
        if g not in self._shown:
            self._shown[g] = views.draw(rows.shape[:2], self._generator)
        return rows * views.mask(self._shown[g])

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.exploration.reset(mask)
        for noise in self._noise.values():
            noise.reset(mask)
        if mask is None:  # afterwards there may be another number of worlds
            self._shown.clear()
            return
        for g, shown in self._shown.items():
            views = cast(RandomViews, self._learners[g].views)
            drawn = views.draw(shown.shape[:2], self._generator)
            self._shown[g] = torch.where(torch.from_numpy(mask)[:, None], drawn, shown)

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        with self.config.autocast():
            rows = {g: self.rows(g, columns) for g, columns in batch.items()}
            next_action = {
                g: self._learners[g].next_action(r, self._generator) for g, r in rows.items()
            }
            for g, learner in self._learners.items():
                if not self._learn[g]:
                    continue
                judged = self.judged(g, rows, next_action)
                result = learner.update(rows[g], *judged, self._generator)
                results |= self.logged(g, of_all(result), learner.stacked(rows[g].seen))
        return results

    def rows(self, g: str, batch: Batch) -> "Rows":
        """A batch [B, N, ...] as the learner of the group takes it."""
        observation, action, reward, next_observation, terminated = batch
        acted, acts = batch.acted, None
        if acted is not None:  # who is gone does nothing
            acts = (acted * (1.0 - terminated))[..., None].expand_as(action)
            action = action * acted[..., None]
        if g in self._views:  # one mind gets the mean reward, and is done when all are
            join = self._views[g].join
            observation, action, next_observation = map(
                join, (observation, action, next_observation)
            )
            reward, terminated = reward.mean(1, True), terminated.amin(1, True)
            if acted is not None and acts is not None:
                acted, acts = acted.amax(1, True), join(acts)
        columns = (observation, action, reward[..., None], next_observation, terminated[..., None])
        rows = self._learners[g].rows(*columns, self._generator)
        if acted is not None and acts is not None:
            rows = rows._replace(acted=acted.T[..., None], acts=acts.transpose(0, 1))
        return rows

    def judged(
        self, g: str, rows: dict[str, "Rows"], next_action: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the critics of a group see: observations, actions, the next of both."""
        observation = {h: r.observation for h, r in rows.items()}
        action = {h: r.action for h, r in rows.items()}
        next_observation = {h: r.next_observation for h, r in rows.items()}
        return (
            self._observations_seen(observation, g),
            self._own_first(action, g),
            self._observations_seen(next_observation, g),
            self._own_first(next_action, g),
        )

    def _observations_seen(self, x: dict[str, Tensor], g: str) -> Tensor:
        """Of everybody's observations, what each critic of the group sees: [N, B, size]. A critic
        of one's own can tell agents apart in any order, so that all of them share one table."""
        row = self._rows[g]
        if row.critic == "own" or row.networks == "one":
            return self._own_first(x, g)
        table = torch.cat([x[h].transpose(0, 1).flatten(1) for h in sorted(x, key=g.__ne__)], 1)
        return table.expand(len(x[g]), -1, -1)

    def _own_first(self, x: dict[str, Tensor], g: str) -> Tensor:
        """Of everybody's numbers, what each critic of the group sees, [N, B, size]: its own, or all
        of them with its own first, then those of its group in turn, then the other groups'."""
        own = x[g]
        if self._rows[g].critic == "own":
            return own
        n = len(own)
        turn = (torch.arange(n)[:, None] + torch.arange(n)) % n
        turned = own[turn].transpose(1, 2).flatten(2)  # [N, B, N size]
        others = [v.transpose(0, 1).flatten(1).expand(n, -1, -1) for h, v in x.items() if h != g]
        return torch.cat([turned, *others], -1)

    # --------------------------------------------------------------------------------- checkpoints

    def freeze(self, g: str, weights: Mapping[str, Tensor]) -> None:
        """Let a group play by these `weights`. Raises ValueError where they do not fit."""
        others = {k: x for k, x in self.weights().items() if not k.startswith(f"{g}.")}
        self.load_weights(others | {k: x for k, x in weights.items() if k.startswith(f"{g}.")})
        learner = self._learners[g]
        for actor in (learner.actor, learner.target_actor):
            actor.load_state_dict(learner.greedy.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {f"shown.{g}": x.clone() for g, x in self._shown.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._shown = below("shown.", state)


class Rows(NamedTuple):
    """A batch as a learner takes it, [N, B, size]."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor
    seen: Tensor  # what is shown of the observations to the actor
    next_seen: Tensor
    acted: Tensor | None = None  # [N, B, 1]: 0.0 for agents that had left the game
    acts: Tensor | None = None  # [N, B, A]: 0.0 where an agent does nothing any more

    def without_those_gone(self, next_action: Tensor) -> Tensor:
        """Next actions [N, B, A]; zeros of agents that have left the game."""
        return next_action if self.acts is None else next_action * self.acts


class _Learner(ActorCritic):
    """The learner of one group; stacked, where each agent has networks of its own."""

    chooses = True

    def __init__(self, g: str, groups: dict[str, Group], config: DDPGConfig) -> None:
        row, group = config.row, groups[g]
        stack = len(group) if row.networks == "each" else 1
        parts = group.observation_parts
        (inputs,), (actions,) = group.observation_space.shape, group.action_space.shape
        critic_parts, critic_inputs, critic_actions = parts, inputs, actions
        if row.critic == "all":
            if config.network == "set":
                raise ValueError(
                    f"agent.network is 'set', but the critic of {config.name!r} sees everybody's "
                    "observations, which are no sets; use 'mlp'"
                )
            critic_parts = ()
            critic_inputs = sum(len(x) * x.observation_space.shape[0] for x in groups.values())
            critic_actions = sum(len(x) * x.action_space.shape[0] for x in groups.values())
        if config.normalise and config.network == "set":
            raise ValueError(
                "agent.normalise is on, but a 'set' network compares positions, which scaling "
                "them one by one would distort; use 'mlp'"
            )

        def network(parts: tuple, inputs: int, extra: int, outputs: int, of: str) -> nn.Module:
            shape = (config.hidden, config.width, of in config.layer_norm)
            pool = of == "critic" or config.actor_pool
            return NETWORKS[config.network](stack, parts, inputs, extra, outputs, *shape, pool)

        def critic() -> nn.Module:
            return network(critic_parts, critic_inputs, critic_actions, 1, "critic")

        super().__init__(config, group, stack, network(parts, inputs, 0, actions, "actor"), critic)
        views = config.random_views
        self.views: RandomViews | None = RandomViews(parts, views) if views else None

    def output(self, actor: nn.Module, seen: Tensor) -> Tensor:
        """What an actor says, [N, B, A], of what agents see, [N, B, O] (normalised)."""
        return piecewise(actor, self.stacked(seen)).to(seen.dtype).view(*seen.shape[:2], -1)

    def rows(
        self,
        observation: Tensor,
        action: Tensor,
        reward: Tensor,
        next_observation: Tensor,
        terminated: Tensor,
        generator: torch.Generator,
    ) -> Rows:
        """A batch [B, N, size], turned, reflected, normalised and partly hidden as configured."""
        observation, action, next_observation = self.turned(observation, action, next_observation)
        columns = (observation, action, reward, next_observation, terminated)
        observation, action, reward, next_observation, terminated = (
            x.transpose(0, 1) for x in columns
        )
        observation = seen = self.normalised(observation)
        next_observation = next_seen = self.normalised(next_observation)
        if self.views:
            # The critic, which serves in training only, sees all that there is.
            mask = self.views.mask(self.views.draw(observation.shape[:2], generator))
            seen, next_seen = observation * mask, next_observation * mask
        return Rows(observation, action, reward, next_observation, terminated, seen, next_seen)

    @torch.no_grad()
    def next_action(self, rows: Rows, generator: torch.Generator) -> Tensor:
        """What the target actor does next: [N, B, A]. Numbers are smoothed by noise if configured,
        choices are drawn, as in the MADDPG authors' code."""
        action = self.doing(self.output(self.target_actor, rows.next_seen), generator)
        return rows.without_those_gone(self.smoothed(action, generator))

    def update(
        self,
        rows: Rows,
        observation: Tensor,
        action: Tensor,
        next_observation: Tensor,
        next_action: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """One update; the four tensors are what the critics see."""
        o, a, o2, a2 = map(self.stacked, (observation, action, next_observation, next_action))
        reward, terminated = self.stacked(rows.reward), self.stacked(rows.terminated)
        acted = None if rows.acted is None else self.stacked(rows.acted)
        result = self.improve_critics(o, a, reward, o2, a2, terminated, acted)
        if self.actors_turn:
            output = self.actor(self.stacked(rows.seen))
            self.improve_actor(output, o, a, result, generator=generator, acted=acted)
        return result
