"""Noise on actions, Ornstein-Uhlenbeck and Gaussian, or on the actor's parameters; with a schedule
for its scale."""

from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


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
