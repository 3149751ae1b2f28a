"""The section `world` of a config for an environment of PettingZoo."""

import importlib
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from marl.worlds.base import World, WorldConfig
from marl.worlds.pettingzoo.contract import Broken, Examined, examine
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.spaces import Group

PREFIX = "pettingzoo:"  # of names in configs
FAMILIES = ("atari", "butterfly", "classic", "mpe", "sisl")  # that PettingZoo itself has or had


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
            return examine(self._make_env, self.teams)
        except Broken:
            raise
        except Exception as error:  # of somebody else's code
            raise ValueError(f"the environment cannot be made: {error}") from error

    @property
    def _make_env(self) -> Callable[[], Any]:
        return partial(_wrapped, self.module, self.options, self.wrappers)

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        return PettingZooWorld(
            self._make_env, num_worlds, seed, processes=self.processes, examined=self._examined
        )


def _wrapped(module: str, options: dict[str, Any], wrappers: Sequence[Sequence[Any]]) -> Any:
    env = importlib.import_module(module).parallel_env(**options)
    for name, *arguments in wrappers:
        env = getattr(importlib.import_module("supersuit"), name)(env, *arguments)
    return env


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
        importlib.import_module(module).parallel_env  # noqa: B018 (is it there?)
    except (ImportError, AttributeError) as error:
        hint = "" if find_spec("pettingzoo") else '; pip install "marl[pettingzoo]"'
        raise ValueError(f"{PREFIX}{name} cannot be imported: {error}{hint}") from error
    return type("PettingZooConfig", (PettingZooConfig,), {"module": module})
