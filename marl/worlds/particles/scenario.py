"""What a scenario is: parameters, and a few plain functions that say what the game is.

A scenario is one class in one file: its fields are the scenario's parameters, `reset`, `observe`
and `score` describe the game for one world and are compiled; everything else is ordinary Python.
The compiled methods may read `self.field` for every field not named in `runtime`: such values are
constants to the compiler, and worlds that differ in them are compiled separately. What varies
freely (how many agents, how large the square) is read from the `world` argument instead.
"""

import hashlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections import namedtuple
from typing import ClassVar, Literal

import numpy as np
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)
from pydantic import BaseModel, ConfigDict, Field

from marl.worlds.base import Group

Square = namedtuple("Square", "agents landmarks near half_size")
"""One block of worlds as compiled code sees it: the Bodies, `near` [rows, 2] + lanes (scratch for
`nearest`) and the half-size of the spawn square."""


class Body(BaseModel):
    """Physical constants of one agent or landmark; the defaults are MPE2's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float = 0.05
    mass: float = 1.0
    acceleration: float = 5.0  # force for an action of 1
    max_speed: float = float("inf")
    collides: bool = True
    colour: tuple[int, int, int, int] = (64, 64, 64, 255)


class Scenario(BaseModel, ABC):
    """A particle world's rules; see `scenarios/spread.py` for a complete one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: ClassVar[frozenset[str]] = frozenset({"episode_length"})
    metrics: ClassVar[tuple[str, ...]] = ()

    episode_length: int = Field(100, ge=1, description="steps until time runs out (truncation)")
    integration: Literal["explicit", "semi_implicit"] = Field(
        "explicit",
        description="positions move with the old velocities, as in MPE2, or with the new ones, as "
        "in the original MPE",
    )

    # ------------------------------------------------------------------------------ ordinary Python

    @property
    @abstractmethod
    def groups(self) -> dict[str, Group]:
        """The groups of agents, in the order in which the agents are numbered."""

    @property
    def agent_count(self) -> int:
        """How many agents there are in all groups."""
        return sum(len(group) for group in self.groups.values())

    @property
    @abstractmethod
    def agents(self) -> list[Body]:
        """Every agent's body, group after group."""

    @property
    @abstractmethod
    def landmarks(self) -> list[Body]:
        """Every landmark's body."""

    @property
    def half_size(self) -> float:
        """Half the edge of the square in which things happen, in world units."""
        return 1.0

    def colours(self, agents: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RGBA of agents and landmarks, u8[n, 4] and u8[m, 4], that are at f[n, 2] and f[m, 2]."""
        return (
            np.array([body.colour for body in self.agents], np.uint8).reshape(-1, 4),
            np.array([body.colour for body in self.landmarks], np.uint8).reshape(-1, 4),
        )

    def privileged(self, agents: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """f[E, n, X]: what agents at f[E, n, 2], with landmarks at f[E, m, 2], cannot know, but may
        be told while they learn."""
        raise NotImplementedError(
            f"the scenario {type(self).__name__} has nothing to tell agents while they learn"
        )

    # ------------------------------------------------------------------------------------- compiled

    def reset(self, world, random):
        """Place everything at the start of an episode. One world, no lanes."""
        raise NotImplementedError

    def observe(self, world, i, out):
        """Write what agent i sees into out[0], out[1]..."""
        raise NotImplementedError

    def score(self, world, reward, metrics):
        """Write every agent's reward into reward[i] and every metric into metrics[m]."""
        raise NotImplementedError


def _source(scenario: type[Scenario]) -> str:
    """What tells compiled code of one version of a scenario from that of another: the source of its
    module; where there is none, as in a notebook, that of the class, or else the bytecode of the
    compiled methods."""
    try:
        return inspect.getsource(sys.modules[scenario.__module__])
    except (OSError, TypeError, KeyError):
        pass
    try:
        return inspect.getsource(scenario)
    except (OSError, TypeError, KeyError):
        codes = [getattr(scenario, name).__code__ for name in ("reset", "observe", "score")]
        return repr([(code.co_code, code.co_consts, code.co_names) for code in codes])


class _ScenarioType(types.Type):
    """The numba type of a scenario: its class, its source and its constant fields. Equal keys share
    compiled code, in this process and in the cache on disk."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        constants = scenario.model_dump_json(exclude=set(scenario.runtime))
        digest = hashlib.sha256(_source(type(scenario)).encode()).hexdigest()[:16]
        super().__init__(name=f"{type(scenario).__qualname__}({constants}, source={digest})")

    def __getstate__(self) -> dict:
        """For numba's cache: the name says all, and nobody need import the scenario's module to
        read what was cached for others."""
        return {key: value for key, value in self.__dict__.items() if key != "scenario"}

    def constant(self, name: str):
        if name in self.scenario.runtime:
            raise AttributeError(
                f"{name} is not constant: compiled methods read it from the world, not from self"
            )
        return getattr(self.scenario, name)


@typeof_impl.register(Scenario)
def _typeof_scenario(scenario, context):
    scenario_type = _ScenarioType(scenario)
    scenario_type.scenario = scenario  # numba may hand back an equal type that came from its cache
    return scenario_type


@register_model(_ScenarioType)
class _ScenarioModel(models.OpaqueModel):
    pass


def _number_type(value):
    if isinstance(value, bool | int | str):
        return types.literal(value)
    if isinstance(value, float):
        return types.float64
    return None


@infer_getattr
class _ScenarioFields(AttributeTemplate):
    key = _ScenarioType

    def generic_resolve(self, scenario_type, name):
        if name in ("reset", "observe", "score"):
            return None  # methods, below
        return _number_type(scenario_type.constant(name))


@lower_getattr_generic(_ScenarioType)
def _field_value(context, builder, scenario_type, value, name):
    constant = scenario_type.constant(name)
    kind = _number_type(constant)
    if isinstance(kind, types.Literal) and not isinstance(constant, str):
        return context.get_constant(kind.literal_type, constant)
    return context.get_constant_generic(builder, kind, constant)


@unbox(_ScenarioType)
def _unbox_scenario(scenario_type, value, c):
    return NativeValue(c.context.get_dummy_value())


@overload_method(_ScenarioType, "reset", jit_options={"forceinline": True})  # type: ignore[call-arg]
def _ol_reset(self, world, random):
    return type(self.scenario).reset


@overload_method(_ScenarioType, "observe", jit_options={"forceinline": True})  # type: ignore[call-arg]
def _ol_observe(self, world, i, out):
    return type(self.scenario).observe


@overload_method(_ScenarioType, "score", jit_options={"forceinline": True})  # type: ignore[call-arg]
def _ol_score(self, world, reward, metrics):
    return type(self.scenario).score
