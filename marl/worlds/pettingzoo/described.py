"""Games of PettingZoo behind observations of ours, which are described."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gymnasium.spaces import Discrete

from marl.worlds.pettingzoo.contract import Examined
from marl.worlds.pettingzoo.extras import require
from marl.worlds.pettingzoo.spaces import Kind
from marl.worlds.pettingzoo.world import PettingZooWorld


def described_world(
    scenario: Any, name: str, module: str, make: Callable[[Any], Any], num_worlds: int, seed: int
) -> PettingZooWorld:
    """Worlds of a scenario with one group of choosing agents and a number of `processes`. `make`
    gives a parallel environment with `measures`; it needs PettingZoo's `module`. Raises UserError
    if that cannot be imported."""
    require(module, f"the scenario {name!r}")
    ((g, group),) = scenario.groups.items()
    kind = Kind(group.names, group.observation_space, Discrete(group.action_space.shape[0]))
    return PettingZooWorld(
        partial(make, scenario),
        num_worlds,
        seed,
        processes=scenario.processes,
        examined=Examined(name, {g: kind}),
        described=scenario.groups,
        measures=scenario.metrics,
    )
