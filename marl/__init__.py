"""Train multi-agent policies on a handful of agents and run them, unchanged, on thousands.

>>> import marl
>>> world = marl.make("spread", num_agents=80, num_worlds=16)
>>> policy = marl.load_policy("spread")
>>> step = world.step(policy.act(world.reset()))
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gymnasium import register

from marl.version import VERSION as __version__

if TYPE_CHECKING:
    from marl.export.pettingzoo import parallel_env
    from marl.runs.loading import load_policy
    from marl.testing.check_agent import check_agent
    from marl.testing.check_world import check_world
    from marl.worlds.registry import make, register_scenario

_SCENARIOS = (  # as in marl.worlds.registry, whose import takes seconds, but PettingZoo's own
    *("spread", "simple", "adversary", "crypto", "push", "reference", "speaker_listener", "tag"),
    *("world_comm", "tennis", "pistonball", "pursuit", "prison", "waterworld"),
)
for _name in _SCENARIOS:
    register(
        f"marl/{_name}-v0",
        "marl.export.gymnasium:TeamEnv",
        vector_entry_point="marl.export.gymnasium:TeamVectorEnv",
        kwargs={"scenario": _name},
    )

__all__ = [
    "__version__",
    "check_agent",
    "check_world",
    "load_policy",
    "make",
    "parallel_env",
    "register_scenario",
]

_HOMES = {
    "check_agent": "marl.testing.check_agent",
    "check_world": "marl.testing.check_world",
    "load_policy": "marl.runs.loading",
    "make": "marl.worlds.registry",
    "parallel_env": "marl.export.pettingzoo",
    "register_scenario": "marl.worlds.registry",
}


def __getattr__(name: str):
    """Import on first use: torch and numba take seconds, and `marl --help` should not wait for
    them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'marl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
