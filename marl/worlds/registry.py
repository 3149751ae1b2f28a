"""Names of worlds: the values of `world.scenario` in a config."""

import re
from typing import Any

import numpy as np
from pydantic import ValidationError

from marl.errors import guess
from marl.plugins import imported, loaded, offered
from marl.values import checked_seed, plain, whole_number
from marl.worlds.base import WorldConfig
from marl.worlds.particles.scenario import Scenario
from marl.worlds.particles.scenarios.adversary import Adversary
from marl.worlds.particles.scenarios.crypto import Crypto
from marl.worlds.particles.scenarios.push import Push
from marl.worlds.particles.scenarios.reference import Reference
from marl.worlds.particles.scenarios.simple import Simple
from marl.worlds.particles.scenarios.speaker_listener import SpeakerListener
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.scenarios.tag import Tag
from marl.worlds.particles.scenarios.world_comm import WorldComm
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.pettingzoo.config import PREFIX, environment
from marl.worlds.pettingzoo.kaz import Kaz
from marl.worlds.pettingzoo.multiwalker import Multiwalker
from marl.worlds.pettingzoo.names import MPE2
from marl.worlds.pettingzoo.pong import CooperativePong
from marl.worlds.pistonball.real import RealPistonball
from marl.worlds.pistonball.world import Pistonball
from marl.worlds.prison import Prison
from marl.worlds.pursuit.real import RealPursuit
from marl.worlds.pursuit.world import Pursuit
from marl.worlds.tennis.world import Tennis
from marl.worlds.waterworld.world import Waterworld

SCENARIOS: dict[str, type[WorldConfig]] = {
    "spread": Spread,
    "simple": Simple,
    "adversary": Adversary,
    "crypto": Crypto,
    "push": Push,
    "reference": Reference,
    "speaker_listener": SpeakerListener,
    "tag": Tag,
    "world_comm": WorldComm,
    "tennis": Tennis,
    "pistonball": Pistonball,
    "real_pistonball": RealPistonball,
    "pursuit": Pursuit,
    "prison": Prison,
    "waterworld": Waterworld,
    "cooperative_pong": CooperativePong,
    "kaz": Kaz,
    "multiwalker": Multiwalker,
    "real_pursuit": RealPursuit,
}

ENTRY_POINTS = "marl.scenarios"  # of packages that offer scenarios


def scenario_names() -> tuple[str, ...]:
    """All known names, including those of installed packages."""
    return tuple(dict.fromkeys([*SCENARIOS, *offered(ENTRY_POINTS)]))


def register_scenario(name: str, scenario: type[WorldConfig]) -> None:
    """Make a scenario of your own known by `name` to configs, commands and `make`."""
    SCENARIOS[name] = scenario


def our_name(name: str) -> str:
    """Our name of a scenario for MPE2's ("simple_spread_v3"); any other name as it is."""
    if name in scenario_names():
        return name
    return MPE2.get(re.sub(r"_v\d+$", "", name), name)


def find_scenario(name: str) -> type[WorldConfig]:
    """The scenario of that name: a registered one, also by MPE2's name, one of an installed
    package, "pettingzoo:FAMILY/NAME" for an environment of PettingZoo, or "module:Class" for your
    own (Python also looks in the current folder). Raises ValueError with one sentence otherwise."""
    name = our_name(name)
    if name in SCENARIOS:
        return SCENARIOS[name]
    if name.startswith(PREFIX):
        return environment(name.removeprefix(PREFIX))
    if name not in scenario_names() and ":" not in name:
        known = f"; known are: {', '.join(scenario_names())}, and 'module:Class' for your own"
        near = guess(name, (*scenario_names(), *MPE2))
        raise ValueError(f"no scenario is called {name!r}{near or known}")
    try:
        found = imported(name) if ":" in name else loaded(ENTRY_POINTS, name)
    except ValueError as error:
        raise ValueError(f"scenario {error}") from error
    if not (isinstance(found, type) and issubclass(found, WorldConfig)):
        raise ValueError(f"scenario {name!r} is not a subclass of Scenario or WorldConfig")
    return found


def mpe2_physics(scenario: type[WorldConfig]) -> dict[str, str]:
    """The parameters that give this scenario MPE2's order of integration, if it has orders."""
    return {"integration": "explicit"} if issubclass(scenario, Scenario) else {}


def new_seed() -> int:
    """A random seed."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def make(
    scenario: str, *, num_worlds: int = 1, seed: int = 0, num_threads: int = 1, **parameters: Any
) -> Any:
    """A world by name. `parameters` are the parameters of the scenario. Only a `ParticleWorld` can
    use several threads.

    >>> world = make("spread", num_agents=80, num_worlds=16, seed=0)

    Raises ValueError, with the sentence of the command line, for an unknown name or parameter, or a
    number out of range.
    """
    num_worlds, seed = whole_number("num_worlds", num_worlds, 1), checked_seed(seed)
    kind = find_scenario(scenario)
    try:
        config = kind(**plain(parameters))
    except ValidationError as error:
        from marl.config.checking import refusal  # knows every section: only imported for its words

        raise refusal(error, kind, "world") from None
    if isinstance(config, Scenario):
        return ParticleWorld(config, num_worlds, seed, num_threads=num_threads)
    return config.make_world(num_worlds, seed)
