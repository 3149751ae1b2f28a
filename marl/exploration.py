"""Noise on actions, Ornstein-Uhlenbeck and Gaussian, or on the actor's parameters; with a schedule
for its scale."""

import copy
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

# Of parameter noise. The paper's steps of 1.01 every 50 updates take 10 000 updates to shrink a
# sigma that is ten times too large; until then the disturbed actors run away from all that matters.
FIRST_SIGMA = 0.02  # small: noise that is too weak at first costs nothing
ADAPTION = 1.05  # by which factor sigma grows or shrinks


class ExplorationConfig(BaseModel):
    """How actions are disturbed while learning. `sigma` is the standard deviation of gaussian
    noise, the diffusion of ou, and for psne the distance between disturbed and greedy actions that
    is aimed at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["gaussian", "ou", "psne", "none"] = Field("gaussian", description="which noise")
    scale: float = Field(1.0, ge=0, description="factor on the noise at the start of training")
    final_scale: float = Field(1.0, ge=0, description="factor on the noise once annealed")
    anneal: float = Field(1.0, gt=0, le=1, description="share of training until final_scale")
    sigma: float = Field(0.2, ge=0, description="size of the noise")
    theta: float = Field(0.15, ge=0, le=1, description="ou: pull back to zero, per step")


class Exploration:
    """Noise for actions [E, N, A], one state for every world and agent, drawn from `generator`."""

    def __init__(self, config: ExplorationConfig, generator: torch.Generator) -> None:
        self.config = config
        self.scale = config.scale
        self.generator = generator
        self._state: dict[str, Tensor] = {}  # ou: where the process is, [E, N, A] of each group

    def anneal(self, progress: float) -> None:
        """Set the scale for this share (0 to 1) of training done: a straight line, then flat."""
        c = self.config
        self.scale = c.scale + (c.final_scale - c.scale) * min(progress / c.anneal, 1.0)

    def disturb(self, group: str, action: Tensor) -> Tensor:
        """The action plus noise, clipped to [-1, 1]."""
        if self.config.kind in ("none", "psne") or self.scale == 0:
            return action
        noise = self.config.sigma * torch.randn(action.shape, generator=self.generator)
        if self.config.kind == "ou":
            # Euler-Maruyama with a unit time step, as DDPG is usually run (Lillicrap et al. 2015)
            state = self._state.get(group, torch.zeros_like(noise))
            noise = self._state[group] = (1 - self.config.theta) * state + noise
        return (action + self.scale * noise).clamp(-1.0, 1.0)

    def chooser(self, explore: bool) -> torch.Generator | None:
        """What draws choices while exploring; None: the best one is taken."""
        return self.generator if explore and self.config.kind != "none" else None

    def reset(self, mask: np.ndarray | None) -> None:
        """Start the process afresh in the worlds of `mask` (bool[E]; None: all)."""
        if mask is None:
            self._state.clear()
        for state in self._state.values():
            state[torch.from_numpy(mask)] = 0.0

    def state_dict(self) -> dict[str, Tensor]:
        states = {f"state.{group}": state.clone() for group, state in self._state.items()}
        return {**states, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.generator.set_state(state["generator"])
        prefix = "state."
        self._state = {
            k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)
        }


class ParameterNoise:
    """Disturbed copies of an actor (K stacked networks), one for each world, made when an episode
    begins there and kept until it ends (Plappert et al. 2018, sections 3 and 4).

    The parameters get noise of standard deviation `sigma` f32[K], one for each network, which
    `adapt` keeps such that actions differ by what is aimed at. Layer normalisation is left alone.
    """

    def __init__(self, actor: nn.Module, exploration: Exploration) -> None:
        stack = len(next(actor.parameters()))
        self._actor = actor
        self._exploration = exploration
        self._copies: nn.Module | None = None  # [E K] networks, world by world
        self.sigma = torch.full((stack,), FIRST_SIGMA)

    def act(self, seen: Tensor, *more: Any) -> Tensor:
        """Actions [N, E, A] of the disturbed actors for what agents see, [N, E, O]; they are called
        with [E K, N / K, O] and `more`."""
        n, worlds, size = seen.shape
        networks = worlds * len(self.sigma)
        if self._copies is None:
            self._copies = self._repeated(worlds)
            self._disturb(self._copies, torch.ones(worlds, dtype=torch.bool))
        rows = seen.transpose(0, 1).reshape(networks, -1, size)
        return self._copies(rows, *more).tanh().reshape(worlds, n, -1).transpose(0, 1)

    def reset(self, mask: np.ndarray | None) -> None:
        """New noise in the worlds of `mask` (bool[E]; None: all, of which there may be others)."""
        if mask is None:
            self._copies = None
        elif self._copies is not None and mask.any():
            self._disturb(self._copies, torch.from_numpy(mask))

    def adapt(self, seen: Tensor, *more: Any) -> None:
        """Let sigma grow where a disturbed actor, on a batch [K, B, O] (and `more`), stays too
        close to the actor, and shrink where it strays too far."""
        probe = self._repeated(1)
        self._disturb(probe, torch.ones(1, dtype=torch.bool))
        with torch.no_grad():
            change = probe(seen, *more).tanh() - self._actor(seen, *more).tanh()
        distance = change.square().mean((1, 2)).sqrt()
        aim = self._exploration.config.sigma * self._exploration.scale
        self.sigma *= torch.where(distance < aim, ADAPTION, 1.0 / ADAPTION)

    def state_dict(self) -> dict[str, Tensor]:
        state = {"sigma": self.sigma.clone()}
        if self._copies is not None:
            state |= {f"copies.{k}": v.clone() for k, v in self._copies.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sigma = state["sigma"].clone()
        copies = {k.removeprefix("copies."): v for k, v in state.items() if k != "sigma"}
        self._copies = None
        if copies:
            worlds = len(next(iter(copies.values()))) // len(self.sigma)
            self._copies = self._repeated(worlds)
            self._copies.load_state_dict(copies)

    def _repeated(self, worlds: int) -> nn.Module:
        networks = copy.deepcopy(self._actor).requires_grad_(False)
        for parameter in networks.parameters():
            parameter.data = parameter.data.repeat(worlds, *[1] * (parameter.dim() - 1))
        return networks

    @torch.no_grad()
    def _disturb(self, copies: nn.Module, worlds: Tensor) -> None:
        """The actor's parameters plus noise, in the copies of these worlds (bool[E])."""
        own = dict(self._actor.named_parameters())
        for name, parameter in copies.named_parameters():
            mean = own[name]
            noise = torch.zeros(len(worlds), *mean.shape)
            if "norm" not in name:
                sigma = self.sigma.view(-1, *[1] * (mean.dim() - 1))
                noise = sigma * torch.randn(noise.shape, generator=self._exploration.generator)
            disturbed = (mean + noise)[worlds]
            parameter.view(len(worlds), *mean.shape)[worlds] = disturbed
