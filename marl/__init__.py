"""Train multi-agent policies on a handful of agents and run them, unchanged, on thousands.

>>> import marl
>>> world = marl.make("spread", num_agents=80, num_worlds=16, integration="semi_implicit")
>>> policy = marl.load_policy("spread")
>>> step = world.step(policy.act(world.reset()))
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gymnasium import register

if TYPE_CHECKING:
    from marl.agents.check import check_agent
    from marl.evaluation import load_policy
    from marl.worlds.check import check_world
    from marl.worlds.registry import make, register_scenario

try:
    __version__ = version("marl")
except PackageNotFoundError:  # run from a folder of sources
    __version__ = "unknown"

_SCENARIOS = (  # as in marl.worlds.registry, whose import takes seconds
    *("spread", "simple", "adversary", "crypto", "push", "reference", "speaker_listener", "tag"),
    *("world_comm", "tennis"),
)
for _name in _SCENARIOS:
    register(
        f"marl/{_name}-v0",
        "marl.gymnasium:TeamEnv",
        vector_entry_point="marl.gymnasium:TeamVectorEnv",
        kwargs={"scenario": _name},
    )

__all__ = [
    "__version__",
    "check_agent",
    "check_world",
    "load_policy",
    "make",
    "register_scenario",
]


def __getattr__(name: str):
    """Import on first use: torch and numba take seconds, which `marl --help` need not wait for."""
    if name == "load_policy":
        from marl.evaluation import load_policy

        return load_policy
    if name == "check_world":
        from marl.worlds.check import check_world

        return check_world
    if name == "check_agent":
        from marl.agents.check import check_agent

        return check_agent
    if name in ("make", "register_scenario"):
        from marl.worlds import registry

        return getattr(registry, name)
    raise AttributeError(f"module 'marl' has no attribute {name!r}")
