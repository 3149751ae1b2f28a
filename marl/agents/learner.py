"""What the agents that descend from DDPG have in common: a learner for each group of agents, and
how learners are stored, published and slowed down."""

from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from marl.agents.base import Agent
from marl.exploration import Exploration, ParameterNoise


class Learner:
    """Networks and optimisers of one group that are stored together."""

    stored: tuple[str, ...]  # its attributes that are networks
    optimisers: tuple[str, ...] = ("actor_optimiser", "critic_optimiser")
    published: nn.Module  # what is needed to act
    updates = 0

    def scale_rates(self, share: float) -> None:
        """Learn with this share of the learning rates of the beginning."""
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
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


L = TypeVar("L", bound=Learner)


class LearningAgent(Agent, Generic[L]):
    """An agent that has a learner for each group, noise on actions, and parameter noise if any."""

    config: Any
    exploration: Exploration
    _generator: torch.Generator
    _learners: dict[str, L]
    _noise: dict[str, ParameterNoise]

    def anneal(self, progress: float) -> None:
        self.exploration.anneal(progress)
        share = 1.0 + (self.config.final_lr - 1.0) * progress
        for learner in self._learners.values():
            learner.scale_rates(share)

    def weights(self) -> dict[str, Tensor]:
        return {
            f"{g}.{name}": tensor.detach().clone()
            for g, learner in self._learners.items()
            for name, tensor in learner.published.state_dict().items()
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        for g, learner in self._learners.items():
            own = learner.published.state_dict()
            for name, tensor in own.items():
                stored = weights.get(f"{g}.{name}")
                if stored is None or stored.shape != tensor.shape:
                    found = "is missing" if stored is None else f"has shape {tuple(stored.shape)}"
                    raise ValueError(f"weight {g}.{name} {found}; {tuple(tensor.shape)} fits")
            learner.published.load_state_dict({k: weights[f"{g}.{k}"] for k in own})

    def state_dict(self) -> dict[str, Tensor]:
        state = {f"exploration.{k}": v for k, v in self.exploration.state_dict().items()}
        state["generator"] = self._generator.get_state()
        for g, noise in self._noise.items():
            state |= {f"noise.{g}.{k}": v for k, v in noise.state_dict().items()}
        for g, learner in self._learners.items():
            state |= {f"{g}.{k}": v for k, v in learner.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.exploration.load_state_dict(below("exploration.", state))
        self._generator.set_state(state["generator"])
        for g, noise in self._noise.items():
            noise.load_state_dict(below(f"noise.{g}.", state))
        for g, learner in self._learners.items():
            learner.load_state_dict(below(f"{g}.", state))


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin so, without the beginning."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def adam(module: nn.Module, rate: float) -> torch.optim.Adam:
    options = {"params": list(module.parameters()), "initial_lr": rate}
    return torch.optim.Adam([options], lr=rate, fused=True)


def clip(module: nn.Module, limit: float) -> None:
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
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """target <- target + rate (source - target)."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)
