"""LearningAgent: a learner for each group, noise, checkpoints and falling learning rates."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from marl.agents.core.base import Agent
from marl.learning.exploration import Exploration, ExplorationConfig
from marl.learning.normalisation import Normaliser
from marl.learning.parameter_noise import ParameterNoise
from marl.worlds.spaces import Group

ADAPT_EVERY = 10  # updates between two changes of the parameter noise's deviation
# The most in one call of a network, so that any number of agents fits in memory.
PIECE, NUMBERS = 4096, 2**24  # rows; numbers that they hold


Logged = dict[str, Tensor]
"""Values for the log, [K] each."""


class Learner:
    """Networks and optimisers of one group. Their states are stored together."""

    stored: tuple[str, ...]  # names of the attributes that are networks
    optimisers: tuple[str, ...]  # names of the attributes that are optimisers
    config: Any  # its settings
    actor: nn.Module  # explores; parameter noise disturbs its copies
    published: nn.Module  # the networks that greedy actions need
    stack: int  # networks side by side: one for each agent, or one for all
    normaliser: Normaliser | None = None
    updates = 0

    def stacked(self, x: Tensor) -> Tensor:
        """[N, B, size] -> [K, rows, size], the shape that the networks take."""
        return x.reshape(self.stack, -1, x.shape[-1])

    def normalised(self, observation: Tensor, learn: bool = False) -> Tensor:
        """[N, B, O] -> [N, B, O]; `learn`: the observations first enter the statistics."""
        if self.normaliser is None:
            return observation
        rows = self.stacked(observation)
        if learn:
            self.normaliser.observe(rows)
        return self.normaliser(rows).view_as(observation)

    def normalise(self, group: Group) -> None:
        """Let the running statistics of this group's observations be part of the learner, stored
        and published."""
        size, parts = group.observation_size, group.observation_parts
        self.normaliser = Normaliser(self.stack, size, parts)
        self.published.add_module("normaliser", self.normaliser)
        self.stored += ("normaliser",)

    def descend(self, network: nn.Module, optimiser: torch.optim.Adam, loss: Tensor) -> None:
        """One optimiser step on the losses [K] of one network. Other networks get no gradient;
        parameters that the loss does not use stay."""
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        clip(network, self.config.gradient_clip)
        optimiser.step()

    def scale_rates(self, share: float) -> None:
        """Set the learning rates to this share of their start."""
        for name in self.optimisers:
            for options in getattr(self, name).param_groups:
                options["lr"] = options["initial_lr"] * share

    def state_dict(self) -> dict[str, Tensor]:
        state = {"updates": torch.tensor(self.updates)}
        for name in self.stored:
            for key, tensor in getattr(self, name).state_dict().items():
                state[f"{name}.{key}"] = tensor.clone()
        for name in self.optimisers:
            for index, moments in getattr(self, name).state_dict()["state"].items():
                for key, tensor in moments.items():
                    state[f"{name}.{index}.{key}"] = tensor.clone()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.updates = int(state["updates"])
        for name in self.stored:
            module = getattr(self, name)
            module.load_state_dict({k: state[f"{name}.{k}"] for k in module.state_dict()})
        for name in self.optimisers:
            optimiser = getattr(self, name)
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in state.items():
                if key.startswith(f"{name}."):
                    _, index, moment = key.split(".")
                    moments.setdefault(int(index), {})[moment] = tensor.clone()
            parameters = [x for options in optimiser.param_groups for x in options["params"]]
            for number, found in moments.items():  # torch's optimiser does not check their shapes
                like = parameters[number]
                expected = {"step": torch.zeros(()), "exp_avg": like, "exp_avg_sq": like}
                if _layout(found) != _layout(expected):
                    raise ValueError(f"{name}.{number} does not fit its parameter")
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def mean_of_present(x: Tensor, present: Tensor | None) -> Tensor:
    """Mean over the rows of present agents: [K, rows, size] -> [K]."""
    if present is None:
        return x.mean((1, 2))
    return (x.mean(2, True) * present).sum((1, 2)) / present.sum((1, 2)).clamp(min=1.0)


def of_all(result: Logged) -> Logged:
    """Values to log of K networks together: losses are sums, as in the update."""
    return {k: x.sum() if k.endswith("_loss") else x.mean() for k, x in result.items()}


def frozen(network: nn.Module) -> nn.Module:
    """A copy that no optimiser changes."""
    return copy.deepcopy(network).requires_grad_(False)


def clip(module: nn.Module, limit: float) -> None:
    """Scale the gradient of each network down to the norm `limit`. Each slice of a stack has a norm
    of its own, so stacked networks stay independent."""
    if limit:
        for part in module if isinstance(module, nn.ModuleList) else [module]:
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
            norm = torch.linalg.vector_norm(norms, dim=0)
            scale = (limit / (norm + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


L = TypeVar("L", bound=Learner)


class LearningAgent(Agent, Generic[L]):
    """An agent with a learner for each group, noise on actions and, with "psne", on parameters."""

    noises: ClassVar[tuple[str, ...]] = ("gaussian", "ou", "psne", "none")  # the kinds of
    # `exploration.kind` that it has; null is the first one

    def __init__(
        self,
        groups: dict[str, Group],
        config: Any,
        exploration: ExplorationConfig | None,
        seed: int,
        make_learner: Callable[[str], L],
    ) -> None:
        """`make_learner` makes the learner of a group; its argument is the group's name."""
        self.groups = groups
        self.config = config
        exploration = exploration or ExplorationConfig()
        if exploration.kind not in (None, *self.noises):
            raise ValueError(
                f"exploration.kind is {exploration.kind!r}; {config.name!r} has the kinds "
                f"{', '.join(self.noises)}"
            )
        weights, noise, rest = map(int, np.random.SeedSequence(seed).generate_state(3))
        self.exploration = Exploration(
            exploration, torch.Generator().manual_seed(noise), self.noises[0]
        )
        self.generator = torch.Generator().manual_seed(rest)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            self.learners = {g: make_learner(g) for g in groups}
        self.noise = {
            g: ParameterNoise(learner.actor, self.exploration)
            for g, learner in self.learners.items()
            if self.exploration.kind == "psne"
        }

    def logged(self, g: str, result: dict[str, Tensor], *seen: Any) -> dict[str, Tensor]:
        """A group's result for the log, once its parameter noise has adapted to `seen`."""
        if g in self.noise:
            if self.learners[g].updates % ADAPT_EVERY == 0:
                self.noise[g].adapt(*seen)
            result["parameter_noise"] = self.noise[g].sigma.mean()
        prefix = f"{g}." if len(self.learners) > 1 else ""
        return {f"{prefix}{name}": value for name, value in result.items()}

    def anneal(self, progress: float) -> None:
        self.exploration.anneal(progress)
        for learner in self.learners.values():
            learner.scale_rates(1.0 + (learner.config.final_lr - 1.0) * progress)

    def weights(self) -> dict[str, Tensor]:
        return {
            f"{g}.{name}": tensor.detach().clone()
            for g, learner in self.learners.items()
            for name, tensor in learner.published.state_dict().items()
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        for g, learner in self.learners.items():
            own = learner.published.state_dict()
            for name, tensor in own.items():
                stored = weights.get(f"{g}.{name}")
                if stored is None or stored.shape != tensor.shape:
                    found = "is missing" if stored is None else f"has shape {tuple(stored.shape)}"
                    raise ValueError(f"weight {g}.{name} {found}; {tuple(tensor.shape)} fits")
            learner.published.load_state_dict({k: weights[f"{g}.{k}"] for k in own})

    def state_dict(self) -> dict[str, Tensor]:
        state = {f"exploration.{k}": v for k, v in self.exploration.state_dict().items()}
        state["generator"] = self.generator.get_state()
        for g, noise in self.noise.items():
            state |= {f"noise.{g}.{k}": v for k, v in noise.state_dict().items()}
        for g, learner in self.learners.items():
            state |= {f"{g}.{k}": v for k, v in learner.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.exploration.load_state_dict(below("exploration.", state))
        self.generator.set_state(state["generator"])
        for g, noise in self.noise.items():
            noise.load_state_dict(below(f"noise.{g}.", state))
        for g, learner in self.learners.items():
            learner.load_state_dict(below(f"{g}.", state))


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def piecewise(network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """The network's output for [K, rows, size], in pieces."""
    most = max(1, min(PIECE, NUMBERS // rows.shape[-1]))
    if rows.shape[1] <= most:
        return network(rows)
    return torch.cat([network(piece) for piece in rows.split(most, 1)], 1)


def rows_of(observation: np.ndarray) -> Tensor:
    """Observations [E, N, *O] as rows, [E, N, size]: float32, or the bytes of pictures."""
    rows = torch.as_tensor(observation)
    return rows.flatten(2) if rows.dtype == torch.uint8 else rows.to(torch.float32)


def adam(module: nn.Module, rate: float, *more: tuple[nn.Module, float]) -> torch.optim.Adam:
    """Adam for a module, and for `more` modules with learning rates of their own."""
    groups = [
        {"params": list(part.parameters()), "lr": lr, "initial_lr": lr}
        for part, lr in [(module, rate), *more]
    ]
    return torch.optim.Adam(groups, fused=True)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """target <- target + rate (source - target)."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)


def average(mean: nn.Module, network: nn.Module, decay: float, n: int) -> None:
    """Move the running average of a network after its n-th update; `decay` 0: there is none."""
    if decay:
        # Until the decay takes over, the n-th network has the weight n (n + 1) (n + 2), so that the
        # first ones are soon forgotten (Shamir & Zhang 2013, with eta = 3).
        follow(mean, network, max(1.0 - decay, 4 / (n + 3)))
