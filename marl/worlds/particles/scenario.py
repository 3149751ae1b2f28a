"""The base class of scenarios: parameters, and a few plain functions that define the game.

A scenario is one class in one file. Its fields are its parameters. `reset`, `observe` and `score`
define the game for one world and are compiled; everything else is ordinary Python. The compiled
methods may read `self.field`. Numbers (fields annotated `int` or `float`) are read when the world
runs. Bools, strings and the numbers named in `constants` are constants to the compiler. This makes
loops over them faster, and worlds with other values are compiled separately. Class variables are
constants, too. Other fields, such as those that may be None, cannot be read.
"""

import struct
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, get_origin

import numpy as np
from gymnasium.spaces import Box
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
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
from pydantic import Field

from marl.fingerprint import fingerprint
from marl.worlds.base import World, WorldConfig
from marl.worlds.compiled.random import uniform
from marl.worlds.particles.lane_arrays import store
from marl.worlds.particles.lanes import BARE
from marl.worlds.particles.layout import DIRECTIONS, MOVES, Body
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Group, Part

JIT = {"forceinline": True, **BARE}


def steps(count: int) -> Any:
    """The field `episode_length` with this default."""
    return Field(count, ge=1, description="steps until time runs out (truncation)")


class Scenario(WorldConfig):
    """The rules of a particle world; see `scenarios/spread.py` for a complete one."""

    constants: ClassVar[frozenset[str]] = frozenset()

    episode_length: int = steps(100)
    integration: Literal["explicit", "semi_implicit"] = Field(
        "semi_implicit",
        description="positions move with the new velocities, as in the original MPE, or with the "
        "old ones, as in MPE2",
    )
    actions: Literal["continuous", "discrete"] = Field(
        "continuous",
        description="a force and a message of plain numbers, or one of five moves and one letter",
    )

    # ------------------------------------------------------------------------------ ordinary Python

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A new instance, so that cached values are derived again."""
        return type(self)(**{**self.model_dump(), **(update or {})})

    @cached_property
    def packed(self) -> bytes:
        """The numbers that are read when the world runs, 8 bytes each, for compiled code."""
        numbers = _numbers(type(self))
        formats = "".join("q" if kind is int else "d" for kind in numbers.values())
        return struct.pack("=" + formats, *[getattr(self, name) for name in numbers])

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        return ParticleWorld(self, num_worlds, seed, staggered=staggered)

    @property
    @abstractmethod
    def agents(self) -> list[Body]:
        """Every agent's body, group after group."""

    @property
    @abstractmethod
    def landmarks(self) -> list[Body]:
        """Every landmark's body."""

    @property
    def message_size(self) -> int:
        """The length of a message."""
        return 0

    @property
    def num_goals(self) -> int:
        """How many numbers `reset` chooses for an episode and writes to `world.goals`."""
        return 0

    def group(
        self,
        names: Sequence[str],
        observation: Sequence[Part],
        *,
        moves: bool = True,
        speaks: bool = False,
        team: str | None = None,
    ) -> Group:
        """A group of agents with this observation, that act as the setting `actions` says. Groups
        of one `team` play together.

        Continuous: an agent that moves has a force (2 numbers from -1 to 1, up to
        `Body.acceleration`). An agent that speaks has a message (`message_size` numbers from -1 to
        1; others observe 0 to 1). Discrete: one of five moves (stay, left, right, down, up), and
        one of `message_size` letters. An agent that does both has the move first.
        """
        discrete = self.actions == "discrete"
        if discrete:
            move = Part("move", scalars=MOVES, choice=True, directions=DIRECTIONS)
            letters = ((0, 0),) * self.message_size
            message = Part("message", scalars=len(letters), choice=True, directions=letters)
            parts = [move] * moves + [message] * speaks
        else:
            parts = [Part("force", vectors=1)] * moves
            parts += [Part("message", scalars=self.message_size)] * speaks
        seen, done = (sum(part.size for part in x) for x in (observation, parts))
        return Group(
            names=tuple(names),
            observation_space=Box(-np.inf, np.inf, (seen,), np.float32),
            action_space=Box(0.0 if discrete else -1.0, 1.0, (done,), np.float32),
            observation_parts=tuple(observation),
            action_parts=tuple(parts),
            team=team,
        )

    @property
    def half_size(self) -> float:
        """Half the edge of the spawn square, in world units."""
        return 1.0

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """RGBA of agents and landmarks, u8[n, 4] and u8[m, 4], for positions f[n, 2] and f[m, 2],
        and goals f[num_goals]."""
        return (
            np.array([body.colour for body in self.agents], np.uint8).reshape(-1, 4),
            np.array([body.colour for body in self.landmarks], np.uint8).reshape(-1, 4),
        )

    def privileged(self, agents: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """f[E, n, X]: numbers that agents cannot observe, for training only. Agents are at f[E, n,
        2], landmarks at f[E, m, 2]."""
        raise NotImplementedError(
            f"the scenario {type(self).__name__} has nothing to tell agents while they learn"
        )

    # ------------------------------------------------------------------------------------- compiled

    def reset(self, world, random):
        """Place everything at the start of an episode, for one world without lanes."""
        raise NotImplementedError

    def observe(self, world, i, out):
        """Write the observation of agent i into out[0], out[1]..."""
        raise NotImplementedError

    def score(self, world, reward, metrics):
        """Write every agent's reward into reward[i] and every metric into metrics[m]."""
        raise NotImplementedError


@njit
def anywhere_in_square(bodies, random, half_size):
    """Put the bodies of one world at random positions in the square from -half_size to
    half_size."""
    for i in range(bodies.position.shape[0]):
        store(bodies.position, (i, 0), uniform(random, -half_size, half_size))
        store(bodies.position, (i, 1), uniform(random, -half_size, half_size))


def _numbers(scenario: type[Scenario]) -> dict[str, Any]:
    """Names and annotations of the fields that are read when the world runs."""
    return {
        name: field.annotation
        for name, field in scenario.model_fields.items()
        if field.annotation in (int, float) and name not in scenario.constants
    }


def _constants(scenario: type[Scenario]) -> set[str]:
    """Names of the fields that are constants to the compiler. The world itself reads those of the
    base class."""
    return {
        name
        for name, field in scenario.model_fields.items()
        if name in scenario.constants
        or field.annotation in (bool, str)
        or (get_origin(field.annotation) is Literal and name not in Scenario.model_fields)
    }


def _version(scenario: type[Scenario]) -> str:
    """The digest of everything that the compiled methods read: their own code and that of compiled
    helpers in any module, constants, and class variables."""
    variables = {name: getattr(scenario, name) for name in sorted(scenario.__class_vars__)}
    constants = {k: value for k, value in variables.items() if _constant_type(value) is not None}
    return fingerprint(scenario.reset, scenario.observe, scenario.score, constants)


class _ScenarioType(types.Type):
    """The numba type of a scenario: its class, the version of its code and its constant fields.
    Equal keys share compiled code, in this process and in the cache on disk."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        kinds = {int: types.int64, float: types.float64}
        self.numbers = {name: kinds[kind] for name, kind in _numbers(type(scenario)).items()}
        constants = scenario.model_dump_json(include=_constants(type(scenario)))
        name = f"{type(scenario).__qualname__}({constants}, version={_version(type(scenario))})"
        super().__init__(name=name)

    def __getstate__(self) -> dict:
        """For numba's cache. The name identifies the type, so reading the cache need not import the
        scenarios of other modules."""
        return {key: value for key, value in self.__dict__.items() if key != "scenario"}

    def constant(self, name: str):
        kind = type(self.scenario)
        if name not in _constants(kind) and name not in kind.__class_vars__:
            raise TypingError(
                f"{kind.__name__} has no field {name!r} that compiled methods can read: no number, "
                "bool or string, or one that may be None"
            )
        return getattr(self.scenario, name)


@typeof_impl.register(Scenario)
def _typeof_scenario(scenario, context):
    scenario_type = _ScenarioType(scenario)
    scenario_type.scenario = scenario  # numba may hand back an equal type that came from its cache
    return scenario_type


@register_model(_ScenarioType)
class _ScenarioModel(models.StructModel):
    """The numbers, at run time."""

    def __init__(self, manager, scenario_type):
        super().__init__(manager, scenario_type, list(scenario_type.numbers.items()))


@unbox(_ScenarioType)
def _unbox_scenario(scenario_type, value, c):
    packed = c.pyapi.object_getattr_string(value, "packed")
    kind = c.context.get_value_type(scenario_type)
    place = c.builder.bitcast(c.pyapi.bytes_as_string(packed), kind.as_pointer())
    numbers = c.builder.load(place)
    numbers.align = 1
    c.pyapi.decref(packed)
    return NativeValue(numbers)


def _constant_type(value):
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
        if name in scenario_type.numbers:
            return scenario_type.numbers[name]
        return _constant_type(scenario_type.constant(name))


@lower_getattr_generic(_ScenarioType)
def _field_value(context, builder, scenario_type, value, name):
    if name in scenario_type.numbers:
        numbers = cgutils.create_struct_proxy(scenario_type)(context, builder, value=value)
        return getattr(numbers, name)
    constant = scenario_type.constant(name)
    kind = _constant_type(constant)
    if isinstance(kind, types.Literal) and not isinstance(constant, str):
        return context.get_constant(kind.literal_type, constant)
    return context.get_constant_generic(builder, kind, constant)


@overload_method(_ScenarioType, "reset", jit_options=JIT)  # type: ignore[call-arg]
def _ol_reset(self, world, random):
    return type(self.scenario).reset


@overload_method(_ScenarioType, "observe", jit_options=JIT)  # type: ignore[call-arg]
def _ol_observe(self, world, i, out):
    return type(self.scenario).observe


@overload_method(_ScenarioType, "score", jit_options=JIT)  # type: ignore[call-arg]
def _ol_score(self, world, reward, metrics):
    return type(self.scenario).score
