"""Soft actor-critic (Haarnoja et al. 2018; for choices, Christodoulou 2019) for many agents.

Two choices make a member of the family: the critics' input, which the name says (`CRITICS`), and
one network for all agents or one for each (`networks`). With o an actor's input, x the observations
and a the actions in the critics' input:

    y     = c r + gamma (1 - terminated) E [min_i Q'_i(x', a') - alpha log pi(a' | o')]
    Q_i   <- minimise mean (Q_i(x, a) - y)^2
    pi    <- minimise mean E [alpha log pi(a | o) - min_i Q_i(x, a)]
    alpha <- minimise mean log alpha (entropy of pi(. | o) - target)        if it is learned
    Q'    <- (1 - tau) Q' + tau Q

c is `reward_scale`. In the expectations E, an agent's own action is drawn by its policy. Over
choices they are exact: critics then have one value for each joint choice of the agent. For numbers
they are one draw, and pi's gradient runs through it. The others do in a' what their policies draw,
and in the loss of pi what they did (as in MADDPG, Lowe et al. 2017).

Shapes: N agents of a group, B transitions, [N, B, size]; networks are stacked, [K, rows, size].
N is 1 for transitions of single agents.
"""

import math
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from marl.agents.core.checks import check_idle
from marl.agents.core.critic_inputs import looks_of
from marl.agents.core.learner import Logged, adam, average, follow, mean_of_present, of_all
from marl.agents.core.off_policy import (
    CriticInputs,
    LearnerBatch,
    NetworkConfig,
    OffPolicyAgent,
    OffPolicyLearner,
    Sizes,
    make_networks,
)
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Draw
from marl.nn.soft_heads import Drawn, SoftChoices, SoftNumbers
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group

CRITICS: dict[str, Literal["own", "all"]] = {  # observations and actions in the critics' input
    "isac": "own",  # independent learners
    "masac": "all",
}


class SACConfig(NetworkConfig):
    """Settings of soft actor-critic."""

    name: Literal["isac", "masac"] = "isac"
    networks: Literal["one", "each"] = Field(
        "one", description="one actor and critics for each group, or for each agent"
    )
    reward_scale: float = Field(1.0, gt=0, description="factor on rewards in updates")
    temperature: float | None = Field(
        None, ge=0, description="weight of the policy's entropy beside the reward; null: learned"
    )
    initial_temperature: float = Field(
        0.1, gt=0, description="a learned temperature at the start of training"
    )
    temperature_lr: float = Field(
        1e-3, gt=0, description="Adam's learning rate of the temperature's logarithm"
    )
    target_entropy: float | None = Field(
        None,
        description="the entropy to which the temperature is learned: for numbers, in nats for "
        "each number of an action, null: -1; for choices, a share of the largest, the logarithm of "
        "how many are allowed, null: 0.2",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.temperature is not None:
            idle = ("initial_temperature", "temperature_lr", "target_entropy")
            check_idle(self, idle, f"temperature is {self.temperature}, so none is learned")
        return self


class SAC(OffPolicyAgent["_Learner"]):
    """Soft actor-critic: a learner for each group, with views of the other groups."""

    noises = ("none",)  # the policy itself explores

    def __init__(
        self,
        groups: dict[str, Group],
        config: SACConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        critic, shared = CRITICS[config.name], config.networks == "one"
        # A batch may mix agents only if no network depends on whose transition it gets.
        self.draw: Draw = "agents" if shared and critic == "own" else "steps"
        self.size_invariant = shared
        self.looks = dict.fromkeys(groups, looks_of(critic, config.networks))
        super().__init__(groups, config, exploration, seed, lambda g: _Learner(g, groups, config))

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                rows = self.seen(g, perceived, explore)
                legal = self.legal(g, torch.as_tensor(perceived[g]))
                output = learner.output(learner.actor if explore else learner.greedy, rows)
                if explore:
                    action = learner.policy(output, self.exploration.generator, legal).action
                else:
                    action = learner.policy.best(output, legal)
                actions[g] = action.transpose(0, 1).numpy()
        return actions

    def reset(self, mask: np.ndarray | None = None) -> None:
        """There is nothing to forget."""

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        steps = {g: self.prepare(g, own) for g, own in batch.items()}
        drawn = {g: self.learners[g].next_drawn(x, self.generator) for g, x in steps.items()}
        next_actions = {g: x.action for g, x in drawn.items()}
        for g, learner in self.learners.items():
            inputs = self.critic_inputs(g, steps, next_actions)
            result = learner.update(steps[g], inputs, drawn[g], self.generator)
            results |= self.logged(g, of_all(result))
        return results


class _Temperature(nn.Module):
    """The logarithm of a learned temperature for each network of a stack, [K, 1, 1]."""

    def __init__(self, stack: int, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.full((stack, 1, 1), math.log(start)))


class _Learner(OffPolicyLearner):
    """The learner of one group; its networks are stacked if each agent has its own."""

    def __init__(self, g: str, groups: dict[str, Group], config: SACConfig) -> None:
        group = groups[g]
        self.policy = policy = _policy_of(g, group, config)
        stack = len(group) if config.networks == "each" else 1
        sizes = Sizes(stack, policy.outputs, policy.values, policy.acts)
        networks = make_networks(g, groups, config, sizes, CRITICS[config.name] == "all")
        super().__init__(config, group, stack, *networks, critics=2)
        given = config.target_entropy
        self._target_entropy = policy.usual_target if given is None else given
        self._learns_temperature = config.temperature is None
        if config.temperature is None:
            self.temperature = _Temperature(stack, config.initial_temperature)
            self.temperature_optimiser = adam(self.temperature, config.temperature_lr)
            self.stored += ("temperature",)
            self.optimisers += ("temperature_optimiser",)

    @property
    def alpha(self) -> Tensor:
        """The temperature, [K, 1, 1]."""
        if self._learns_temperature:
            return self.temperature.log.detach().exp()
        return torch.full((self.stack, 1, 1), self.config.temperature)

    def estimate(self, critic: nn.Module, o: Tensor, a: Tensor) -> Tensor:
        return self.policy.of_action(critic(o, self.policy.beside(a)), a)

    def least(self, critics: nn.Module, o: Tensor, a: Tensor) -> Tensor:
        """The smaller of two critics' values, [K, rows, C]: of the action, or of each choice."""
        return torch.minimum(*[q(o, self.policy.beside(a)) for q in critics.children()])

    @torch.no_grad()
    def next_drawn(self, steps: LearnerBatch, generator: torch.Generator) -> Drawn:
        """The policy in the next step, [N, B, size]."""
        output = self.output(self.actor, steps.next_seen)
        drawn = self.policy(output, generator, steps.next_legal)
        return drawn if steps.stays is None else drawn._replace(action=drawn.action * steps.stays)

    def update(
        self,
        steps: LearnerBatch,
        inputs: CriticInputs,
        following: Drawn,
        generator: torch.Generator,
    ) -> Logged:
        """One update; `following` is what `next_drawn` returned."""
        o, a, o2, a2 = map(self.stacked, inputs)
        reward, terminated = self.stacked(steps.reward), self.stacked(steps.terminated)
        present = None if steps.present is None else self.stacked(steps.present)
        legal = None if steps.legal is None else self.stacked(steps.legal)
        following, alpha = Drawn(*map(self.stacked, following)), self.alpha
        self.updates += 1

        # Target
        with torch.no_grad():
            soft = self.least(self.target_critics, o2, a2) - alpha * following.log
            following_value = (1.0 - terminated) * following.expected(soft)
            y = self.config.reward_scale * reward + self.config.gamma * following_value
        # Critics
        loss, result = self.critic_loss(o, a, y, present)
        self.descend(self.critics, self.critic_optimiser, loss)
        # Actor
        drawn = self.policy(self.actor(self.stacked(steps.seen)), generator, legal)
        mine = torch.cat([drawn.action, a[..., drawn.action.shape[-1] :]], -1)
        values = self.least(self.critics, o, mine)
        loss = mean_of_present(drawn.expected(alpha * drawn.log - values), present)
        self.descend(self.actor, self.actor_optimiser, loss)
        # Temperature
        entropy = drawn.entropy().detach()
        if self._learns_temperature:
            missing = entropy - self._target_entropy * self.policy.unit(legal)
            self.descend(
                self.temperature,
                self.temperature_optimiser,
                mean_of_present(self.temperature.log * missing, present),
            )
        # Target networks
        follow(self.target_critics, self.critics, self.config.tau)
        average(self.greedy, self.actor, self.config.average, self.updates)
        return result | {
            "actor_loss": loss.detach(),
            "entropy": mean_of_present(entropy, present),
            "temperature": alpha[:, 0, 0],
        }


def _policy_of(g: str, group: Group, config: SACConfig) -> SoftNumbers | SoftChoices:
    """The head of a group's actor. Raises ValueError if there is none for its actions."""
    target = config.target_entropy
    if not group.choices:
        if target is not None and target >= math.log(2):
            raise ValueError(
                f"agent.target_entropy is {target}, but a number from -1 to 1 has an entropy below "
                "log 2 = 0.69"
            )
        return SoftNumbers(group)
    if sum(piece.stop - piece.start for piece in group.choices) < group.action_space.shape[0]:
        raise ValueError(
            f"agent.name is {config.name!r}, which acts with numbers or with choices, but an "
            f"action of {g!r} has both"
        )
    if target is not None and not 0 <= target < 1:
        raise ValueError(
            f"agent.target_entropy is {target}, but should be a share of the largest entropy, from "
            f"0 to below 1, where actions are choices, as those of {g!r} are"
        )
    return SoftChoices(group)
