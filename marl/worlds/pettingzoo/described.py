"""Games of PettingZoo behind observations of ours, which are described."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from pydantic import Field

from marl.worlds.pettingzoo.contract import Examined
from marl.worlds.pettingzoo.extras import require
from marl.worlds.pettingzoo.spaces import Kind
from marl.worlds.pettingzoo.world import PettingZooWorld

PROCESSES: Any = Field(
    None, ge=0, description="processes for the worlds; null: one a core, 0: the training's"
)
"""The field `processes` of a scenario."""


class DescribedEnv:
    """A parallel environment around one of PettingZoo's, `env`, with `measures` of the episode. It
    has `reset` and `step` of its own."""

    env: Any
    measures: dict[str, float]

    @property
    def agents(self) -> list[str]:
        return self.env.agents

    def render(self) -> np.ndarray:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


def described_world(
    scenario: Any,
    name: str,
    module: str,
    make: Callable[[Any], DescribedEnv],
    num_worlds: int,
    seed: int,
) -> PettingZooWorld:
    """Worlds of a scenario with one group of agents and a number of `processes`. `make` needs
    PettingZoo's `module`. Raises UserError if that cannot be imported."""
    require(module, f"the scenario {name!r}")
    ((g, group),) = scenario.groups.items()
    action = Discrete(group.action_space.shape[0]) if group.choices else group.action_space
    kind = Kind(group.names, group.observation_space, action)
    return PettingZooWorld(
        partial(make, scenario),
        num_worlds,
        seed,
        processes=scenario.processes,
        examined=Examined(name, {g: kind}),
        described=scenario.groups,
        measures=scenario.metrics,
    )
