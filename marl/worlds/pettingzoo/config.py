"""The section `world` of a config for an environment of PettingZoo."""

import importlib
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from marl.plugins import import_here
from marl.worlds.base import World, WorldConfig
from marl.worlds.pettingzoo.contract import Broken, Examined, examine
from marl.worlds.pettingzoo.counting import counts
from marl.worlds.pettingzoo.extras import install, roms
from marl.worlds.pettingzoo.names import gone
from marl.worlds.pettingzoo.workers import make_environment
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.spaces import Group

PREFIX = "pettingzoo:"  # of names in configs
FAMILIES = ("atari", "butterfly", "classic", "mpe", "sisl")  # that PettingZoo itself has or had


FRAMES = 4  # of a preset
PRESETS: dict[str, tuple[tuple[Any, ...], ...]] = {
    f"{size}x{size}": (("color_reduction_v0", "full"), ("resize_v1", size, size))
    for size in (84, 42)
}
"""SuperSuit's wrappers by the name of a preset."""


class PettingZooConfig(WorldConfig):
    """The section `world` of a config for an environment of PettingZoo."""

    metrics: ClassVar[tuple[str, ...]] = ("return",)
    outcomes: ClassVar[frozenset[str]] = PettingZooWorld.outcomes
    slow: ClassVar[bool] = True
    module: ClassVar[str] = ""  # that has its `parallel_env`

    options: dict[str, Any] = Field({}, description="arguments of parallel_env")
    wrappers: tuple[tuple[Any, ...], ...] = Field(
        (), description='SuperSuit\'s wrappers, innermost first, such as [["frame_skip_v0", 4]]'
    )
    preset: Literal["84x84", "42x42"] | None = Field(
        None,
        description="pictures as in the field's Atari work, around the wrappers: grey, 84 x 84 "
        "or 42 x 42 pixels, the last 4 at once",
    )
    teams: dict[str, tuple[str, ...]] | None = Field(
        None, description="groups {name: agents} instead of those inferred from spaces and names"
    )
    processes: int | None = Field(
        None,
        ge=0,
        description="processes for the worlds; null: one a core, 0: the training process",
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        _ = self.groups
        return self

    @cached_property
    def groups(self) -> dict[str, Group]:
        return {g: kind.group for g, kind in self._examined.kinds.items()}

    @cached_property
    def _examined(self) -> Examined:
        try:
            return examine(self._make_env, self.teams, FRAMES if self.preset else 1)
        except Broken:
            raise
        except Exception as error:  # of somebody else's code
            raise ValueError(f"the environment cannot be made: {error}") from error

    @property
    def _make_env(self) -> Callable[[], Any]:
        preset = PRESETS[self.preset] if self.preset else ()
        return partial(_wrapped, self.module, self.options, (*self.wrappers, *preset))

    def with_agents(self, count: int) -> Self:
        """The same environment with so many agents, by its own options. Raises ValueError if marl
        knows none, or they do not allow the number."""
        if count == self.agent_count:
            return self
        if self.teams is not None:
            raise ValueError(f"has world.teams, which name its {self.agent_count} agents")
        names = [name for group in self.groups.values() for name in group.names]
        return self.replaced(options={**self.options, **counts(self.module, names, count)})

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        return PettingZooWorld(
            self._make_env, num_worlds, seed, processes=self.processes, examined=self._examined
        )


def _wrapped(module: str, options: dict[str, Any], wrappers: Sequence[Sequence[Any]]) -> Any:
    env = _parallel(_imported(module), {**roms(module), **options})
    for name, *arguments in wrappers:
        env = getattr(importlib.import_module("supersuit"), name)(env, *arguments)
    return env


def _imported(module: str) -> Any:
    """A module; Python also looks for its package in the current folder if it is not installed."""
    installed = find_spec(module.partition(".")[0])
    return importlib.import_module(module) if installed else import_here(module)


def _parallel(module: Any, options: dict[str, Any]) -> Any:
    """The parallel environment of a module. One whose agents act one after the other in `env`, as
    though at once, is converted."""
    if hasattr(module, "parallel_env"):
        return make_environment(module.parallel_env, options)
    env = module.env(**options)
    if not env.metadata.get("is_parallelizable"):
        raise ValueError("it is turn-based: its agents act one after the other, but marl's at once")
    from pettingzoo.utils import aec_to_parallel

    return aec_to_parallel(env)


def module_of(name: str) -> str:
    """The module of "sisl/multiwalker_v9", or of "mpe2/simple_tag_v3" in another package."""
    dotted = name.replace("/", ".")
    return f"pettingzoo.{dotted}" if dotted.partition(".")[0] in FAMILIES else dotted


@cache
def environment(name: str) -> type[PettingZooConfig]:
    """The section `world` for the environment of that name. Raises ValueError if there is none."""
    module = module_of(name)
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{PREFIX}{name} should be as {PREFIX}sisl/multiwalker_v9")
    try:
        found = _imported(module)
    except ImportError as error:
        if why := gone(name):
            raise ValueError(f"{PREFIX}{name} {why}") from error
        hint = _present(name) or install(module, error)
        raise ValueError(f"{PREFIX}{name} cannot be imported: {error}{hint}") from error
    # PettingZoo has, for a version that is gone, an object that raises when it is called.
    has = isinstance(found, ModuleType) and {"parallel_env", "env"} & {*dir(found)}
    if not has:
        raise ValueError(f"{PREFIX}{name} has no parallel_env and no env{_present(name)}")
    return type("PettingZooConfig", (PettingZooConfig,), {"module": module})


def _present(name: str) -> str:
    """The end of a sentence on an environment that is not there: the versions that are, or the
    nearest name."""
    package, _, wanted = name.rpartition("/")
    try:
        folder = _imported(module_of(package)).__path__
    except (ImportError, AttributeError, ValueError):
        return ""
    known = [module.name for module in iter_modules(folder)]
    if wanted in known:
        return ""
    stem = re.sub(r"_v\d+$", "", wanted)
    versions = [x for x in known if re.fullmatch(rf"{re.escape(stem)}_v\d+", x)]
    present = versions or get_close_matches(wanted, known, n=1)
    return f"; there is {PREFIX}{package}/{present[-1]}" if present else ""
