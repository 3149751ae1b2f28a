"""Exploration by noise on the actor's parameters (Plappert et al. 2018)."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marl.learning.exploration import Exploration

# The paper's steps of 1.01 every 50 updates need 10 000 updates to shrink a sigma that is ten times
# too large. Until then, the disturbed actors collect useless experience.
FIRST_SIGMA = 0.02  # small: noise that is too weak at first costs nothing
ADAPTION = 1.05  # factor by which sigma grows or shrinks


class ParameterNoise:
    """Disturbed copies of an actor (K stacked networks): each episode of each world has a copy of
    its own (Plappert et al. 2018, sections 3 and 4).

    Parameters get noise of the standard deviation `sigma` f32[K], one for each network. `adapt`
    moves sigma towards the target distance of actions. Layer normalisation gets no noise.
    """

    def __init__(self, actor: nn.Module, exploration: Exploration) -> None:
        stack = len(next(actor.parameters()))
        self._actor = actor
        self._exploration = exploration
        self.copies: nn.Module | None = None  # [E K] networks, world by world
        self.sigma = torch.full((stack,), FIRST_SIGMA)

    def act(self, seen: Tensor, *more: Any) -> Tensor:
        """The disturbed actors' actions [N, E, A] for observations [N, E, O]. An actor is called
        with [E K, N / K, O] and `more`."""
        n, worlds, size = seen.shape
        networks = worlds * len(self.sigma)
        if self.copies is None:
            self.copies = self._repeated(worlds)
            self._disturb(self.copies, torch.ones(worlds, dtype=torch.bool))
        rows = seen.transpose(0, 1).reshape(networks, -1, size)
        return self.copies(rows, *more).tanh().reshape(worlds, n, -1).transpose(0, 1)

    def reset(self, mask: np.ndarray | None) -> None:
        """New noise in the worlds of `mask` (bool[E]; None: all; E may then change)."""
        if mask is None:
            self.copies = None
        elif self.copies is not None and mask.any():
            self._disturb(self.copies, torch.from_numpy(mask))

    def adapt(self, seen: Tensor, *more: Any) -> None:
        """Compare a disturbed actor with the actor on a batch [K, B, O] (and `more`). Sigma grows
        if their actions are closer than the target distance, and shrinks otherwise."""
        probe = self._repeated(1)
        self._disturb(probe, torch.ones(1, dtype=torch.bool))
        with torch.no_grad():
            change = probe(seen, *more).tanh() - self._actor(seen, *more).tanh()
        distance = change.square().mean((1, 2)).sqrt()
        aim = self._exploration.config.sigma * self._exploration.scale
        self.sigma *= torch.where(distance < aim, ADAPTION, 1.0 / ADAPTION)

    def state_dict(self) -> dict[str, Tensor]:
        state = {"sigma": self.sigma.clone()}
        if self.copies is not None:
            state |= {f"copies.{k}": v.clone() for k, v in self.copies.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sigma = state["sigma"].clone()
        copies = {k.removeprefix("copies."): v for k, v in state.items() if k != "sigma"}
        self.copies = None
        if copies:
            worlds = len(next(iter(copies.values()))) // len(self.sigma)
            self.copies = self._repeated(worlds)
            self.copies.load_state_dict(copies)

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
