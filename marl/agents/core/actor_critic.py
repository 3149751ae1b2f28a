"""Actor and critic of the DDPG family (Lillicrap et al. 2015), with options of later papers.

    y   = r + gamma (1 - terminated) min_i Q'_i(o', mu'(o') + smoothing noise)
    Q_i <- minimise mean (Q_i(o, a) - y)^2
    mu  <- maximise mean Q_1(o, mu(o))                     every `actor_delay` updates
    Q', mu' <- (1 - tau) Q', mu' + tau Q, mu               mu' with mu, Q' at every update

Shapes: K stacked networks (K = 1: all agents share one), [K, rows, size] throughout. The loss is a
mean over the rows and a sum over the stack, so the K networks learn as K separate learners would.
Rows of agents that had left the game do not count: `present`, [K, rows, 1], is 0.0 there.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from marl.agents.core.learner import Logged, average, follow, frozen, mean_of_present
from marl.agents.core.off_policy import OffPolicyConfig, OffPolicyLearner
from marl.nn.heads import ActionHead
from marl.worlds.spaces import Group


class ActorCriticConfig(OffPolicyConfig):
    """Settings of every agent with a deterministic actor."""

    twin_critics: bool = Field(False, description="TD3: two critics; the smaller value counts")
    actor_delay: int = Field(1, ge=1, description="TD3: critic updates for each actor update")
    target_smoothing: float = Field(
        0.0, ge=0, description="TD3: deviation of noise on target actions (clipped at 2.5 times it)"
    )
    action_penalty: float | None = Field(
        None,
        ge=0,
        description="weight of the actor's mean squared output (before tanh, or logits), in its "
        "loss; null: 0.001 where actions are choices, which else soon are always the same, else 0",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of matrix products in updates; weights stay float32"
    )

    def autocast(self) -> torch.autocast:
        """The context of an update."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


class ActorCritic(OffPolicyLearner):
    """Networks, targets and optimisers of one group of agents."""

    learns_choices = False  # discrete actions, too

    def __init__(
        self,
        config: ActorCriticConfig,
        group: Group,
        stack: int,
        actor: nn.Module,
        make_critic: Callable[[], nn.Module],
    ) -> None:
        """`group`: the actor's spaces. Raises ValueError if the config does not fit them."""
        if group.choices and not self.learns_choices:
            raise ValueError("it acts with numbers only; world.actions can be 'continuous' only")
        super().__init__(config, group, stack, actor, make_critic, 1 + config.twin_critics)
        self.head = ActionHead(group)
        penalty = config.action_penalty
        self._penalty = penalty if penalty is not None else 1e-3 if group.choices else 0.0
        self.target_actor = frozen(self.actor)
        self.stored += ("target_actor",)

    def smoothed(self, action: Tensor, generator: torch.Generator) -> Tensor:
        """A target action plus clipped noise of the deviation `target_smoothing`."""
        if not self.config.target_smoothing:
            return action
        noise = torch.randn(action.shape, generator=generator).clamp(-2.5, 2.5)
        disturbed = (action + self.config.target_smoothing * noise).clamp(-1.0, 1.0)
        return self.head.with_choices_of(action, disturbed)

    def target(self, reward: Tensor, terminated: Tensor, o2: Tensor, a2: Tensor) -> Tensor:
        """y, [K, rows, 1]; o2 and a2 are the critics' inputs."""
        with torch.no_grad():
            values = [q(o2, a2).to(reward.dtype) for q in self.target_critics.children()]
            value = values[0] if len(values) == 1 else torch.minimum(*values)
            return reward + self.config.gamma * (1.0 - terminated) * value

    @property
    def actors_turn(self) -> bool:
        """Does this update improve the actor?"""
        return self.updates % self.config.actor_delay == 0

    def actor_loss(
        self,
        output: Tensor,
        o: Tensor,
        a: Tensor,
        present: Tensor | None = None,
        generator: torch.Generator | None = None,
        legal: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Logged]:
        """The loss [K], the values [K, rows, 1] and values to log. The loss is minus the first
        critic's value of the action that the head makes of `output` (before tanh). In `a`, an
        agent's own action comes first; the others' stay. `generator` draws discrete actions, of
        those that are `legal`."""
        output = output.to(a.dtype)
        action = self.head(output, generator, legal)
        values = self.critics[0](o, torch.cat([action, a[..., action.shape[-1] :]], -1)).to(a.dtype)
        loss = -mean_of_present(values, present)
        if self._penalty:
            loss = loss + self._penalty * mean_of_present(output.square(), present)
        saturated = mean_of_present(self.head.saturated(output.detach()), present)
        logged = {"actor_loss": loss.detach(), "saturated": saturated}
        return loss, values.detach(), logged

    def move_targets(self) -> None:
        """Move the target networks and the actor's running average by one step."""
        c = self.config
        follow(self.target_critics, self.critics, c.tau)
        if not self.actors_turn:
            return
        follow(self.target_actor, self.actor, c.tau)
        average(self.greedy, self.actor, c.average, self.updates // c.actor_delay)
