"""Deep deterministic policy gradient (Lillicrap et al. 2015, algorithm 1) for many agents.

    y   = r + gamma (1 - terminated) min_i Q'_i(o', mu'(o') + smoothing noise)
    Q_i <- minimise mean (Q_i(o, a) - y)^2
    mu  <- maximise mean Q_1(o, mu(o))                     every `actor_delay` updates
    Q', mu' <- (1 - tau) Q', mu' + tau Q, mu

Three choices span the family: what the actor sees, what the critic sees, and whether every agent
has networks of its own or all share one (`FAMILY`). Networks of their own are stacked, so there is
no loop over agents; the loss is a mean over the batch and a sum over the stack, which is what K
separate learners would do.

Shapes: N agents of a group, B transitions, [N, B, size] throughout. Where transitions of single
agents are drawn, N is 1; so it is where one actor and one critic control all agents together.
"""

import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from marl.agents.learner import Learner, LearningAgent, adam, below, clip, follow
from marl.agents.normaliser import Normaliser
from marl.agents.symmetry import RandomViews, Symmetry
from marl.exploration import Exploration, ExplorationConfig, ParameterNoise
from marl.networks import NETWORKS
from marl.replay import Batch
from marl.worlds.base import Arrays, Group
from marl.worlds.views import JointView

ADAPT_EVERY = 10  # updates between two changes of the parameter noise's size


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


class DDPGConfig(BaseModel):
    """Settings of the DDPG family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["ddpg", "global", "atoc", "maddpg", "saddpg"] = "atoc"
    network: Literal["mlp", "set"] = Field("mlp", description="kind of actor and critic network")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64, 32, 32), min_length=1, description="mlp: units of the hidden layers"
    )
    width: int = Field(64, ge=1, description="set: units of every layer")
    layer_norm: tuple[Literal["actor", "critic"], ...] = Field(
        (), description="networks whose hidden layers are normalised"
    )
    normalise: bool = Field(
        False, description="mlp: shift and scale observations by their running statistics"
    )
    gamma: float = Field(0.9, ge=0, lt=1, description="discount factor")
    tau: float = Field(0.01, gt=0, le=1, description="step of the target networks per update")
    actor_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of the actor")
    critic_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of the critic")
    final_lr: float = Field(
        1.0, gt=0, le=1, description="learning rates fall in a straight line to this share"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="act greedily with the actor's running average; 0: off"
    )
    twin_critics: bool = Field(False, description="TD3: two critics, the smaller value counts")
    actor_delay: int = Field(1, ge=1, description="TD3: critic updates for each of the actor")
    target_smoothing: float = Field(
        0.0, ge=0, description="TD3: deviation of the noise on target actions (clipped at 2.5)"
    )
    gradient_clip: float = Field(
        0.0, ge=0, description="largest gradient norm of a network; 0: off"
    )
    action_penalty: float = Field(
        0.0, ge=0, description="cost of the actor's squared outputs before tanh"
    )
    augment: bool = Field(False, description="turn and reflect batches by the square's symmetries")
    random_views: dict[str, NonNegativeInt] = Field(
        {}, description="smallest number of items of each part to show, at random, in training"
    )


class DDPG(LearningAgent["_Learner"]):
    """Deterministic policy gradient: a learner for each group, and what they see of each other."""

    def __init__(
        self,
        groups: dict[str, Group],
        config: DDPGConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.groups = groups
        self.config = config
        self.row = FAMILY[config.name]
        # Only where nobody's networks need to know whose transition it was may agents be mixed.
        self.whole_steps = config.name != "atoc"
        self.any_number = self.row.actor == "own" and self.row.networks == "one"
        weights, noise, batches = map(int, np.random.SeedSequence(seed).generate_state(3))
        self.exploration = Exploration(
            exploration or ExplorationConfig(), torch.Generator().manual_seed(noise)
        )
        self._generator = torch.Generator().manual_seed(batches)
        self._shown: dict[str, Tensor] = {}  # with random views: items shown, [N, E, parts]
        self._views = {g: JointView(groups[g]) for g in groups if self.row.actor == "all"}
        seen = {g: self._views[g].group if self._views else group for g, group in groups.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            self._learners = {g: _Learner(g, seen, config) for g in groups}
        self._noise = {
            g: ParameterNoise(learner.actor, self.exploration)
            for g, learner in self._learners.items()
            if self.exploration.config.kind == "psne"
        }

    # ------------------------------------------------------------------------------------- acting

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self._learners.items():
                rows = torch.as_tensor(observation[g], dtype=torch.float32)
                if self._views:
                    rows = self._views[g].join(rows)
                rows = learner.normalised(rows.transpose(0, 1), learn=explore)  # [N, E, O]
                if explore:
                    rows = self._half_hidden(g, rows)
                if explore and g in self._noise:
                    action = self._noise[g].act(rows)
                else:
                    action = learner.act(learner.actor if explore else learner.greedy, rows)
                action = action.transpose(0, 1)
                if self._views:
                    action = self._views[g].split(action)
                actions[g] = self.exploration.disturb(g, action) if explore else action
        return {g: action.numpy() for g, action in actions.items()}

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
        rows = {g: self._rows(g, columns) for g, columns in batch.items()}
        observation = {g: r.observation for g, r in rows.items()}
        action = {g: r.action for g, r in rows.items()}
        next_observation = {g: r.next_observation for g, r in rows.items()}
        next_action = {
            g: self._learners[g].next_action(r, self._generator) for g, r in rows.items()
        }
        results = {}
        for g, learner in self._learners.items():
            result = learner.update(
                rows[g],
                self._observations_seen(observation, g),
                self._own_first(action, g),
                self._observations_seen(next_observation, g),
                self._own_first(next_action, g),
            )
            if g in self._noise:
                if learner.updates % ADAPT_EVERY == 0:
                    self._noise[g].adapt(learner.stacked(rows[g].seen))
                result["parameter_noise"] = self._noise[g].sigma.mean()
            for name, value in result.items():
                results[name if len(batch) == 1 else f"{g}.{name}"] = value
        return results

    def _rows(self, g: str, batch: Batch) -> "_Rows":
        """A batch [B, N, ...] as the learner of the group takes it."""
        observation, action, reward, next_observation, terminated = batch
        if self._views:  # one mind gets the mean reward, and is done when all are
            join = self._views[g].join
            observation, action, next_observation = map(
                join, (observation, action, next_observation)
            )
            reward, terminated = reward.mean(1, True), terminated.amin(1, True)
        columns = (observation, action, reward[..., None], next_observation, terminated[..., None])
        return self._learners[g].rows(*columns, self._generator)

    def _observations_seen(self, x: dict[str, Tensor], g: str) -> Tensor:
        """Of everybody's observations, what each critic of the group sees: [N, B, size]. A critic
        of one's own can tell agents apart in any order, so that all of them share one table."""
        if self.row.critic == "own" or self.row.networks == "one":
            return self._own_first(x, g)
        table = torch.cat([x[h].transpose(0, 1).flatten(1) for h in sorted(x, key=g.__ne__)], 1)
        return table.expand(len(x[g]), -1, -1)

    def _own_first(self, x: dict[str, Tensor], g: str) -> Tensor:
        """Of everybody's numbers, what each critic of the group sees, [N, B, size]: its own, or all
        of them with its own first, then those of its group in turn, then the other groups'."""
        own = x[g]
        if self.row.critic == "own":
            return own
        n = len(own)
        turn = (torch.arange(n)[:, None] + torch.arange(n)) % n
        turned = own[turn].transpose(1, 2).flatten(2)  # [N, B, N size]
        others = [v.transpose(0, 1).flatten(1).expand(n, -1, -1) for h, v in x.items() if h != g]
        return torch.cat([turned, *others], -1)

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {f"shown.{g}": x.clone() for g, x in self._shown.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._shown = below("shown.", state)


class _Rows(NamedTuple):
    """A batch as a learner takes it, [N, B, size]."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor
    seen: Tensor  # what is shown of the observations to the actor
    next_seen: Tensor


class _Learner(Learner):
    """Networks, targets and optimisers of one group; stacked, where each agent has its own."""

    def __init__(self, g: str, groups: dict[str, Group], config: DDPGConfig) -> None:
        self.config = config
        row, group = FAMILY[config.name], groups[g]
        self.stack = len(group) if row.networks == "each" else 1
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

        def network(parts: tuple, inputs: int, extra: int, outputs: int, of: str) -> nn.Module:
            shape = (config.hidden, config.width, of in config.layer_norm)
            return NETWORKS[config.network](self.stack, parts, inputs, extra, outputs, *shape)

        def twin(of: nn.Module) -> nn.Module:
            return copy.deepcopy(of).requires_grad_(False)

        self.actor = network(parts, inputs, 0, actions, "actor")
        self.critics = nn.ModuleList(
            network(critic_parts, critic_inputs, critic_actions, 1, "critic")
            for _ in range(1 + config.twin_critics)
        )
        self.target_actor, self.target_critics = twin(self.actor), twin(self.critics)
        self.greedy = twin(self.actor) if config.average else self.actor
        self.actor_optimiser = adam(self.actor, config.actor_lr)
        self.critic_optimiser = adam(self.critics, config.critic_lr)
        self.stored = ("actor", "critics", "target_actor", "target_critics", "greedy")
        self.normaliser: Normaliser | None = None
        if config.normalise:
            if config.network == "set":
                raise ValueError(
                    "agent.normalise is on, but a 'set' network compares positions, which scaling "
                    "them one by one would distort; use 'mlp'"
                )
            self.normaliser = Normaliser(self.stack, inputs, parts)
        self.published = nn.ModuleDict({"actor": self.greedy})
        if self.normaliser:
            self.published["normaliser"] = self.normaliser
            self.stored += ("normaliser",)
        self.symmetry: Symmetry | None = None
        self.action_symmetry: Symmetry | None = None
        self.views: RandomViews | None = None
        if config.augment:
            if not (parts and group.action_parts):
                raise ValueError(
                    "agent.augment is on, but the world does not say what its vectors are"
                )
            self.symmetry = Symmetry(parts)
            self.action_symmetry = Symmetry(group.action_parts)
        if config.random_views:
            self.views = RandomViews(parts, config.random_views)

    def stacked(self, x: Tensor) -> Tensor:
        """[N, B, size] as the networks take it, [K, rows, size]."""
        return x.reshape(self.stack, -1, x.shape[-1])

    def act(self, actor: nn.Module, seen: Tensor) -> Tensor:
        """Actions [N, B, A] for what agents see, [N, B, O] (normalised)."""
        return actor(self.stacked(seen)).tanh().view(*seen.shape[:2], -1)

    def normalised(self, observation: Tensor, learn: bool = False) -> Tensor:
        """[N, B, O] -> [N, B, O]; `learn`: take note of them first."""
        if self.normaliser is None:
            return observation
        rows = self.stacked(observation)
        if learn:
            self.normaliser.observe(rows)
        return self.normaliser(rows).view_as(observation)

    def rows(
        self,
        observation: Tensor,
        action: Tensor,
        reward: Tensor,
        next_observation: Tensor,
        terminated: Tensor,
        generator: torch.Generator,
    ) -> _Rows:
        """A batch [B, N, size], turned, reflected, normalised and partly hidden as configured."""
        if self.symmetry and self.action_symmetry:
            observation = self.symmetry(observation)
            next_observation = self.symmetry(next_observation)
            action = self.action_symmetry(action)
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
        return _Rows(observation, action, reward, next_observation, terminated, seen, next_seen)

    @torch.no_grad()
    def next_action(self, rows: _Rows, generator: torch.Generator) -> Tensor:
        """What the target actor does next, smoothed by clipped noise if configured: [N, B, A]."""
        action = self.act(self.target_actor, rows.next_seen)
        if self.config.target_smoothing:
            noise = torch.randn(action.shape, generator=generator).clamp(-2.5, 2.5)
            action = (action + self.config.target_smoothing * noise).clamp(-1.0, 1.0)
        return action

    def update(
        self,
        rows: _Rows,
        observation: Tensor,
        action: Tensor,
        next_observation: Tensor,
        next_action: Tensor,
    ) -> dict[str, Tensor]:
        """One update; the four tensors are what the critics see."""
        c = self.config
        o, a, o2, a2 = map(self.stacked, (observation, action, next_observation, next_action))
        reward, terminated = self.stacked(rows.reward), self.stacked(rows.terminated)
        self.updates += 1

        # Critic: one step towards y
        with torch.no_grad():
            values = [q(o2, a2) for q in self.target_critics.children()]
            value = values[0] if len(values) == 1 else torch.minimum(*values)
            target = reward + c.gamma * (1.0 - terminated) * value
        estimates = [q(o, a) for q in self.critics.children()]
        critic_loss = torch.stack([_loss((q - target).square()) for q in estimates]).sum()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        clip(self.critics, c.gradient_clip)
        self.critic_optimiser.step()
        result = {"critic_loss": critic_loss.detach(), "value": estimates[0].detach().mean()}

        # Actor: one step up the critic's slope, everybody else's actions being those of the batch
        if self.updates % c.actor_delay == 0:
            output = self.actor(self.stacked(rows.seen))
            own = output.tanh()
            actions = torch.cat([own, a[..., own.shape[-1] :]], -1)
            actor_loss = -_loss(self.critics[0](o, actions))
            if c.action_penalty:
                actor_loss = actor_loss + c.action_penalty * _loss(output.square())
            parameters = list(self.actor.parameters())
            for p, gradient in zip(
                parameters, torch.autograd.grad(actor_loss, parameters), strict=True
            ):
                p.grad = gradient
            clip(self.actor, c.gradient_clip)
            self.actor_optimiser.step()
            result["actor_loss"] = actor_loss.detach()
            result["saturated"] = (own.detach().abs() > 0.99).float().mean()
            follow(self.target_actor, self.actor, c.tau)
            if c.average:
                # a plain mean at first, so that the start does not linger
                rate = max(1.0 - c.average, 1.0 / (self.updates // c.actor_delay))
                follow(self.greedy, self.actor, rate)
        follow(self.target_critics, self.critics, c.tau)
        return result


def _loss(x: Tensor) -> Tensor:
    """Mean over the batch, sum over the stack: [K, rows, size] -> []."""
    return x.mean((1, 2)).sum()
