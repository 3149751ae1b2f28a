"""A policy by name: a run, a weights file or a built-in policy."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from marl.agents import Agent, Policy
from marl.agents.core.base import PolicyMaker
from marl.config.checking import refusal
from marl.config.model import Config, world_to_json
from marl.config.parsing import NamedWorld, parse_config, parse_world, with_settings
from marl.config.players import BuiltinPlayer
from marl.errors import PolicyWarning, UserError, does_not_fit
from marl.policies.builtin import BUILTIN, HOMES
from marl.policies.checked import CheckedPolicy
from marl.policies.epsilon_greedy import epsilon_greedy
from marl.runs.budget import Budget
from marl.runs.checkpoint import as_tensors, read_checkpoint, warn_of_unfinished
from marl.runs.paths import WEIGHTS, find_weights
from marl.worlds.base import World, WorldConfig
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.pettingzoo.names import ORIGINALS
from marl.worlds.registry import find_scenario


@dataclass(frozen=True)
class FoundPolicy:
    """A policy to evaluate or render, with its world.

    `agents` are the default numbers of agents: those of the config, or only the policy's own number
    if the policy is tied to it. `tied` says that in words.
    """

    name: str
    policy: PolicyMaker
    scenario: str  # the name of `world`
    world: WorldConfig
    config: Config
    agents: tuple[int, ...]
    tied: str = ""

    def world_for(self, num_agents: int) -> WorldConfig:
        """The world with N agents. Raises UserError if the policy or the scenario is tied to
        another number."""
        if self.tied and num_agents != self.agents[0]:
            raise does_not_fit(self.name, self.tied)
        try:
            return self.world.with_agents(num_agents)
        except ValidationError as error:
            raise refusal(error, type(self.world), "world") from error
        except ValueError as error:
            raise UserError(f"the scenario {self.scenario!r} {error}") from error


def find_policy(name: str, settings: Sequence[str] = ()) -> FoundPolicy:
    """A run, a .safetensors file or a built-in policy, by name. `settings` of the world
    ("world.KEY=VALUE") come on top of the evaluation world of the run; its scenario can only become
    one that is derived from it, or from which it is ("world.scenario=real_pursuit" for a run of
    `pursuit`). Settings of a trained agent ("agent.rounds=3") come on top of those in training, if
    the weights still fit. A file from elsewhere may name code to import, a scenario or an agent; it
    is refused unless `settings` name that code, too ("world.scenario=module:NAME")."""
    return _find_builtin(name, settings) if name in BUILTIN else _find_trained(name, settings)


def _find_builtin(name: str, settings: Sequence[str]) -> FoundPolicy:
    scenario = [s for s in settings if _key(s) == "world.scenario"]
    data = with_settings({"world": {"scenario": HOMES.get(name, "spread")}}, scenario)
    config = parse_config(data)
    if other := [setting for setting in settings if _key(setting).startswith("agent.")]:
        raise UserError(f"{other[0]} cannot be set here: {name!r} is no trained agent")
    named, world = _with_world_settings(config, [s for s in settings if s not in scenario])
    agents = _numbers(config, world)
    return FoundPolicy(name, partial(_builtin, name), named, world, config, agents)


def _find_trained(name: str, settings: Sequence[str]) -> FoundPolicy:
    path = find_weights(name)
    checkpoint = read_checkpoint(path)
    code = {f"{key}={named}": key for key, named in checkpoint.config.foreign.items()}
    trusted = {key for setting, key in code.items() if setting in settings}
    config = checkpoint.config.resolve(trusted)
    warn_of_unfinished(title(path), checkpoint, stacklevel=3)
    settings = [setting for setting in settings if setting not in code]
    changes = [setting for setting in settings if _key(setting).startswith("agent.")]
    if any(_key(setting) == "agent.name" for setting in changes):
        raise UserError("agent.name cannot be set here: use a policy of that agent")
    if changes:
        settings = [setting for setting in settings if setting not in changes]
        config = parse_config(with_settings(config.to_json(), changes))
    with Budget(path):
        agent = config.make_agent(config.world.groups, 0)
    if changes:
        try:
            agent.load_weights(as_tensors(checkpoint.tensors))
        except ValueError as error:
            raise UserError(f"{path} does not fit {' '.join(changes)}: {error}") from error
    tied = "" if agent.size_invariant else _tied(config)

    def maker(world: World, seed: int) -> Policy:
        # Built-in opponents play otherwise each time. What gets lost of messages stays the same.
        builtin = any(isinstance(x, BuiltinPlayer) for x in config.agents.values())
        agent = _trained(config, checkpoint.tensors, path, world, seed if builtin else 0)
        return epsilon_greedy(agent, world.groups, config.evaluation.epsilon, seed)

    named, world = _with_world_settings(config, settings)
    agents = (config.world.agent_count,) if tied else _numbers(config, world)
    if tied and world.agent_count != agents[0]:
        raise does_not_fit(title(path), tied)
    return FoundPolicy(title(path), maker, named, world, config, agents, tied)


def title(path: Path) -> str:
    """The name of the policy in a weights file: that of its run, if it is a run's."""
    return path.parent.name if path.name == WEIGHTS else path.stem


def _numbers(config: Config, world: WorldConfig) -> tuple[int, ...]:
    """The default numbers of agents in `world`. Where other parameters than `num_agents` decide on
    their number, that of the config may be another one."""
    if "num_agents" in type(world).model_fields:
        return config.evaluation.agents or ()
    return (world.agent_count,)


def _key(setting: str) -> str:
    return setting.partition("=")[0].strip()


def _with_world_settings(config: Config, settings: Sequence[str]) -> NamedWorld:
    """The world in which a run is evaluated, with settings ("world.KEY=VALUE") on top. Its scenario
    can be replaced by one that is derived from it, or from which it is."""
    for setting in settings:
        key = _key(setting)
        if not key.startswith("world."):
            raise UserError(
                f"{key} cannot be set here: only world.KEY=VALUE and agent.KEY=VALUE can"
            )
        if key == "world.num_agents":
            raise UserError(f"{key} cannot be set here: use --agents")
    data = {"world": world_to_json(config.scenario, config.evaluation_world)}
    changed = with_settings(data, settings)["world"]
    if changed["scenario"] != config.scenario:
        named, trained = str(changed["scenario"]), type(config.world)
        original = ORIGINALS.get(named)
        if original and issubclass(find_scenario(original), trained):
            changed["scenario"] = named = original  # PettingZoo's, behind the trained observations
        try:
            kind = find_scenario(named)
        except ValueError as error:
            raise UserError(f"world.scenario: {error}") from error
        if not (issubclass(kind, trained) or issubclass(trained, kind)):
            raise UserError(
                f"world.scenario is {named!r}, but the policy was trained in "
                f"{config.scenario!r}: use a policy for that scenario"
            )
    return parse_world(changed, "world")


def _builtin(name: str, world: World, seed: int = 0) -> Policy:
    try:
        return BUILTIN[name](world, seed)
    except ValueError as error:
        raise UserError(str(error)) from error


def load_policy(path_or_name: str, world: World | None = None) -> Policy:
    """A trained policy that acts in `world`, or in worlds like the one it was trained in.

    >>> policy = load_policy("spread")
    >>> actions = policy.act(world.reset())

    The policy checks what it is given, as `World.step` does: ValueError names the group and what
    is needed. Raises UserError for a file that cannot be used, for a file from elsewhere whose
    scenario is not imported yet, and if the network does not fit the world. Warns (PolicyWarning)
    if the world's order of integration is not that of training, and of a run that is not finished.
    """
    if path_or_name in BUILTIN:
        if world is None:
            raise UserError(f"the policy {path_or_name!r} needs the world that it shall act in")
        return CheckedPolicy(_builtin(path_or_name, world), world.groups)
    path = find_weights(str(path_or_name))
    checkpoint = read_checkpoint(path)
    config = checkpoint.config.resolve()
    warn_of_unfinished(title(path), checkpoint, stacklevel=2)
    world = world or config.make_world(1, 0)
    return CheckedPolicy(_trained(config, checkpoint.tensors, path, world), world.groups)


def _trained(
    config: Config, weights: Mapping[str, np.ndarray], path: Path, world: World, seed: int = 0
) -> Agent:
    """The agent with these weights, from the file at `path`, in a world."""
    with Budget(path):
        agent = config.make_agent(world.groups, seed, world)
    try:
        agent.load_weights(as_tensors(weights))
    except ValueError as error:
        raise does_not_fit(path, _misfit(config, agent, world) or str(error)) from error
    _warn_of_physics(config, path, world)
    return agent


def _warn_of_physics(config: Config, path: Path, world: World) -> None:
    """Warn if positions move in another order than in training."""
    trained = getattr(config.world, "integration", None)
    if isinstance(world, ParticleWorld) and trained not in (None, world.scenario.integration):
        warnings.warn(
            f"{title(path)} was trained with world.integration={trained} and plays with "
            f"{world.scenario.integration}, in which agents move otherwise: expect lower scores",
            PolicyWarning,
            stacklevel=4,
        )


def _misfit(config: Config, agent: Agent, world: World) -> str:
    """Why the weights of an agent do not fit a world, in words: the number of agents, or parameters
    that change the observations since training. Empty if neither is the reason."""
    if not isinstance(world, ParticleWorld):
        return _other_view(config, world)
    kind = type(config.world)
    if not isinstance(world.scenario, kind):
        return f"it was trained in {config.scenario!r}, which is another scenario"
    now, then = world.scenario.model_dump(), config.world.model_dump()
    if not agent.size_invariant and now.get("num_agents") != then.get("num_agents"):
        return _tied(config)

    def layout(parameters: dict[str, Any]) -> list:
        groups = kind(**parameters).groups
        return [(name, group.observation_parts) for name, group in groups.items()]

    reasons = [
        f"world.{key} is {value}, but was {then[key]} in training"
        for key, value in now.items()
        if layout({**now, key: then[key]}) != layout(now)
    ]
    if not reasons:
        return ""
    network = getattr(config.agent, "network", "of its own kind")
    return f"{' and '.join(reasons)}, and its network ({network}) knows that size only"


def _other_view(config: Config, world: World) -> str:
    """How the observations of a world differ in size from those in training, if they do."""
    for g, then in config.world.groups.items():
        now = world.groups.get(g)
        if now is not None and now.observation_size != then.observation_size:
            here = sum(map(len, world.groups.values()))
            return (
                f"with {here} agents {g!r} observe {now.observation_size} numbers, but with "
                f"{config.world.agent_count} in training {then.observation_size}"
            )
    return ""


def _tied(config: Config) -> str:
    """The sentence that a policy is tied to its number of agents."""
    return (
        f"the agent {config.agent_name!r} was trained as {config.world.agent_count} agents and is "
        "tied to that number: only policies that all agents share can be applied to another"
    )
