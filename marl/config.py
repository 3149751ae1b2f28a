"""One typed model = JSON = flags: every setting of a run, checked, with all defaults filled in.

Precedence: defaults < JSON < flags that were typed. What is wrong is refused in one sentence
(`UserError`) that names the dotted field, its value and what is allowed.
"""

import copy
import difflib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marl.agents import REGISTRY, Agent, AgentKind, agent_names, find_agent
from marl.agents.ddpg import FAMILY, DDPGConfig
from marl.errors import UserError
from marl.exploration import ExplorationConfig
from marl.worlds.base import Group, World, WorldConfig
from marl.worlds.islands import Islands
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.registry import SCENARIOS, find_scenario, scenario_names
from marl.worlds.side_by_side import SideBySideWorlds

Model = TypeVar("Model", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]
SEEDS = 2**63  # seeds are smaller than this


class TrainingConfig(BaseModel):
    """How long and how to train. Steps are environment steps, summed over the worlds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=SEEDS, description="from which all random streams derive")
    steps: int = Field(1_000_000, ge=1, description="environment steps to train for")
    num_worlds: int = Field(64, ge=1, description="worlds stepped side by side")
    num_agents: tuple[int, ...] = Field(
        (),
        description="train with several numbers of agents at once, as [4, 8, 12], instead of "
        "world.num_agents",
    )
    vary: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(
        {},
        description="parameters in which the worlds side by side differ, as "
        '{"num_landmarks": [4, 5, 6]}: world e has the e-th value of each list, which is repeated',
    )
    staggered: bool = Field(True, description="the worlds' episodes do not all end at once")
    batch_size: int = Field(256, ge=1, description="transitions of single agents in an update")
    replay_size: int = Field(250_000, ge=1, description="steps of single worlds that are kept")
    learning_starts: int = Field(2_000, ge=0, description="environment steps before any update")
    update_every: int = Field(64, ge=1, description="environment steps between updates")
    updates: int = Field(1, ge=0, description="updates each time")
    log_every: int = Field(
        20_000, ge=0, description="environment steps between log lines; 0: never"
    )
    checkpoint_every: int = Field(
        250_000, ge=0, description="environment steps between checkpoints; 0: only first and last"
    )
    evaluate_every: int = Field(
        100_000, ge=0, description="environment steps between evaluations; 0: never"
    )
    evaluate_agents: tuple[int, ...] = Field(
        (), description="numbers of agents to evaluate with besides, as [80, 1000]"
    )
    reward_sharing: Share | dict[str, Share] = Field(
        0.0,
        description="share of an agent's reward that is the mean of its group: for all, or by "
        'group, as {"good": 0.5}',
    )
    final_reward_sharing: Share | dict[str, Share] | None = Field(
        None, description="what it has become at the end, in a straight line; null: the same"
    )
    publish: Literal["last", "best"] = Field(
        "last",
        description="which weights count: the last, or those evaluated best so far, in the mean "
        "over the numbers of agents that are evaluated",
    )

    def kinds(self) -> list[tuple[dict[str, Any], int]]:
        """The parameters in which worlds differ (`vary`), and how many worlds have these."""
        kinds: list[dict[str, Any]] = []
        counts: list[int] = []
        for world in range(self.num_worlds):
            kind = {name: values[world % len(values)] for name, values in self.vary.items()}
            if kind not in kinds:
                kinds.append(kind)
                counts.append(0)
            counts[kinds.index(kind)] += 1
        return list(zip(kinds, counts, strict=True))


class EvaluationConfig(BaseModel):
    """What `marl evaluate` does unless told otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="numbers of agents; null: those of the scenario, in spread 4, 12, 80 and 1000",
    )
    episodes: int | None = Field(
        None, ge=1, description="null: about 20 000 agents' worth, at least 20 and at most 2000"
    )
    seed: int = Field(1_000_000, ge=0, lt=SEEDS, description="of the episodes")
    expected: dict[int, float] = Field(
        {},
        description="the first metric that runs of this config reach, by number of agents, as "
        '{"80": 0.86}; training that ends lower says so',
    )
    world: dict[str, Any] = Field(
        {"reward": "shared"},
        description="scenario parameters that replace the training world's, here and in rendering",
    )


class Config(BaseModel):
    """All settings of a run; make one with `parse_config` or `load_config`.

    `world` is {"scenario": name} with the scenario's parameters, `agent` {"name": name} with the
    agent's settings; `agents` has {group: settings} of groups that are not as `agent` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    world: dict[str, Any]
    agent: dict[str, Any]
    agents: dict[str, dict[str, Any]] = {}
    exploration: ExplorationConfig
    training: TrainingConfig
    evaluation: EvaluationConfig

    def flat(self) -> dict[str, Any]:
        """Every setting as {dotted key: value}."""

        def leaves(data: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
            for key, value in data.items():
                if isinstance(value, dict) and value:
                    yield from leaves(value, f"{where}{key}.")
                else:
                    yield f"{where}{key}", value

        return dict(leaves(self.model_dump(mode="json"), ""))

    def make_world(
        self, num_worlds: int, seed: int, staggered: bool = False, **replaced: Any
    ) -> World:
        """Worlds of the training scenario, with some parameters replaced."""
        scenario = parse_scenario({**self.world, **replaced}, "world")
        return scenario.make_world(num_worlds, seed, staggered)

    def make_training_world(self, seed: int) -> World:
        """What is trained in: with islands where there are to be several numbers of agents, side by
        side where the worlds differ in something else."""
        t = self.training
        if t.vary:
            kinds = t.kinds()
            seeds = np.random.SeedSequence(seed).generate_state(len(kinds))
            return SideBySideWorlds(
                [
                    self.make_world(count, int(own), t.staggered, **parameters)
                    for (parameters, count), own in zip(kinds, seeds, strict=True)
                ]
            )
        if not t.num_agents:
            return self.make_world(t.num_worlds, seed, t.staggered)
        seeds = np.random.SeedSequence(seed).generate_state(len(t.num_agents))
        return Islands(
            [
                cast(
                    ParticleWorld,
                    self.make_world(t.num_worlds, int(own), t.staggered, num_agents=n),
                )
                for n, own in zip(t.num_agents, seeds, strict=True)
            ]
        )

    def make_agent(self, groups: dict[str, Group], seed: int) -> Agent:
        """An untrained agent for these groups. Raises UserError where they do not fit it."""
        kind = _agent_kind(self.agent["name"])
        settings = parse_section(kind.config, self.agent, "agent")
        others = {g: parse_section(DDPGConfig, x, f"agents.{g}") for g, x in self.agents.items()}
        more = {"others": others} if others else {}
        try:
            return kind.agent(groups, settings, self.exploration, seed, **more)  # type: ignore[call-arg]
        except (ValueError, RuntimeError) as error:
            raise UserError(f"the agent cannot be built: {error}") from error


# ----------------------------------------------------------------------------------------- reading


def load_config(path: str | Path, settings: Sequence[str] = ()) -> Config:
    """The config in a JSON file, with flags ("world.num_agents=6") on top.

    Raises UserError for a file that cannot be read and for settings that are not allowed.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object with the sections {', '.join(SECTIONS)}")
    return parse_config(with_settings(data, settings))


def read_json(path: str | Path) -> Any:
    """What a JSON file holds. Raises UserError where there is none."""
    path = Path(path)
    try:
        return _parse_json(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no JSON file: its text is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid JSON: {error}") from error


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
            value = _parse_json(text)
        except (ValueError, RecursionError):
            value = text
        section = data
        for key in path:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise UserError(f"{dotted} is not a known setting: {key} holds no settings")
        section[last] = value
    return data


def _parse_json(text: str) -> Any:
    """JSON, with 1e6 as the whole number that it is, and refusing keys that stand there twice."""

    def number(digits: str) -> int | float:
        value = float(digits)
        return int(value) if value.is_integer() else value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
        return result

    return json.loads(text, parse_float=number, object_pairs_hook=unique)


# ---------------------------------------------------------------------------------------- checking

SECTIONS = tuple(Config.model_fields)


def parse_config(data: dict[str, Any]) -> Config:
    """Check a config's JSON and fill in all defaults. Does not change `data`."""
    return _parsed(data, importing=True)


def parse_stored_config(data: dict[str, Any]) -> Config:
    """The config in a file that we wrote, or that says so: a scenario or agent "module:NAME"
    is not imported, as merely looking at a file must not run code. Its settings are as they were
    stored; they are checked when it is made."""
    return _parsed(data, importing=False)


def _parsed(data: dict[str, Any], importing: bool) -> Config:
    for dotted, value in _leaves(data, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{dotted} is {value}, but should be a finite number")
    for name in data:
        if name not in SECTIONS:
            raise UserError(_unknown(name, SECTIONS, ""))
    world = _named(data.get("world", {}), "world", "scenario", scenario_names(), "spread")
    known = importing or world["scenario"] in SCENARIOS
    scenario = parse_scenario(world, "world") if known else None
    agent = _named(data.get("agent", {}), "agent", "name", agent_names(), "atoc")
    if importing or agent["name"] in REGISTRY:
        agent_config = _agent_kind(agent["name"]).config
        settings = parse_section(agent_config, agent, "agent").model_dump(mode="json")
        agent = {"name": agent["name"], **settings}
    if agent["name"] in FAMILY and agent.get("frozen"):  # others may have a setting of that name
        raise UserError("agent.frozen has no place there: set agents.GROUP.frozen")
    agents = _others(data.get("agents", {}), data.get("agent", {}), agent["name"], scenario)
    evaluation = parse_section(EvaluationConfig, data.get("evaluation", {}), "evaluation")
    for number in evaluation.agents or ():
        if number < 1:
            raise UserError(f"evaluation.agents holds {number}, but each should be at least 1")
    for key, instead in (("scenario", "world.scenario"), ("num_agents", "evaluation.agents")):
        if key in evaluation.world:
            raise UserError(f"evaluation.world.{key} has no place there: set {instead}")
    # Parameters of another scenario than the default one may lack `reward`.
    replaced = evaluation.world
    if scenario is not None:
        if "world" not in data.get("evaluation", {}):
            replaced = {k: v for k, v in replaced.items() if k in type(scenario).model_fields}
        parse_scenario({**world, **replaced}, "evaluation.world")
        world = {"scenario": world["scenario"], **scenario.model_dump(mode="json")}
        if evaluation.agents is None:
            numbers = scenario.evaluated_with or (scenario.agent_count,)
            evaluation = evaluation.model_copy(update={"agents": numbers})
    training = parse_section(TrainingConfig, data.get("training", {}), "training")
    for key in ("num_agents", "evaluate_agents"):
        if scenario is not None and getattr(training, key):
            _check_sizes(key, getattr(training, key), scenario)
    if scenario is not None and training.vary:
        _check_kinds(training, world, scenario)
    if training.replay_size < training.num_worlds:
        raise UserError(
            f"training.replay_size is {training.replay_size}, but should be at least "
            f"training.num_worlds, {training.num_worlds}"
        )
    return Config(
        world=world,
        agent=agent,
        agents=agents,
        exploration=parse_section(ExplorationConfig, data.get("exploration", {}), "exploration"),
        training=training,
        evaluation=evaluation.model_copy(update={"world": replaced}),
    )


def _others(
    agents: Any, agent: dict[str, Any], name: str, scenario: WorldConfig | None
) -> dict[str, dict[str, Any]]:
    """The section `agents`: {group: name or settings}, on top of those of `agent`."""
    if not isinstance(agents, dict):
        raise UserError(f"agents is {_shown(agents)}, but should be an object of groups")
    found = {}
    for g, own in agents.items():
        if scenario is not None and g not in scenario.groups:
            raise UserError(f"agents.{g} is no group; the groups are {', '.join(scenario.groups)}")
        section = {**agent, **(own if isinstance(own, dict) else {"name": own})}
        section = _named(section, f"agents.{g}", "name", tuple(FAMILY), name)
        if name not in FAMILY or section["name"] not in FAMILY:
            raise UserError(f"agents.{g} has no place here: only {_or(tuple(FAMILY))} can differ")
        found[g] = parse_section(DDPGConfig, section, f"agents.{g}").model_dump(mode="json")
    return found


def _check_sizes(key: str, numbers: tuple[int, ...], scenario: WorldConfig) -> None:
    """Raise UserError where a scenario cannot have so many agents."""
    if "num_agents" not in type(scenario).model_fields:
        raise UserError(
            f"training.{key} has no place here: the scenario has {scenario.agent_count} agents, "
            "always"
        )
    for number in numbers:
        if number < 1:
            raise UserError(f"training.{key} holds {number}, but each should be at least 1")


def _check_kinds(training: TrainingConfig, world: dict[str, Any], scenario: WorldConfig) -> None:
    """Raise UserError where worlds of `training.vary` cannot be side by side."""
    if training.num_agents:
        raise UserError("training.vary and training.num_agents cannot be set together")
    for kind, _ in training.kinds():
        varied = parse_scenario({**world, **kind}, "training.vary")
        if varied.groups != scenario.groups:
            shown = ", ".join(f"{name} {_shown(value)}" for name, value in kind.items())
            raise UserError(
                f"training.vary: with {shown} there are other agents, or they see other things; "
                "both should be the same in all worlds"
            )


def _agent_kind(name: str) -> AgentKind:
    try:
        return find_agent(name)
    except ValueError as error:
        raise UserError(f"agent.name: {error}") from error


def parse_scenario(world: dict[str, Any], where: str) -> WorldConfig:
    """The scenario of {"scenario": name, parameters}; `where` is the section that errors name."""
    parameters = {k: v for k, v in world.items() if k != "scenario"}
    try:
        scenario = find_scenario(world["scenario"])
    except ValueError as error:
        raise UserError(f"{where}.scenario: {error}") from error
    return parse_section(scenario, parameters, where)


def _named(section: Any, where: str, key: str, known: tuple[str, ...], default: str) -> dict:
    """A section in which `key` names the kind of thing that the other settings are for."""
    if not isinstance(section, dict):
        raise UserError(f"{where} is {_shown(section)}, but should be an object")
    name = section.get(key, default)
    own = isinstance(name, str) and ":" in name
    if name not in known and not own:
        raise UserError(
            f"{where}.{key} is {_shown(name)}, but should be {_or(known)}{_guess(name, known)}"
        )
    return {**section, key: name}


def parse_section(model: type[Model], section: Any, where: str) -> Model:
    """Check one section of a config, or another piece of JSON that `where` names: strictly, so that
    "4" is no number and true is no 1. Raises UserError."""
    try:
        return model.model_validate_json(json.dumps(section), strict=True)
    except ValidationError as error:
        problem = _telling(error)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} cannot be written as JSON: {error}") from error
    kinds = ("constrained-", "dict[")  # which of several kinds of value it was taken for
    path = [str(part) for part in problem["loc"] if not str(part).startswith(kinds)]
    dotted = ".".join([where, *path])
    if problem["type"] == "extra_forbidden" and len(path) > 1:
        raise UserError(f"{dotted} is not a known setting")
    if problem["type"] == "extra_forbidden":
        raise UserError(_unknown(path[-1], tuple(model.model_fields), where))
    allowed = problem["msg"].removeprefix("Value error, ")
    allowed = allowed.replace("Input should be", "should be")
    if problem["type"] == "missing":
        raise UserError(f"{dotted} is missing")
    raise UserError(f"{dotted} is {_shown(problem['input'])}, but {allowed}")


def _telling(error: ValidationError) -> Any:
    """The first problem; of a field that takes a number or an object, that of the kind it has."""
    first, *others = error.errors()
    of_field = [x for x in (first, *others) if x["loc"][:1] == first["loc"][:1]]
    return next((x for x in of_field if x["type"] not in ("float_type", "dict_type")), first)


def _unknown(key: str, known: Sequence[str], where: str) -> str:
    """The sentence for a key that does not exist, with the nearest one that does."""
    dotted = f"{where}.{key}" if where else key
    if dotted in setting_names():
        return f"{dotted} is a setting of another kind of {where}; known here are {_or(known)}"
    guess = _guess(key, known, f"{where}." if where else "")
    if not guess:  # the right key in the wrong section, or none at all
        elsewhere = [name for name in setting_names() if name.rpartition(".")[2] == key]
        guess = (
            f"; did you mean {elsewhere[0]}?" if elsewhere else f"; known are {', '.join(known)}"
        )
    return f"{dotted} is not a known setting{guess}"


def _guess(name: Any, known: Sequence[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


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


def _leaves(data: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) below a piece of JSON."""
    if isinstance(data, dict | list | tuple):
        pairs = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in pairs:
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, data


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
