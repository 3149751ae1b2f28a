"""A config from JSON and flags: every setting checked, with all defaults filled in.

Precedence: defaults < the config named in `base` < JSON < typed flags. A fault raises `UserError`
with one sentence that names the dotted field, its value and the allowed values.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from marl.agents import AgentKind, agent_names, find_agent
from marl.config.checking import one_of, parse_section, shown, unknown
from marl.config.json_text import check_depth, parse_json, read_settings
from marl.config.model import SECTIONS, Config, EvaluationConfig, TrainingConfig
from marl.config.players import BuiltinPlayer, FrozenPlayer, name_of
from marl.errors import UserError, guess
from marl.folders import data_folders
from marl.learning.exploration import ExplorationConfig
from marl.policies.builtin import BUILTIN
from marl.worlds.base import WorldConfig
from marl.worlds.registry import find_scenario, our_name, scenario_names

BASE = "base"  # the key that names the config from which a JSON states its differences

# ----------------------------------------------------------------------------------------- reading


def load_config(path: str | Path, settings: Sequence[str] = ()) -> Config:
    """The config in a JSON file, with flags ("world.num_agents=6") on top.

    Raises UserError for an unreadable file and for settings that are not allowed.
    """
    return parse_config(with_settings(read_config(Path(path)), settings))


def read_config(path: Path) -> dict[str, Any]:
    """The JSON of a config, on top of its base if it names one.

    Raises UserError if a file cannot be read, or is its own base.
    """
    return reduce(merged, reversed(_with_bases(path).values()))


def files_of(path: Path) -> list[Path]:
    """A config's file, its base's, and so on."""
    return list(_with_bases(path))


def _with_bases(path: Path) -> dict[Path, dict[str, Any]]:
    """What a config and its bases say, each by itself and before its base."""
    found: dict[Path, dict[str, Any]] = {}
    while True:
        data = read_settings(path)
        if not isinstance(data, dict):
            raise UserError(f"{path} holds no JSON object with the sections {', '.join(SECTIONS)}")
        found[path] = {key: value for key, value in data.items() if key != BASE}
        if BASE not in data:
            return found
        base = data[BASE]
        if not isinstance(base, str):
            wanted = "a file or the name of a config"
            raise UserError(f"{BASE} is {shown(base)}, but should be {wanted}")
        last, beside = path, (path.parent / base, path.parent / f"{base}.json")
        path = next((file for file in beside if file.is_file()), None) or find_config(base)
        if path.resolve() in (file.resolve() for file in found):
            raise UserError(f"{last} is its own {BASE}, by way of {path}")


def merged(base: dict[str, Any], differences: dict[str, Any]) -> dict[str, Any]:
    """A config's JSON on top of another. Sections are merged key by key; a new value replaces the
    old one, even if both are objects."""
    result = dict(base)
    for name, section in differences.items():
        before = result.get(name)
        if isinstance(before, dict) and isinstance(section, dict):
            section = {**before, **section}
        result[name] = section
    return result


def find_config(name: str) -> Path:
    """The file of a config, given by path or by name ("spread")."""
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    for folder in data_folders():
        if (folder / "json" / f"{name}.json").is_file():
            return folder / "json" / f"{name}.json"
    raise UserError(f"there is no config {name!r}; known are {', '.join(config_names()) or 'none'}")


def config_names() -> list[str]:
    """The names of all configs."""
    return sorted({path.stem for folder in data_folders() for path in folder.glob("json/*.json")})


def with_settings(data: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A copy of a config's JSON with "dotted.key=value" put in. Values are JSON, or else text.

    >>> with_settings({}, ["world.num_agents=6", "world.reward=shared"])
    {'world': {'num_agents': 6, 'reward': 'shared'}}
    """
    data = copy.deepcopy(data)
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        *path, last = dotted.strip().split(".")
        if not equals or not all([*path, last]):
            raise UserError(f"{setting!r} is no setting: write KEY=VALUE, as world.num_agents=6")
        try:
            value = parse_json(text)
        except ValueError:
            value = text
        section = data
        for key in path:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise UserError(f"{dotted} is not a known setting: {key} holds no settings")
        section[last] = value
    return data


# ---------------------------------------------------------------------------------------- checking


def parse_config(data: dict[str, Any]) -> Config:
    """Check a config's JSON and fill in all defaults. Does not change `data`."""
    check_sections(data)
    scenario, world = parse_world(data.get("world", {}), "world")
    agent = parse_agent(data.get("agent", {}))
    agents = parse_groups(data.get("agents", {}), data.get("agent", {}), agent, world)
    training = parse_training(data.get("training", {}))
    for key in ("num_agents", "evaluate_agents"):
        if numbers := getattr(training, key):
            _check_sizes(key, numbers, world)
    if training.vary:
        _check_kinds(training, world)
    _check_curriculum(training, world)
    for settings in (agent, *agents.values()):
        _check_window(settings, world)
    most = training.replay_size * max(world.agent_count, *training.num_agents, 1)
    if training.batch_size > most:
        raise UserError(
            f"training.batch_size is {training.batch_size}, but should be at most {most}, "
            "training.replay_size times the number of agents"
        )
    evaluation = parse_evaluation(data.get("evaluation", {}))
    replaced = evaluation.world
    if "world" not in data.get("evaluation", {}):
        # Parameters of another scenario than the default one may lack `reward`.
        replaced = {k: v for k, v in replaced.items() if k in type(world).model_fields}
    evaluation_world = replace_parameters(world, replaced, "evaluation.world")
    numbers = evaluation.agents or _evaluated_with(evaluation_world)
    return Config(
        scenario=scenario,
        world=world,
        agent=agent,
        agents=agents,
        exploration=parse_section(ExplorationConfig, data.get("exploration", {}), "exploration"),
        training=training,
        evaluation=evaluation.model_copy(update={"world": replaced, "agents": numbers}),
        evaluation_world=evaluation_world,
    )


def check_sections(data: dict[str, Any]) -> None:
    """Raise UserError for unknown sections, for numbers that are not finite, and for what is nested
    too deep."""
    try:
        check_depth(data)
    except ValueError as error:
        raise UserError(f"the config is {error}") from error
    for dotted, value in _leaves(data, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{dotted} is {value}, but should be a finite number")
    for name in data:
        if name not in SECTIONS:
            raise UserError(unknown(name, SECTIONS, ""))


class NamedWorld(NamedTuple):
    """The section `world` of a config: the name of the scenario, and its parameters."""

    scenario: str
    world: WorldConfig


def parse_world(section: Any, where: str) -> NamedWorld:
    """The section {"scenario": name, parameters}; errors call it `where`. MPE2's names become
    ours."""
    if isinstance(section, dict) and isinstance(section.get("scenario"), str):
        section = {**section, "scenario": our_name(section["scenario"])}
    parameters = named_section(section, where, "scenario", scenario_names(), "spread")
    scenario = parameters.pop("scenario")
    try:
        kind = find_scenario(scenario)
    except ValueError as error:
        raise UserError(f"{where}.scenario: {error}") from error
    return NamedWorld(scenario, parse_section(kind, parameters, where))


def replace_parameters(world: WorldConfig, replaced: dict[str, Any], where: str) -> WorldConfig:
    """A world with some parameters replaced from JSON; errors call the JSON `where`."""
    return parse_section(type(world), {**world.model_dump(mode="json"), **replaced}, where)


def parse_agent(section: Any) -> BaseModel:
    """The section {"name": name, settings}."""
    settings = named_section(section, "agent", "name", agent_names(), "atoc")
    kind = _kind(settings, "agent")
    agent = parse_section(kind.config, settings, "agent")
    if kind.agent.settings_per_group and settings.get("frozen"):
        raise UserError("agent.frozen has no place there: set agents.GROUP.frozen")
    return agent


def _kind(settings: dict[str, Any], where: str) -> AgentKind:
    """The agent that settings name."""
    try:
        return find_agent(settings["name"])
    except ValueError as error:
        raise UserError(f"{where}.name: {error}") from error


def parse_groups(
    section: Any, shared: dict[str, Any], agent: BaseModel, world: WorldConfig
) -> dict[str, BaseModel]:
    """The section `agents`, {group: who plays it}: the name of an agent or of a built-in policy, or
    settings. Those of an agent that plays together with `agent` come on top of those that are
    `shared`, the section `agent`."""
    if not isinstance(section, dict):
        raise UserError(f"agents is {shown(section)}, but should be an object of groups")
    found = {}
    for g, given in section.items():
        if g not in world.groups:
            raise UserError(f"agents.{g} is no group; the groups are {', '.join(world.groups)}")
        found[g] = _parse_player(f"agents.{g}", given, shared, agent)
    return found


def _parse_player(where: str, given: Any, shared: dict[str, Any], agent: BaseModel) -> BaseModel:
    if isinstance(given, str) and given in BUILTIN and given not in agent_names():
        given = {"policy": given}
    settings = given if isinstance(given, dict) else {"name": given}
    if "policy" in settings:
        policy, policies = settings["policy"], tuple(BUILTIN)
        if policy not in policies:
            raise UserError(f"{where}.policy is {shown(policy)}, but should be {one_of(policies)}")
        return parse_section(BuiltinPlayer, settings, where)
    mixes = find_agent(name_of(agent)).agent.settings_per_group
    if "frozen" in settings and ("agent" in settings or not ("name" in settings or mixes)):
        player = parse_section(FrozenPlayer, settings, where)
        if player.agent:
            place = f"{where}.agent"
            trained = named_section(player.agent, place, "name", agent_names(), "")
            parse_section(_kind(trained, place).config, trained, place)
        return player
    known = tuple(dict.fromkeys([*agent_names(), *BUILTIN]))
    settings = named_section(settings, where, "name", known, name_of(agent))
    kind = _kind(settings, where)
    if mixes and kind.agent is find_agent(name_of(agent)).agent:
        settings = {**shared, **settings}
    return parse_section(kind.config, settings, where)


def parse_training(section: Any) -> TrainingConfig:
    """The section `training`."""
    training = parse_section(TrainingConfig, section, "training")
    if training.replay_size < training.num_worlds:
        raise UserError(
            f"training.replay_size is {training.replay_size}, but should be at least "
            f"training.num_worlds, {training.num_worlds}"
        )
    return training


def parse_evaluation(section: Any) -> EvaluationConfig:
    """The section `evaluation`."""
    evaluation = parse_section(EvaluationConfig, section, "evaluation")
    for number in evaluation.agents or ():
        if number < 1:
            raise UserError(f"evaluation.agents holds {number}, but each should be at least 1")
    for key, instead in (("scenario", "world.scenario"), ("num_agents", "evaluation.agents")):
        if key in evaluation.world:
            raise UserError(f"evaluation.world.{key} has no place there: set {instead}")
    return evaluation


def _check_sizes(key: str, numbers: tuple[int, ...], world: WorldConfig) -> None:
    """Raise UserError if a scenario cannot have so many agents."""
    if "num_agents" not in type(world).model_fields:
        raise UserError(
            f"training.{key} has no place here: the scenario has no setting world.num_agents"
        )
    for number in numbers:
        if number < 1:
            raise UserError(f"training.{key} holds {number}, but each should be at least 1")
        for g, (sees, here) in _seen_by(world, number).items():
            if sees != here:
                raise UserError(
                    f"training.{key} holds {number}, but then {g!r} observe {sees} numbers and "
                    f"not {here}: here observations grow with the number of agents"
                )


def _seen_by(world: WorldConfig, number: int) -> dict[str, tuple[int, int]]:
    """How many numbers each group observes with so many agents, and with the world's own."""
    other = replace_parameters(world, {"num_agents": number}, "world").groups
    return {
        g: (other[g].observation_size, group.observation_size) for g, group in world.groups.items()
    }


def _evaluated_with(world: WorldConfig) -> tuple[int, ...]:
    """The default numbers of agents: the scenario's, or the world's own if there is none, or if
    observations grow with the number of agents, so that a policy fits no other."""
    numbers = world.evaluated_with
    if all(a == b for number in numbers for a, b in _seen_by(world, number).values()):
        return numbers or (world.agent_count,)
    return (world.agent_count,)


def _check_window(agent: BaseModel, world: WorldConfig) -> None:
    """Raise UserError if an agent learns from windows that no episode fills."""
    window, length = getattr(agent, "window", 1), getattr(world, "episode_length", None)
    if isinstance(window, int) and isinstance(length, int) and window > length:
        raise UserError(
            f"agent.window is {window}, but episodes have world.episode_length, {length} steps"
        )


def _check_kinds(training: TrainingConfig, world: WorldConfig) -> None:
    """Raise UserError if worlds of `training.vary` cannot be side by side."""
    if training.num_agents:
        raise UserError("training.vary and training.num_agents cannot be set together")
    for kind, _ in training.kinds():
        _check_same_groups(world, kind, "training.vary")


def _check_curriculum(training: TrainingConfig, world: WorldConfig) -> None:
    """Raise UserError if the stages of `training.curriculum` cannot follow each other."""
    ends = [stage.until for stage in training.curriculum]
    if ends != sorted({*ends}) or ends[-1:] >= [training.steps]:
        raise UserError(
            f"training.curriculum has stages until {', '.join(map(str, ends))}, but each should "
            f"end after the one before, and the last one before training.steps, {training.steps}"
        )
    for stage in training.curriculum:
        _check_same_groups(world, stage.world, "training.curriculum")


def _check_same_groups(world: WorldConfig, parameters: dict[str, Any], where: str) -> None:
    """Raise UserError if there are other agents with these parameters, or other spaces."""
    if replace_parameters(world, parameters, where).groups != world.groups:
        values = ", ".join(f"{name} {shown(value)}" for name, value in parameters.items())
        raise UserError(
            f"{where}: with {values} there are other agents, or they see other things; both should "
            "be the same throughout"
        )


def named_section(
    section: Any, where: str, key: str, known: tuple[str, ...], default: str
) -> dict[str, Any]:
    """A section whose `key` names its kind, with the name filled in."""
    if not isinstance(section, dict):
        raise UserError(f"{where} is {shown(section)}, but should be an object")
    name = section.get(key, default)
    importable = isinstance(name, str) and ":" in name
    if name not in known and not importable:
        raise UserError(
            f"{where}.{key} is {shown(name)}, but should be {one_of(known)}{guess(name, known)}"
        )
    return {**section, key: name}


def _leaves(data: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) below a piece of JSON."""
    if isinstance(data, dict | list | tuple):
        pairs = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in pairs:
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, data
