"""Names of worlds: what `world.scenario` in a config may be."""

from marl.worlds.particles.scenario import Scenario
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

SCENARIOS: dict[str, type[Scenario]] = {"spread": Spread}


def register_scenario(name: str, scenario: type[Scenario]) -> None:
    """Make a scenario of your own known by `name` to configs, commands and `make`."""
    SCENARIOS[name] = scenario


def make(
    scenario: str, *, num_worlds: int = 1, seed: int = 0, num_threads: int = 1, **parameters
) -> ParticleWorld:
    """A world by name; `parameters` are the scenario's own.

    >>> world = make("spread", num_agents=80, num_worlds=16, seed=0)

    Raises ValueError for an unknown name or parameter.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario is called {scenario!r}; known are: {', '.join(SCENARIOS)}")
    return ParticleWorld(
        SCENARIOS[scenario](**parameters), num_worlds, seed, num_threads=num_threads
    )
