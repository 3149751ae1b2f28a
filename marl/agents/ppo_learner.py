"""The learner of the PPO family. With V the critic and pi the policy, a rollout gives

    R      = lambda returns of r and V(x')                learning/returns.py
    A      = R - V(x)                                     generalised advantages
    ratio  = pi(a | o) / pi_old(a | o)
    pi    <- maximise mean min(ratio A, clip(ratio) A) + entropy H(pi(o))
    V     <- minimise mean max((V(x) - R)^2, (V_old(x) + clip(V(x) - V_old(x)) - R)^2)

in `epochs` passes over the rollout, each in `minibatches` parts.

Shapes: K stacked networks (K = 1: all agents share one), [K, T, rows, size]. The loss is a mean
over the rows and a sum over the stack, so the K networks learn as K separate learners would.
Without memory each step is a row of its own: T is 1.
"""

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from marl.agents.core.checks import check_augment, check_network
from marl.agents.core.learner import Learner, Logged, adam, average, frozen, mean_of_present
from marl.agents.core.sequences import sequence_network
from marl.agents.ppo_config import PPOConfig
from marl.learning.augmentation import Change, Symmetry, changes_of
from marl.learning.record import Batch, Column
from marl.learning.returns import lambda_returns
from marl.learning.value_norm import ValueNorm
from marl.nn.stochastic import StochasticHead
from marl.worlds.spaces import Group, Part


class Inputs(NamedTuple):
    """The inputs of a group's networks for a rollout."""

    observation: Tensor  # [N, T E, O], of the actors
    critic: Tensor  # [N, T E, S]
    final: Tensor  # [N, R, S], of the critics after the R steps that no row follows


class Rows(NamedTuple):
    """The rows of a rollout to learn from, [K, T, E, n, size] with the n agents of each network; in
    a minibatch [K, T, rows, size]."""

    observation: Tensor
    critic_input: Tensor
    drawn: Tensor
    log_probability: Tensor
    advantage: Tensor
    value: Tensor  # the critic's output before learning
    target: Tensor  # the output that it should have
    legal: Tensor | None = None
    present: Tensor | None = None
    keeps: Tensor | None = None  # 0.0 where an episode begins
    hidden: Tensor | None = None  # of the actors before the first step: T is 1
    critic_hidden: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Rows":
        """All columns changed."""
        return Rows(*[None if x is None else change(x) for x in self])  # type: ignore[arg-type]

    def flat(self) -> "Rows":
        """The rows of all steps alike: [K, T rows, size]."""
        return self.map(lambda x: x.flatten(1, 2))


class GaussianActor(nn.Module):
    """A policy's network and the logarithm of its numbers' standard deviation, which does not
    depend on what an agent sees."""

    def __init__(self, network: nn.Module, stack: int, numbers: int, log_deviation: float) -> None:
        super().__init__()
        self.network = network
        self.log_deviation = nn.Parameter(torch.full((stack, 1, numbers), log_deviation))


class PPOLearner(Learner):
    """The learner of one group; its networks are stacked if each agent has its own."""

    actor: GaussianActor
    stored = ("actor", "critic", "greedy", "value_norm")
    optimisers = ("actor_optimiser", "critic_optimiser")

    def __init__(self, g: str, groups: dict[str, Group], config: PPOConfig) -> None:
        """Raises ValueError if the config does not fit the groups."""
        group = groups[g]
        check_network(config, groups, config.joint, config.memory)
        check_augment(config, group, config.memory)
        self.config, self.group = config, group
        self.stack = len(group) if config.networks == "each" else 1
        self.head = StochasticHead(group)
        seen = [group, *[x for h, x in groups.items() if h != g]] if config.joint else []
        joint = [part for x in seen for part in x.observation_parts * len(x)]
        o, (a,) = group.observation_size, group.action_space.shape
        parts = group.observation_parts
        actor = self._network("actor", parts, o, a)
        self.actor = GaussianActor(actor, self.stack, self.head.numbers, log(config.deviation))
        if config.joint:
            parts, o = tuple(joint), sum(len(x) * x.observation_size for x in seen)
        self.critic = self._network("critic", parts, o, 1)
        self.greedy = cast(GaussianActor, frozen(self.actor)) if config.average else self.actor
        self.actor_optimiser = adam(self.actor, config.actor_lr)
        self.critic_optimiser = adam(self.critic, config.critic_lr)
        self.value_norm = ValueNorm(self.stack)
        self.published = nn.ModuleDict({"actor": self.greedy.network})
        if config.normalise:
            self.normalise(group)
        self._changes: dict[str, Change] = {}
        if config.augment:
            of_observations, of_actions = changes_of(group)
            self._changes = {
                "observation": of_observations,
                "critic_input": Symmetry(parts) if config.joint else of_observations,
                "drawn": of_actions,
            }
        self.added = {"log_probability": Column()}  # columns
        if self.head.numbers:
            self.added["drawn"] = Column((a,))  # the sample, of which an action is what is in range
        if config.memory:
            self.added["hidden"] = Column((config.memory,))  # the actor's before the step
        self.hidden: Tensor | None = None  # the actors' memory now, [N, 1, E, memory]
        self.critic_hidden: Tensor | None = None  # the critics' after the last rollout

    def _network(self, of: str, parts: Sequence[Part], inputs: int, outputs: int) -> nn.Module:
        norm, pool = of in self.config.layer_norm, of == "critic" or self.config.actor_pool
        return sequence_network(self.stack, parts, inputs, outputs, self.config, norm, pool)

    # ------------------------------------------------------------------------------------- acting

    def act(
        self, observation: Tensor, legal: Tensor | None, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """A sample for observations [N, E, O], and the columns that are added: [N, E, ...] each.
        Without `generator` the most probable one."""
        actor = self.greedy if generator is None else self.actor
        seen = self.normalised(observation)[:, None]
        before = self._remembered(self.hidden, seen)
        output, self.hidden = self.run(actor.network, seen, before)  # T is 1
        rows = self.stacked(output[:, 0])
        legal = None if legal is None else self.stacked(legal)
        if generator is None:
            drawn = self.head.greedy(rows, legal)
            logs = torch.zeros_like(drawn[..., :1])
        else:
            policy = self.head(rows, actor.log_deviation, legal)
            drawn = policy.draw(generator)
            logs = policy.log_probability(drawn)
        shape = observation.shape[:2]
        found = {"drawn": drawn.view(*shape, -1), "log_probability": logs.view(shape)}
        return found if before is None else found | {"hidden": before[:, 0]}

    def run(
        self, network: nn.Module, x: Tensor, hidden: Tensor | None, keeps: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs and hidden states, [N, T, E, size], for inputs [N, T, E, size]; see
        `sequences`."""
        n, t, e = x.shape[:3]
        stacked = [None if v is None else self.sequences(v) for v in (x, hidden, keeps)]
        output, states = network(*stacked)
        if self.stack == n:
            return output, states
        output = output.view(t, n, e, -1).transpose(0, 1)
        return output, None if states is None else states.view(t, n, e, -1).transpose(0, 1)

    def sequences(self, x: Tensor) -> Tensor:
        """[N, T, E, size] -> [K, T, rows, size], the shape that the networks take."""
        return x if self.stack == len(x) else x.transpose(0, 1).flatten(1, 2)[None]

    def _remembered(self, hidden: Tensor | None, rows: Tensor) -> Tensor | None:
        """The hidden state, or an empty one for [N, T, E, size]; None without memory."""
        size = self.config.memory
        if not size or hidden is not None:
            return hidden
        return torch.zeros(len(rows), 1, rows.shape[2], size)

    def reset(self, mask: np.ndarray | None) -> None:
        """Forget the worlds of `mask` (bool[E]; None: all)."""
        if mask is None:
            self.hidden = self.critic_hidden = None
        elif self.hidden is not None:
            self.hidden[:, :, torch.from_numpy(mask)] = 0.0

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: Batch, inputs: Inputs, generator: torch.Generator) -> Logged:
        """Learn from a rollout [T, E, N, ...]: algorithm 1 of Schulman et al. 2017."""
        # Values, advantages, returns
        rows = self.judged(batch, inputs)
        if not self.config.memory:
            rows = rows.map(lambda x: x.flatten(1, 2)[:, None].contiguous())
        logged: list[Logged] = []
        for _ in range(self.config.epochs):
            order = torch.randperm(rows.value.shape[2], generator=generator)
            for index in order.tensor_split(self.config.minibatches):
                part = self.part(rows, index, generator)
                self.updates += 1
                # Actor
                loss, result = self.actor_loss(part)
                self.descend(self.actor, self.actor_optimiser, loss)
                average(self.greedy, self.actor, self.config.average, self.updates)
                # Critic
                loss, more = self.critic_loss(part)
                self.descend(self.critic, self.critic_optimiser, loss)
                logged.append(result | more)
        return {name: torch.stack([x[name] for x in logged]).mean(0) for name in logged[0]}

    @torch.no_grad()
    def judged(self, batch: Batch, inputs: Inputs) -> Rows:
        """The rows of a rollout, with the critic's values, advantages and targets."""
        c, continues = self.config, cast(Tensor, batch.continues)
        ends, shape = continues == 0.0, continues.shape
        critic_input = inputs.critic.unflatten(1, shape)
        present = None if batch.present is None else agents_first(batch.present)[..., None]
        keeps = hidden = None
        if c.memory:
            keeps = torch.cat([torch.ones_like(continues[:1]), continues[:-1]])
            keeps = keeps[..., None].expand(len(critic_input), *shape, 1)
            hidden = agents_first(batch.added["hidden"])[:, :1]
        # Values of all steps in one pass; then of the observations that no row shows
        critic_hidden = self._remembered(self.critic_hidden, critic_input)
        if critic_hidden is not None and hidden is not None:
            # Empty where the actor's is: there an episode begins.
            critic_hidden = critic_hidden * hidden.bool().any(-1, keepdim=True)
        output, states = self.run(self.critic, critic_input, critic_hidden, keeps)
        at_end = None if states is None else states[:, ends][:, None]
        final, _ = self.run(self.critic, inputs.final[:, None], at_end)
        self.critic_hidden = None if states is None else states[:, -1:].clone()
        value = self.value_norm.returns(output[..., 0])
        next_value = value.roll(-1, 1)
        next_value[:, ends] = self.value_norm.returns(final[:, 0])[..., 0]
        # Generalised advantages are lambda returns minus values
        discount = c.gamma * (1.0 - agents_first(batch.terminated))
        reward = agents_first(batch.reward)
        returns = lambda_returns(reward, discount, next_value, continues[None], c.gae_lambda)
        advantage, returns = returns - value, returns[..., None]
        if c.normalise_values:
            self.value_norm.observe(*self._all_rows(returns, present))
        target = self.value_norm(returns[..., 0])[..., None]
        if c.normalise_advantages:
            advantage = _standardised(*self._all_rows(advantage, present)).view_as(advantage)
        sampled = batch.added["drawn"] if self.head.numbers else batch.action
        legal = self.group.legal(batch.observation)
        return Rows(
            inputs.observation.unflatten(1, shape),
            critic_input,
            agents_first(sampled),
            agents_first(batch.added["log_probability"])[..., None],
            advantage[..., None],
            output,
            target,
            None if legal is None else agents_first(legal),
            present,
            keeps,
            hidden,
            critic_hidden,
        ).map(self._by_network)

    def _by_network(self, x: Tensor) -> Tensor:
        """[N, T, E, size] -> [K, T, E, n, size]."""
        return x[:, :, :, None] if self.stack == len(x) else x.movedim(0, 2)[None]

    def _all_rows(self, x: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[N, T, E, 1] or [N, T, E] -> [K, rows, 1], of both."""
        return (
            x.reshape(self.stack, -1, 1),
            None if present is None else present.reshape(self.stack, -1, 1),
        )

    def part(self, rows: Rows, index: Tensor, generator: torch.Generator) -> Rows:
        """A minibatch, [K, T, rows, size], with `augment` turned, reflected or shifted."""
        part = rows.map(lambda x: x[:, :, index])
        if self._changes:
            changed = {
                name: _changed(change, getattr(part, name), generator)
                for name, change in self._changes.items()
            }
            part = part._replace(**changed)
        return part.map(lambda x: x.flatten(2, 3))

    def actor_loss(self, x: Rows) -> tuple[Tensor, Logged]:
        """The clipped loss of the policy minus its entropy, [K], and values to log."""
        c = self.config
        output, _ = self.actor.network(x.observation, x.hidden, x.keeps)
        y = x.flat()
        policy = self.head(output.flatten(1, 2), self.actor.log_deviation, y.legal)
        change = policy.log_probability(y.drawn) - y.log_probability
        ratio = change.exp()
        clipped = ratio.clamp(1.0 - c.ratio_clip, 1.0 + c.ratio_clip)
        gain = torch.minimum(ratio * y.advantage, clipped * y.advantage)
        entropy = policy.entropy()
        loss = -mean_of_present(gain + c.entropy * entropy, y.present)
        seen = {
            "entropy": entropy,
            "clipped": ((ratio - 1.0).abs() > c.ratio_clip).float(),
            "divergence": ratio - 1.0 - change,  # from the policy that acted (Schulman 2020)
        }
        logged = {name: mean_of_present(v.detach(), y.present) for name, v in seen.items()}
        return loss, {"actor_loss": loss.detach(), **logged}

    def critic_loss(self, x: Rows) -> tuple[Tensor, Logged]:
        """The mean squared error of the critic, [K], and values to log."""
        limit = self.config.value_clip
        output, _ = self.critic(x.critic_input, x.critic_hidden, x.keeps)
        output, y = output.flatten(1, 2), x.flat()
        error = (output - y.target).square()
        if limit:
            near = y.value + (output - y.value).clamp(-limit, limit)
            error = torch.maximum(error, (near - y.target).square())
        loss = mean_of_present(error, y.present)
        value = mean_of_present(self.value_norm.returns(output.detach()), y.present)
        return loss, {"critic_loss": loss.detach(), "value": value}

    def observe(self, batch: Batch) -> None:
        """Let a rollout's observations enter the running statistics."""
        if self.normaliser is not None:
            rows = agents_first(batch.observation).flatten(1, 2)
            there = None if batch.present is None else agents_first(batch.present)
            there = None if there is None else self.stacked(there.flatten(1)[..., None])
            self.normaliser.observe(self.stacked(rows), there)

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        more = {"hidden": self.hidden, "critic_hidden": self.critic_hidden}
        return super().state_dict() | {k: x.clone() for k, x in more.items() if x is not None}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.hidden, self.critic_hidden = (
            state[name].clone() if name in state else None for name in ("hidden", "critic_hidden")
        )


def agents_first(x: Tensor) -> Tensor:
    """[T, E, N, ...] -> [N, T, E, ...]."""
    return x.movedim(2, 0)


def _standardised(x: Tensor, present: Tensor | None) -> Tensor:
    """[K, rows, 1] with mean 0 and deviation 1 over the rows of present agents."""
    x = x - mean_of_present(x, present).view(-1, 1, 1)
    return x / (mean_of_present(x.square(), present).sqrt().view(-1, 1, 1) + 1e-5)


def _changed(change: Change, x: Tensor, generator: torch.Generator) -> Tensor:
    """[K, T, E, n, size] with another change for each E."""
    rows = x.movedim(2, 0)
    return change(rows.flatten(1, 3), generator).view_as(rows).movedim(0, 2)
