"""Greedy episodes and metrics: what a policy is worth on any number of agents."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marl.agents import Agent, Policy, agent_names
from marl.config import Config, parse_config, parse_scenario, with_settings
from marl.driving import Driven, Hands
from marl.errors import UserError
from marl.policies import BUILTIN, HOMES
from marl.rollout import collect
from marl.runs import (
    Checkpoint,
    as_tensors,
    data_folders,
    data_root,
    find_weights,
    read_checkpoint,
)
from marl.worlds.base import World
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.pettingzoo import PREFIX, module_of
from marl.worlds.registry import find_scenario, scenario_names
from marl.worlds.scene import Scene

SLOW_EPISODES, SLOW_AT_ONCE = 100, 8  # of slow worlds, unless told otherwise
AGENTS_AT_ONCE = 1_000  # in a chunk of episodes that run side by side; more would leave the cache

RENAMED = {"distance": "mean_distance"}  # metrics of worlds, where results call them otherwise

PolicyMaker = Callable[[World, int], Policy]  # from a world and a seed


# ---------------------------------------------------------------------------------------- policies


@dataclass(frozen=True)
class Subject:
    """Something to evaluate or render: how to make its policy, and in which world it is looked at.

    `world` is {"scenario": name, parameters}, as in a config; `agents` are the numbers of agents to
    look at unless told otherwise: the config's, but only its own for a policy tied to that, which
    `tied` says in words.
    """

    name: str
    policy: PolicyMaker
    world: dict[str, Any]
    config: Config
    agents: tuple[int, ...]
    tied: str = ""

    def world_for(self, num_agents: int) -> dict[str, Any]:
        """The world's parameters for N agents. Raises UserError where the policy or the scenario is
        tied to another number."""
        if self.tied and num_agents != self.agents[0]:
            raise UserError(f"{self.name} does not fit: {self.tied}")
        world = _with_agents(self.world, num_agents)
        parse_scenario(world, "world")
        return world


def _with_agents(world: dict[str, Any], num_agents: int) -> dict[str, Any]:
    """A world's parameters for N agents. The number of landmarks, where it is given, grows in step.
    Raises UserError where the scenario says how many agents there are, and that is another
    number."""
    scenario = parse_scenario(world, "world")
    if "num_agents" in type(scenario).model_fields:
        now = scenario.model_dump()
        world = {**world, "num_agents": num_agents}
        if now.get("num_landmarks") is not None:
            share = now["num_landmarks"] / now["num_agents"]
            world["num_landmarks"] = max(1, round(share * num_agents))
        return world
    if num_agents != scenario.agent_count:
        raise UserError(
            f"the scenario {world['scenario']!r} has {scenario.agent_count} agents, always"
        )
    return world


def subject(name: str, settings: Sequence[str] = ()) -> Subject:
    """A run, a .safetensors file or a built-in policy, by name. `settings` ("world.KEY=VALUE") come
    on top of the world in which the run wants to be evaluated; those of a trained agent
    ("agent.rounds=3"), on top of what it was trained with, if its weights fit still. A file from
    elsewhere whose scenario or agent is code to be imported is refused unless they name that, too
    ("world.scenario=module:NAME")."""
    tied = ""
    if name in BUILTIN:
        chosen = {"world": {"scenario": HOMES.get(name, "spread")}}
        where = [s for s in settings if s.partition("=")[0].strip() == "world.scenario"]
        settings = [setting for setting in settings if setting not in where]
        config = parse_config(with_settings(chosen, where))
        agents = config.evaluation.agents or ()
        maker: PolicyMaker = partial(_builtin, name)
        title = name
        if other := [setting for setting in settings if setting.strip().startswith("agent.")]:
            raise UserError(f"{other[0]} cannot be set here: {name!r} is no trained agent")
    else:
        path = find_weights(name)
        checkpoint = read_checkpoint(path)
        config = checkpoint.config
        code = _imports(config)
        trusted = {f"{key}={name}" for key, name in code.items()} & {*settings}
        settings = [setting for setting in settings if setting not in trusted]
        _check_trust(path, {k: v for k, v in code.items() if f"{k}={v}" not in trusted})
        own = [setting for setting in settings if setting.strip().startswith("agent.")]
        if any(setting.partition("=")[0].strip() == "agent.name" for setting in own):
            raise UserError("agent.name cannot be set here: use a policy of that agent")
        if own:
            settings = [setting for setting in settings if setting not in own]
            config = parse_config(with_settings(config.model_dump(mode="json"), own))
            checkpoint = replace(checkpoint, config=config)
        scenario = parse_scenario(config.world, "world")
        agents = config.evaluation.agents or (scenario.agent_count,)
        agent = config.make_agent(scenario.groups, 0)
        if own:
            try:
                agent.load_weights(as_tensors(checkpoint.tensors))
            except ValueError as error:
                raise UserError(f"{path} does not fit {' '.join(own)}: {error}") from error
        if not agent.any_number:
            tied = _tied(config)
        if tied or "num_agents" not in config.world:
            agents = (scenario.agent_count,)
        title = path.parent.name if path.name == "weights.safetensors" else path.stem

        def maker(world: World, seed: int) -> Policy:
            return _trained(checkpoint, str(path), world)

    world = {**config.world, **config.evaluation.world}
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if not key.startswith("world."):
            raise UserError(
                f"{key} cannot be set here: only world.KEY=VALUE and agent.KEY=VALUE can"
            )
        if key in ("world.scenario", "world.num_agents"):
            instead = "--agents" if key == "world.num_agents" else "a policy for that scenario"
            raise UserError(f"{key} cannot be set here: use {instead}")
    world = with_settings({"world": world}, settings)["world"]
    scenario = parse_scenario(world, "world")
    world = {"scenario": world["scenario"], **scenario.model_dump(mode="json")}
    return Subject(title, maker, world, config, agents, tied)


def _builtin(name: str, world: World, seed: int = 0) -> Policy:
    try:
        return BUILTIN[name](world, seed)
    except ValueError as error:
        raise UserError(str(error)) from error


def load_policy(path_or_name: str, world: World | None = None) -> Policy:
    """A trained policy that acts in `world`, or in worlds like the one it was trained in.

    >>> policy = load_policy("spread")
    >>> actions = policy.act(world.reset())

    Raises UserError for a file that cannot be used, for one from elsewhere whose scenario is not
    imported yet, and where its network does not fit the world.
    """
    if path_or_name in BUILTIN:
        if world is None:
            raise UserError(f"the policy {path_or_name!r} needs the world that it shall act in")
        return _builtin(path_or_name, world)
    path = find_weights(str(path_or_name))
    checkpoint = read_checkpoint(path)
    _check_trust(path, _imports(checkpoint.config))
    return _trained(checkpoint, str(path), world or checkpoint.config.make_world(1, 0))


def _imports(config: Config) -> dict[str, str]:
    """The settings that name code which is not marl's own."""
    names = {"world.scenario": config.world["scenario"], "agent.name": config.agent["name"]}
    known = (*scenario_names(), *agent_names())
    return {key: name for key, name in names.items() if name not in known}


def _check_trust(path: Path, code: Mapping[str, str]) -> None:
    """Raise UserError where a file that is not among our own runs says what code to import."""
    modules = {
        module_of(rest) if name.startswith(PREFIX) else name.partition(":")[0]
        for name in code.values()
        for rest in [name.removeprefix(PREFIX)]
    }
    ours = [(folder / "models").resolve() for folder in data_folders()]
    if modules <= {*sys.modules} or any(path.resolve().is_relative_to(x) for x in ours):
        return
    settings = " ".join(f"{key}={name}" for key, name in code.items())
    raise UserError(
        f"{path} is not in {data_root()}, and names code that would be imported: if you trust "
        f"that, add --set {settings} (in Python, import {' and '.join(sorted(modules))} first)"
    )


def _trained(checkpoint: Checkpoint, path: str, world: World) -> Agent:
    """The agent of a checkpoint, built for a world."""
    agent = checkpoint.config.make_agent(world.groups, 0)
    try:
        agent.load_weights(as_tensors(checkpoint.tensors))
    except ValueError as error:
        raise UserError(
            f"{path} does not fit: {_misfit(checkpoint.config, agent, world) or error}"
        ) from error
    return agent


def _misfit(config: Config, agent: Agent, world: World) -> str:
    """Why an agent's weights do not fit a world, in words: its number of agents, or the parameters
    that make its observations other than those of the training; empty where neither is the
    reason."""
    if not isinstance(world, ParticleWorld):
        return ""
    kind = find_scenario(config.world["scenario"])
    if not isinstance(world.scenario, kind):
        return f"it was trained in {config.world['scenario']!r}, which is another scenario"
    now = world.scenario.model_dump()
    if not agent.any_number and now.get("num_agents") != config.world.get("num_agents"):
        return _tied(config)

    def layout(parameters: dict[str, Any]) -> list:
        groups = kind(**parameters).groups
        return [(name, group.observation_parts) for name, group in groups.items()]

    reasons = [
        f"world.{key} is {value}, but was {config.world[key]} in training"
        for key, value in now.items()
        if layout({**now, key: config.world[key]}) != layout(now)
    ]
    if not reasons:
        return ""
    network = config.agent.get("network", "of its own kind")
    return f"{' and '.join(reasons)}, and its network ({network}) knows that size only"


def _tied(config: Config) -> str:
    """That a policy plays with its own number of agents only."""
    agents = parse_scenario(config.world, "world").agent_count
    return (
        f"the agent {config.agent['name']!r} was trained as {agents} agents and is tied to "
        "that number: only policies that all agents share can be applied to another"
    )


# -------------------------------------------------------------------------------------- evaluation


def evaluate(
    policy: PolicyMaker, world: dict[str, Any], num_agents: int, episodes: int | None, seed: int
) -> dict[str, Any]:
    """Play episodes without exploration and measure.

    Args:
        policy: makes the policy for a world and a seed.
        world: {"scenario": name, parameters}, of which `num_agents` is replaced; `num_landmarks`,
            where it is given, grows in step.
        num_agents: N.
        episodes: how many; None: about 20 000 agents' worth, at least 20 and at most 2000,
            or 100 of slow worlds.
        seed: of the episodes and of policies that draw.

    Returns:
        agents, episodes, seed; the world's metrics at the last step (in spread coverage,
        coverage_015, mean_distance), but its events (collisions, overlapping others per agent)
        averaged over all steps; for the first of the metrics, NAME_ci95, the ends of its 95 %
        confidence interval over episodes, or None for a single one; reward per agent and step, and
        reward_GROUP where there are several; path_length, how far an agent has travelled, in world
        units; NAME_by_step, the first metric after each step. They depend on nothing but the
        arguments.
    """
    return averaged(measure(policy, world, num_agents, episodes, seed), num_agents, seed)


def measure(
    policy: PolicyMaker, world: dict[str, Any], num_agents: int, episodes: int | None, seed: int
) -> dict[str, np.ndarray]:
    """What `evaluate` averages, of each episode: {name: f64[E]}, {NAME_by_step: f64[E, T]}."""
    scenario = parse_scenario(_with_agents(world, num_agents), "world")
    if episodes is None:
        episodes = min(max(-(-20_000 // num_agents), 20), 2000)
        episodes = SLOW_EPISODES if scenario.slow else episodes
    chunk = SLOW_AT_ONCE if scenario.slow else max(1, AGENTS_AT_ONCE // num_agents)
    parts = []
    with one_thread():
        for number, first in enumerate(range(0, episodes, chunk)):
            chunk_seed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            with closing(scenario.make_world(min(chunk, episodes - first), chunk_seed)) as worlds:
                parts.append(_play(worlds, policy(worlds, chunk_seed)))
    return {name: joined([part[name] for part in parts]) for name in parts[0]}


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """All episodes, [E] or [E, T]; those that were over sooner stay as they were at their end."""
    if parts[0].ndim == 2:
        longest = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, longest - part.shape[1])), "edge") for part in parts]
    return np.concatenate(parts)


def averaged(values: dict[str, np.ndarray], num_agents: int, seed: int) -> dict[str, Any]:
    """The result of `evaluate` from that of `measure`."""
    episodes = len(next(iter(values.values())))
    result: dict[str, Any] = {"agents": num_agents, "episodes": episodes, "seed": seed}
    for name, column in values.items():
        if name.endswith("_by_step"):
            result[name] = [float(step.mean()) for step in np.ascontiguousarray(column.T)]
            continue
        result[name] = float(column.mean())
        if headline(result) is None and not name.startswith(("reward", "path_length")):
            result[f"{name}_ci95"] = _interval(column)
    return result


def headline(result: dict[str, Any]) -> str | None:
    """The name of what counts most in an evaluation, its world's first metric, if there is any."""
    return next((key.removesuffix("_ci95") for key in result if key.endswith("_ci95")), None)


def _play(world: World, policy: Policy) -> dict[str, np.ndarray]:
    """One episode in each of the worlds: {name: f64[E]}, events and rewards as means over steps,
    the other metrics as they were at the end; {NAME_by_step: f64[E, T]} for the first of them."""
    playing = np.ones(world.num_worlds, bool)
    steps = np.zeros(world.num_worlds)
    sums = {name: np.zeros(world.num_worlds) for name in world.events}
    reward = {g: np.zeros(world.num_worlds) for g in ("", *world.groups)}
    path_length = np.zeros(world.num_worlds)
    particles = world if isinstance(world, ParticleWorld) else None
    last: dict[str, np.ndarray] = {}
    by_step: list[np.ndarray] = []
    observation = world.reset()
    policy.reset()
    before = None if particles is None else particles.positions()[0]
    for turn in collect(world, policy, observation=observation):
        step = turn.step
        steps += playing
        for g, own in {"": np.concatenate([*step.reward.values()], 1), **step.reward}.items():
            reward[g] += playing * own.mean(axis=1, dtype=np.float64)
        if particles is not None:
            after, _ = particles.positions()
            moved = after - before
            far = np.hypot(moved[..., 0], moved[..., 1])
            path_length += playing * far.mean(axis=1, dtype=float)
            before = after
        for name, values in step.metrics.items():
            if name in sums:
                sums[name] += playing * values
            last.setdefault(name, np.zeros(world.num_worlds))[playing] = values[playing]
        by_step += [values.copy() for values in islice(last.values(), 1)]
        playing &= ~step.done
        if not playing.any():
            break
    first = next(iter(last), None)
    last.update({name: total / steps for name, total in sums.items() if name in last})
    result = {RENAMED.get(name, name): values for name, values in last.items()}
    result["reward"] = reward.pop("") / steps
    if len(reward) > 1:
        result |= {f"reward_{g}": total / steps for g, total in reward.items()}
    if particles is not None:
        result.setdefault("path_length", path_length)
    if first:
        result[f"{RENAMED.get(first, first)}_by_step"] = np.stack(by_step, axis=1)
    return result


def _interval(values: np.ndarray) -> list[float] | None:
    """The ends of the 95 % confidence interval of a mean, of fractions within 0 and 1."""
    if len(values) < 2:
        return None
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    low, high = float(values.mean() - half), float(values.mean() + half)
    if values.min() >= 0 and values.max() <= 1:
        low, high = max(0.0, low), min(1.0, high)
    return [low, high]


def scenes(
    subject: Subject,
    num_agents: int,
    steps: int | None = None,
    seed: int = 0,
    hands: dict[str, Hands] | None = None,
) -> Iterator[Scene]:
    """What one world looks like after each step, with its first metric in the caption; `steps` of
    them, or one episode. `hands`: of whom plays the agents of these names. Raises UserError, at
    once, where these cannot be played."""
    scenario = parse_scenario(subject.world_for(num_agents), "world")
    world = scenario.make_world(1, seed)
    policy = subject.policy(world, seed)
    for agent, own in (hands or {}).items():
        reach = scenario.reaches.get(agent, (1.0, 1.0))
        policy = Driven(policy, world.groups, agent, own, reach)
    return _scenes(world, policy, steps)


def _scenes(world: World, policy: Policy, steps: int | None) -> Iterator[Scene]:
    with closing(world):
        for turn in islice(collect(world, policy), steps):
            scene = world.scene()
            caption = scene.caption
            for name, value in islice(turn.step.metrics.items(), 1):
                caption += f"   {name} {value[0]:.2f}"
            yield replace(scene, caption=caption)
            if steps is None and turn.step.done[0]:
                break


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums are always added in one order; as before after that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
