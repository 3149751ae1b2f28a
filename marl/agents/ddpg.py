"""Deep deterministic policy gradient (Lillicrap et al. 2015, algorithm 1) for many agents.

Three choices make a member of the family (`FAMILY`): the actor's input, the critic's input, and one
network for all agents or one for each. Networks of several agents are stacked, so no code loops
over agents. `core.actor_critic` has the losses, `core.off_policy` the batches.

Shapes: N agents of a group, B transitions, [N, B, size] throughout. N is 1 for transitions of
single agents, and for one actor that controls all agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from marl.agents.core.actor_critic import ActorCritic, ActorCriticConfig
from marl.agents.core.critic_inputs import looks_of
from marl.agents.core.learner import Logged, of_all
from marl.agents.core.off_policy import (
    CriticInputs,
    LearnerBatch,
    NetworkConfig,
    OffPolicyAgent,
    Sizes,
    make_networks,
)
from marl.agents.core.seed_stack import SeedStack
from marl.learning.augmentation import RandomViews
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Draw
from marl.nn.heads import ActionHead
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group
from marl.worlds.views import JointView


@dataclass(frozen=True)
class Variant:
    """The three choices of a member of the family."""

    actor: Literal["own", "all"]  # observations in the actor's input
    critic: Literal["own", "all"]  # observations and actions in the critic's input
    networks: Literal["one", "each"]  # one actor and critic for each group, or for each agent


FAMILY = {
    "ddpg": Variant(actor="own", critic="own", networks="each"),  # independent learners
    "global": Variant(actor="all", critic="all", networks="one"),  # one joint policy
    "atoc": Variant(actor="own", critic="own", networks="one"),  # Jiang & Lu 2018, no communication
    "maddpg": Variant(actor="own", critic="all", networks="each"),  # Lowe et al. 2017
    "saddpg": Variant(actor="own", critic="all", networks="one"),  # shared actor and critic
}


class DDPGConfig(ActorCriticConfig, NetworkConfig):
    """Settings of the DDPG family."""

    name: Literal["ddpg", "global", "atoc", "maddpg", "saddpg"] = "atoc"
    random_views: dict[str, NonNegativeInt] = Field(
        {}, description="training shows a random number of items of these parts, at least this many"
    )
    frozen: str = Field(
        "",
        description="in `agents`: run or file whose weights the group plays with, without learning",
    )

    @property
    def variant(self) -> Variant:
        """The member of the family that `name` names."""
        return FAMILY[self.name]


class DDPG(OffPolicyAgent["_Learner"]):
    """Deterministic policy gradient: a learner for each group, with views of the other groups."""

    settings_per_group = True

    def __init__(
        self,
        groups: dict[str, Group],
        config: DDPGConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
        others: Mapping[str, DDPGConfig] = MappingProxyType({}),
    ) -> None:
        """`others`: settings of groups without `config`. Raises ValueError if any do not fit."""
        configs = {g: others.get(g, config) for g in groups}
        self._variants = {g: settings.variant for g, settings in configs.items()}
        variants = self._variants.values()
        self.looks = {g: looks_of(v.critic, v.networks) for g, v in self._variants.items()}
        # A batch may mix agents only if no network depends on whose transition it gets.
        mixed = all(variant == FAMILY["atoc"] for variant in variants)
        self.draw: Draw = "agents" if mixed else "steps"
        self.size_invariant = all(v.actor == "own" and v.networks == "one" for v in variants)
        self._views = {
            g: JointView(groups[g]) for g, v in self._variants.items() if v.actor == "all"
        }
        minds = {g: self._views[g].group if g in self._views else groups[g] for g in groups}
        super().__init__(
            groups, config, exploration, seed, lambda g: _Learner(g, minds, configs[g])
        )
        self._learning = {g: self.learners[g] for g, x in configs.items() if not x.frozen}
        self._random_views = {
            g: RandomViews(minds[g].observation_parts, x.random_views)
            for g, x in configs.items()
            if x.random_views
        }
        self._heads = {g: ActionHead(group) for g, group in groups.items()}
        discrete = any(group.choices for group in groups.values())
        if discrete and self.noise:
            raise ValueError(
                "exploration.kind is 'psne', which disturbs numbers; world.actions are choices"
            )
        self.stackable = not others and not discrete  # choices are drawn anew in every update

    # ------------------------------------------------------------------------------------- acting

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                exploring = explore and g in self._learning
                rows = self.seen(g, perceived, exploring)
                if exploring and g in self.noise:
                    action = self.noise[g].act(rows)
                else:
                    output = learner.output(learner.actor if exploring else learner.greedy, rows)
                    legal = self.legal(g, torch.as_tensor(perceived[g]))
                    action = learner.head(output, self.exploration.chooser(exploring), legal)
                actions[g] = self.to_world(g, action, exploring)
        return actions

    def joined(self, g: str, rows: Tensor) -> Tensor:
        return self._views[g].join(rows) if g in self._views else rows

    def seen(self, g: str, perceived: Arrays, explore: bool) -> Tensor:
        rows = super().seen(g, perceived, explore)
        if explore and g in self._random_views:
            return self._random_views[g].hide(rows, self.generator)
        return rows

    def to_world(self, g: str, action: Tensor, explore: bool) -> np.ndarray:
        """The actors' actions [N, E, A] -> the world's, [E, N, A], with noise if they explore."""
        action = action.transpose(0, 1)
        if g in self._views:
            action = self._views[g].split(action)
        if explore:
            action = self._heads[g].with_choices_of(action, self.exploration.disturb(g, action))
        return action.numpy()

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.exploration.reset(mask)
        for noise in self.noise.values():
            noise.reset(mask)
        for views in self._random_views.values():
            views.reset(mask, self.generator)

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        with self.config.autocast():
            steps = {g: self.prepare(g, own) for g, own in batch.items()}
            next_actions = {
                g: self.learners[g].next_action(x, self.generator) for g, x in steps.items()
            }
            for g, learner in self._learning.items():
                inputs = self.critic_inputs(g, steps, next_actions)
                result = learner.update(steps[g], inputs, self.generator)
                results |= self.logged(g, of_all(result), learner.stacked(steps[g].seen))
        return results

    def attended(self, g: str, batch: Batch) -> tuple[Batch, Tensor | None]:
        batch, stays = super().attended(g, batch)
        if g in self._views:
            batch = _of_one_mind(batch, self._views[g])
            stays = None if stays is None else self.joined(g, stays)
        return batch, stays

    def prepare(self, g: str, batch: Batch) -> LearnerBatch:
        """As `OffPolicyAgent.prepare`, with `random_views`."""
        steps = super().prepare(g, batch)
        if g not in self._random_views:
            return steps
        # The critic always sees all items: only training needs it.
        views = self._random_views[g]
        mask = views.mask(views.draw(steps.observation.shape[:2], self.generator))
        seen, next_seen = steps.observation * mask, steps.next_observation * mask
        return steps._replace(seen=seen, next_seen=next_seen)

    @classmethod
    def stack(cls, agents: Sequence["DDPG"]) -> SeedStack:
        return SeedStack(agents)

    # --------------------------------------------------------------------------------- checkpoints

    def freeze(self, group: str, weights: Mapping[str, Tensor]) -> None:
        others = {k: x for k, x in self.weights().items() if not k.startswith(f"{group}.")}
        self.load_weights(others | {k: x for k, x in weights.items() if k.startswith(f"{group}.")})
        learner = self.learners[group]
        for actor in (learner.actor, learner.target_actor):
            actor.load_state_dict(learner.greedy.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        shown = {g: views.shown for g, views in self._random_views.items()}
        more = {f"shown.{g}": x.clone() for g, x in shown.items() if x is not None}
        return super().state_dict() | more

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        for g, views in self._random_views.items():
            views.shown = state.get(f"shown.{g}")


def _of_one_mind(batch: Batch, view: JointView) -> Batch:
    """The batch of one policy for all agents: the mean reward, terminated when all agents are."""
    return replace(
        batch,
        observation=view.join(batch.observation),
        action=view.join(batch.action),
        reward=batch.reward.mean(1, True),
        next_observation=view.join(batch.next_observation),
        terminated=batch.terminated.amin(1, True),
        present=None if batch.present is None else batch.present.amax(1, True),
    )


class _Learner(ActorCritic):
    """The learner of one group; its networks are stacked if each agent has its own."""

    learns_choices = True

    def __init__(self, g: str, groups: dict[str, Group], config: DDPGConfig) -> None:
        variant, group = config.variant, groups[g]
        stack = len(group) if variant.networks == "each" else 1
        sizes = Sizes(stack, group.action_space.shape[0])
        actor, critic = make_networks(g, groups, config, sizes, variant.critic == "all")
        super().__init__(config, group, stack, actor, critic)

    @torch.no_grad()
    def next_action(self, steps: LearnerBatch, generator: torch.Generator) -> Tensor:
        """The target actor's next action, [N, B, A]. Continuous actions get smoothing noise if
        configured; discrete ones are drawn, as in the MADDPG authors' code."""
        output = self.output(self.target_actor, steps.next_seen)
        action = self.head(output, generator, steps.next_legal)
        action = self.smoothed(action, generator)
        return action if steps.stays is None else action * steps.stays

    def update(
        self, steps: LearnerBatch, inputs: CriticInputs, generator: torch.Generator
    ) -> Logged:
        """Algorithm 1 of Lillicrap et al. 2015, lines 12 to 15."""
        o, a, o2, a2 = map(self.stacked, inputs)
        reward, terminated = self.stacked(steps.reward), self.stacked(steps.terminated)
        present = None if steps.present is None else self.stacked(steps.present)
        self.updates += 1

        # Target
        y = self.target(reward, terminated, o2, a2)
        # Critics
        loss, result = self.critic_loss(o, a, y, present)
        self.descend(self.critics, self.critic_optimiser, loss)
        # Actor
        if self.actors_turn:
            output = self.actor(self.stacked(steps.seen))
            legal = None if steps.legal is None else self.stacked(steps.legal)
            loss, _, logged = self.actor_loss(output, o, a, present, generator, legal)
            self.descend(self.actor, self.actor_optimiser, loss)
            result |= logged
        # Target networks
        self.move_targets()
        return result
