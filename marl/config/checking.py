"""One section of a config against its model.

A fault is refused with one sentence that names the dotted field, its value and the allowed values.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from marl.agents import REGISTRY
from marl.config.model import EvaluationConfig, TrainingConfig
from marl.errors import UserError, guess
from marl.learning.exploration import ExplorationConfig
from marl.values import plain
from marl.worlds.registry import SCENARIOS

Model = TypeVar("Model", bound=BaseModel)


def parse_section(model: type[Model], section: Any, where: str) -> Model:
    """Check one section of a config, or another piece of JSON; errors call it `where`. The check is
    strict: "4" is no number, and true is no 1. Raises UserError."""
    try:
        return model.model_validate_json(json.dumps(plain(section)), strict=True)
    except ValidationError as error:
        raise refusal(error, model, where) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} cannot be written as JSON: {error}") from error


def refusal(error: ValidationError, model: type[BaseModel], where: str) -> UserError:
    """The fault of a section, in one sentence."""
    problem = _telling(error)
    kinds = ("constrained-", "dict[")  # which of several kinds of value pydantic tried
    path = [str(part) for part in problem["loc"] if not str(part).startswith(kinds)]
    dotted = ".".join([where, *path])
    if problem["type"] == "extra_forbidden" and len(path) > 1:
        return UserError(f"{dotted} is not a known setting")
    if problem["type"] == "extra_forbidden":
        return UserError(unknown(path[-1], tuple(model.model_fields), where))
    allowed = problem["msg"].removeprefix("Value error, ")
    allowed = allowed.replace("Input should be", "should be")
    if problem["type"] == "missing":
        return UserError(f"{dotted} is missing")
    return UserError(f"{dotted} is {shown(problem['input'])}, but {allowed}")


def _telling(error: ValidationError) -> Any:
    """The first problem. If a field takes a number or an object, the problem of the given kind."""
    first, *others = error.errors()
    of_field = [x for x in (first, *others) if x["loc"][:1] == first["loc"][:1]]
    return next((x for x in of_field if x["type"] not in ("float_type", "dict_type")), first)


def unknown(key: str, known: Sequence[str], where: str) -> str:
    """The sentence for an unknown key, with the nearest known one."""
    dotted = f"{where}.{key}" if where else key
    if dotted in setting_names():
        return f"{dotted} is a setting of another kind of {where}; known here are {one_of(known)}"
    hint = guess(key, known, f"{where}." if where else "")
    if not hint:  # the right key in the wrong section, or none at all
        elsewhere = [name for name in setting_names() if name.rpartition(".")[2] == key]
        hint = f"; did you mean {elsewhere[0]}?" if elsewhere else f"; known are {', '.join(known)}"
    return f"{dotted} is not a known setting{hint}"


def setting_names() -> list[str]:
    """Every dotted key that a config may hold."""
    models: list[tuple[str, type[BaseModel]]] = [
        *(("world", scenario) for scenario in SCENARIOS.values()),
        *(("agent", kind.config) for kind in REGISTRY.values()),
        ("exploration", ExplorationConfig),
        ("training", TrainingConfig),
        ("evaluation", EvaluationConfig),
    ]
    names = [f"{section}.{key}" for section, model in models for key in model.model_fields]
    return list(dict.fromkeys(["world.scenario", *names]))


def shown(value: Any) -> str:
    """A value as JSON, cut short if it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def one_of(names: Sequence[str]) -> str:
    """Names as alternatives."""
    return " or ".join(names)
