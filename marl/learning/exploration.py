"""Exploration, with a schedule for its scale: Gaussian or Ornstein-Uhlenbeck noise on actions, or
random choices."""

from typing import Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor


class ExplorationConfig(BaseModel):
    """Settings of the noise in training. `sigma` is the standard deviation of gaussian noise, the
    diffusion of ou, for psne the target distance between disturbed and greedy actions, and for
    epsilon the chance of a random choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["gaussian", "ou", "psne", "epsilon", "none"] | None = Field(
        None,
        description="kind of noise; epsilon: random choices, with the chance sigma; null: the "
        "agent's own, which is gaussian in the DDPG family and epsilon for Q-learners",
    )
    scale: float = Field(1.0, ge=0, description="factor on the noise at the start of training")
    final_scale: float = Field(1.0, ge=0, description="factor on the noise after annealing")
    anneal: float = Field(1.0, gt=0, le=1, description="share of training until `final_scale`")
    schedule: Literal["linear", "exponential"] = Field(
        "linear", description="how the factor gets there: by equal steps, or by equal ratios"
    )
    sigma: float = Field(0.2, ge=0, description="size of the noise")
    theta: float = Field(0.15, ge=0, le=1, description="ou: pull back to zero in each step")

    @model_validator(mode="after")
    def _has_ratio(self) -> Self:
        if self.schedule == "exponential" and not (self.scale and self.final_scale):
            raise ValueError(
                "schedule is 'exponential', so scale and final_scale should be above 0"
            )
        return self


class Exploration:
    """Noise for actions [E, N, A] from `generator`; each agent of each world has its own state."""

    def __init__(
        self, config: ExplorationConfig, generator: torch.Generator, kind: str = "gaussian"
    ) -> None:
        """`kind`: the one of agents with this noise, if the config leaves it to them. Raises
        ValueError if a chance would be above 1."""
        self.config = config
        self.kind = config.kind or kind
        self.scale = config.scale
        self.generator = generator
        largest = config.sigma * max(config.scale, config.final_scale)
        if self.kind == "epsilon" and largest > 1.0:
            raise ValueError(
                f"exploration.sigma times exploration.scale is {largest:g}, but it is a chance "
                "where kind is 'epsilon', of at most 1"
            )
        self._state: dict[str, Tensor] = {}  # ou: the state of the process, [E, N, A] of each group

    def anneal(self, progress: float) -> None:
        """Set the scale after this share (0 to 1) of training: by the schedule, then constant."""
        c = self.config
        done = min(progress / c.anneal, 1.0)
        if c.schedule == "exponential":
            self.scale = c.scale * (c.final_scale / c.scale) ** done
        else:
            self.scale = c.scale + (c.final_scale - c.scale) * done

    def disturb(self, group: str, action: Tensor) -> Tensor:
        """The action plus noise, clipped to [-1, 1]."""
        if self.kind in ("none", "psne") or self.scale == 0:
            return action
        noise = self.config.sigma * torch.randn(action.shape, generator=self.generator)
        if self.kind == "ou":
            # Euler-Maruyama with a unit time step, as DDPG is usually run (Lillicrap et al. 2015)
            state = self._state.get(group, torch.zeros_like(noise))
            noise = self._state[group] = (1 - self.config.theta) * state + noise
        return (action + self.scale * noise).clamp(-1.0, 1.0)

    def choose(self, best: Tensor, count: int, legal: Tensor | None = None) -> Tensor:
        """epsilon: the best of `count` choices, i64[...], each replaced with the chance sigma times
        scale by one drawn uniformly from those that are `legal`, bool[..., count]; None: all."""
        chance = self.config.sigma * self.scale
        if self.kind != "epsilon" or chance == 0:
            return best
        draws = torch.rand((*best.shape, count + 1), generator=self.generator)
        order = draws[..., 1:]
        if legal is not None:
            order = order.masked_fill(~legal, -1.0)
        return torch.where(draws[..., 0] < chance, order.argmax(-1), best)

    def chooser(self, explore: bool) -> torch.Generator | None:
        """The generator that draws discrete actions; None: the best action is taken."""
        return self.generator if explore and self.kind != "none" else None

    def reset(self, mask: np.ndarray | None) -> None:
        """Restart the process in the worlds of `mask` (bool[E]; None: all)."""
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
