"""The DDPG family (Lillicrap et al. 2015; TD3's options: Fujimoto et al. 2018).

    y    = r + gamma (1 - terminated) min_i Q'_i(o', mu'(o') + smoothing noise)
    Q_i <- minimise mean (Q_i(o, a) - y)^2
    mu  <- maximise mean Q_1(o, mu(o))                     every `actor_delay` updates
    Q', mu' <- (1 - tau) Q', mu' + tau Q, mu

Two choices span the family: what actor and critic see, and how many networks there are. Here: own
observations, one actor and one critic shared by all agents of a group, which is ATOC (Jiang & Lu
2018) without communication. Every agent's transition teaches the same networks, so the policy does
not know how many agents there are.
"""

import copy
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from marl.agents.base import Agent
from marl.agents.symmetry import RandomViews, Symmetry
from marl.exploration import Exploration, ExplorationConfig
from marl.networks import NETWORKS
from marl.replay import Batch
from marl.worlds.base import Arrays, Group


class DDPGConfig(BaseModel):
    """Settings of the DDPG family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["atoc"] = "atoc"
    network: Literal["mlp", "set"] = Field("mlp", description="kind of actor and critic network")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 64, 32, 32), min_length=1, description="mlp: units of the hidden layers"
    )
    width: int = Field(64, ge=1, description="set: units of every layer")
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
    augment: bool = Field(False, description="turn and reflect batches by the square's symmetries")
    random_views: dict[str, NonNegativeInt] = Field(
        {}, description="smallest number of items of each part to show, at random, in training"
    )


class DDPG(Agent):
    """Deterministic policy gradient with one actor and one critic for each group."""

    def __init__(
        self,
        groups: dict[str, Group],
        config: DDPGConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.groups = groups
        self.config = config
        weights, noise, batches = map(int, np.random.SeedSequence(seed).generate_state(3))
        generator = torch.Generator().manual_seed(noise)
        self.exploration = Exploration(exploration or ExplorationConfig(), generator)
        self._generator = torch.Generator().manual_seed(batches)
        self._shown: dict[str, Tensor] = {}  # with random views: items shown, [E N, parts]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            self._learners = {g: _Learner(group, config) for g, group in groups.items()}

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self._learners.items():
                rows = torch.as_tensor(observation[g], dtype=torch.float32)
                actor = learner.actor if explore else learner.greedy
                worlds, agents = rows.shape[:2]
                rows = rows.reshape(worlds * agents, -1)
                if explore and learner.views:
                    # The same view for a whole episode, so that learning meets the situations into
                    # which a narrow view leads.
                    if g not in self._shown:
                        self._shown[g] = learner.views.draw(len(rows), self._generator)
                    rows = rows * learner.views.mask(self._shown[g])
                action = actor(rows[None]).tanh().view(worlds, agents, -1)
                actions[g] = (self.exploration.disturb(g, action) if explore else action).numpy()
        return actions

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.exploration.reset(mask)
        for g, learner in self._learners.items():
            if g in self._shown and learner.views:
                worlds = len(self._shown[g]) // len(self.groups[g])
                begun = np.ones(worlds, bool) if mask is None else mask
                rows = torch.from_numpy(np.repeat(begun, len(self.groups[g])))
                drawn = learner.views.draw(len(rows), self._generator)
                self._shown[g] = torch.where(rows[:, None], drawn, self._shown[g])

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        return {
            name if len(batch) == 1 else f"{g}.{name}": value
            for g, rows in batch.items()
            for name, value in self._learners[g].update(rows, self._generator).items()
        }

    def anneal(self, progress: float) -> None:
        self.exploration.anneal(progress)
        share = 1.0 + (self.config.final_lr - 1.0) * progress
        for learner in self._learners.values():
            for optimiser in (learner.actor_optimiser, learner.critic_optimiser):
                for options in optimiser.param_groups:
                    options["lr"] = options["initial_lr"] * share

    def weights(self) -> dict[str, Tensor]:
        return {
            f"{g}.actor.{name}": tensor.detach().clone()
            for g, learner in self._learners.items()
            for name, tensor in learner.greedy.state_dict().items()
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        for g, learner in self._learners.items():
            own = learner.greedy.state_dict()
            for name, tensor in own.items():
                stored = weights.get(f"{g}.actor.{name}")
                if stored is None or stored.shape != tensor.shape:
                    found = "is missing" if stored is None else f"has shape {tuple(stored.shape)}"
                    raise ValueError(f"weight {g}.actor.{name} {found}; {tuple(tensor.shape)} fits")
            learner.greedy.load_state_dict({k: weights[f"{g}.actor.{k}"] for k in own})

    def state_dict(self) -> dict[str, Tensor]:
        state = {f"exploration.{k}": v for k, v in self.exploration.state_dict().items()}
        state["generator"] = self._generator.get_state()
        state |= {f"shown.{g}": shown.clone() for g, shown in self._shown.items()}
        for g, learner in self._learners.items():
            state |= {f"{g}.{k}": v for k, v in learner.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        def below(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.exploration.load_state_dict(below("exploration."))
        self._generator.set_state(state["generator"])
        self._shown = below("shown.")
        for g, learner in self._learners.items():
            learner.load_state_dict(below(f"{g}."))


class _Learner:
    """Networks, targets and optimisers of one group."""

    def __init__(self, group: Group, config: DDPGConfig) -> None:
        self.config = config
        (inputs,), (actions,) = group.observation_space.shape, group.action_space.shape

        def network(extra: int, outputs: int) -> nn.Module:
            kind, parts = NETWORKS[config.network], group.observation_parts
            return kind(1, parts, inputs, extra, outputs, config.hidden, config.width)

        def twin(of: nn.Module) -> nn.Module:
            return copy.deepcopy(of).requires_grad_(False)

        critics = [network(actions, 1) for _ in range(1 + config.twin_critics)]
        self.actor, self.critics = network(0, actions), nn.ModuleList(critics)
        self.target_actor, self.target_critics = twin(self.actor), twin(self.critics)
        self.greedy = twin(self.actor) if config.average else self.actor
        self.actor_optimiser = _adam(self.actor, config.actor_lr)
        self.critic_optimiser = _adam(self.critics, config.critic_lr)
        self.updates = 0
        self.symmetry: Symmetry | None = None
        self.action_symmetry: Symmetry | None = None
        self.views: RandomViews | None = None
        if config.augment:
            if not group.action_parts:
                raise ValueError(
                    "agent.augment is on, but the world does not say what its vectors are"
                )
            self.symmetry = Symmetry(group.observation_parts)
            self.action_symmetry = Symmetry(group.action_parts)
        if config.random_views:
            self.views = RandomViews(group.observation_parts, config.random_views)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        c = self.config
        observation, action, reward, next_observation, terminated = self._varied(batch, generator)
        self.updates += 1

        # Critic: one step towards y
        with torch.no_grad():
            next_action = self.target_actor(next_observation).tanh()
            if c.target_smoothing:
                noise = torch.randn(next_action.shape, generator=generator).clamp(-2.5, 2.5)
                next_action = (next_action + c.target_smoothing * noise).clamp(-1.0, 1.0)
            values = [q(next_observation, next_action) for q in self.target_critics.children()]
            value = values[0] if len(values) == 1 else torch.minimum(*values)
            target = reward + c.gamma * (1.0 - terminated) * value
        estimates = [q(observation, action) for q in self.critics.children()]
        critic_loss = torch.stack([(q - target).square().mean() for q in estimates]).sum()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        _clip(self.critics, c.gradient_clip)
        self.critic_optimiser.step()
        result = {"critic_loss": critic_loss.detach(), "value": estimates[0].detach().mean()}

        # Actor: one step up the critic's slope
        if self.updates % c.actor_delay == 0:
            own = self.actor(observation).tanh()
            actor_loss = -self.critics[0](observation, own).mean()
            parameters = list(self.actor.parameters())
            for p, gradient in zip(
                parameters, torch.autograd.grad(actor_loss, parameters), strict=True
            ):
                p.grad = gradient
            _clip(self.actor, c.gradient_clip)
            self.actor_optimiser.step()
            result["actor_loss"] = actor_loss.detach()
            result["saturated"] = (own.detach().abs() > 0.99).float().mean()
            _follow(self.target_actor, self.actor, c.tau)
            if c.average:
                # a plain mean at first, so that the start does not linger
                rate = max(1.0 - c.average, 1.0 / (self.updates // c.actor_delay))
                _follow(self.greedy, self.actor, rate)
        _follow(self.target_critics, self.critics, c.tau)
        return result

    def _varied(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The batch as [1, B, size], turned, reflected and partly hidden as configured."""
        observation, action, reward, next_observation, terminated = batch
        if self.symmetry and self.action_symmetry:
            observation, next_observation = (
                self.symmetry(observation),
                self.symmetry(next_observation),
            )
            action = self.action_symmetry(action)
        if self.views:
            mask = self.views.mask(self.views.draw(len(observation), generator))
            observation, next_observation = observation * mask, next_observation * mask
        columns = (reward[:, None], next_observation, terminated[:, None])
        return tuple(x[None] for x in (observation, action, *columns))

    def state_dict(self) -> dict[str, Tensor]:
        state = {"updates": torch.tensor(self.updates)}
        for name in ("actor", "critics", "target_actor", "target_critics", "greedy"):
            for key, tensor in getattr(self, name).state_dict().items():
                state[f"{name}.{key}"] = tensor.clone()
        for name in ("actor_optimiser", "critic_optimiser"):
            for index, moments in getattr(self, name).state_dict()["state"].items():
                for key, tensor in moments.items():
                    state[f"{name}.{index}.{key}"] = tensor.clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.updates = int(state["updates"])
        for name in ("actor", "critics", "target_actor", "target_critics", "greedy"):
            module = getattr(self, name)
            module.load_state_dict({k: state[f"{name}.{k}"] for k in module.state_dict()})
        for name in ("actor_optimiser", "critic_optimiser"):
            optimiser = getattr(self, name)
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in state.items():
                if key.startswith(f"{name}."):
                    _, index, moment = key.split(".")
                    moments.setdefault(int(index), {})[moment] = tensor.clone()
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _adam(module: nn.Module, rate: float) -> torch.optim.Adam:
    options = {"params": list(module.parameters()), "initial_lr": rate}
    return torch.optim.Adam([options], lr=rate, fused=True)


def _clip(module: nn.Module, limit: float) -> None:
    """Scale each network's gradient down to the norm `limit`; slice by slice, as stacked networks
    must not feel each other."""
    if limit:
        for part in module if isinstance(module, nn.ModuleList) else [module]:
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
            scale = (limit / (norm + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


@torch.no_grad()
def _follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """target <- target + rate (source - target)."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)
