"""Greedy episodes and their metrics: the score of a policy with any number of agents."""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from threading import Event
from typing import Any

import numpy as np
import torch

from marl.agents import Policy
from marl.agents.core.base import PolicyMaker
from marl.errors import WorldFailed
from marl.policies.human import HumanPolicy, Keyboard
from marl.rollout import collect
from marl.values import checked_seed, plain, whole_number
from marl.worlds.base import World, WorldConfig
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.scene import Scene

SLOW_EPISODES, SLOW_AT_ONCE = 100, 8  # defaults of slow worlds
AGENTS_AT_ONCE = 1_000  # in a chunk of parallel episodes; more would leave the cache

MAX_STEPS = 10_000  # of an episode that does not end
UNFINISHED = "unfinished"  # the name in results of the share of episodes that were cut off

RENAMED = {"distance": "mean_distance"}  # metrics with another name in results


class EvaluationStopped(KeyboardInterrupt):
    """A stop was asked for while episodes were played."""


def evaluate(
    policy: PolicyMaker,
    world: WorldConfig,
    num_agents: int,
    episodes: int | None,
    seed: int,
    *,
    max_steps: int = MAX_STEPS,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Play episodes without exploration and measure them.

    Args:
        policy: makes the policy for a world and a seed.
        world: its parameters; the number of agents is replaced.
        num_agents: N.
        episodes: number of episodes; None: about 20 000 agents' worth, at least 20 and at most
            2000, or 100 for slow worlds.
        seed: of the episodes, and of policies that draw random numbers.
        max_steps: cuts off episodes that have not ended by then.
        stop: ends the play, once it is set, with EvaluationStopped.

    Returns:
        A dictionary that depends on nothing but the arguments: agents, episodes, seed; the world's
        metrics at the last step (in spread coverage, coverage_015, mean_distance), and its events
        (collisions, overlapping others per agent) averaged over all steps; NAME_ci95 for the first
        metric, the ends of its 95 % confidence interval over episodes, or None for one episode;
        reward per agent and step, and reward_GROUP if there are several groups; path_length, the
        distance that an agent travels, in world units; NAME_by_step, the first metric after each
        step; unfinished, the share of episodes that were cut off, if there are any.
    """
    values = measure(policy, world, num_agents, episodes, seed, max_steps=max_steps, stop=stop)
    return averaged(values, num_agents, seed)


def measure(
    policy: PolicyMaker,
    world: WorldConfig,
    num_agents: int,
    episodes: int | None,
    seed: int,
    *,
    max_steps: int = MAX_STEPS,
    stop: Event | None = None,
) -> dict[str, np.ndarray]:
    """The values of each episode that `evaluate` averages: {name: f64[E]}, {NAME_by_step: f64[E,
    T]}."""
    num_agents, seed = whole_number("num_agents", num_agents, 1), checked_seed(seed)
    scenario = world.with_agents(num_agents)
    episodes = episodes or default_episodes(scenario, num_agents)
    chunk = SLOW_AT_ONCE if scenario.slow else max(1, AGENTS_AT_ONCE // num_agents)
    parts = []
    with one_thread():
        for number, first in enumerate(range(0, episodes, chunk)):
            chunk_seed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            with closing(scenario.make_world(min(chunk, episodes - first), chunk_seed)) as worlds:
                own = policy(worlds, chunk_seed)
                parts.append(_play(worlds, own, max_steps, stop or Event()))
    values = {name: joined([part[name] for part in parts]) for name in parts[0]}
    if not values[UNFINISHED].any():
        del values[UNFINISHED]
    return values


def default_episodes(world: WorldConfig, num_agents: int) -> int:
    """How many episodes are played unless told otherwise."""
    return SLOW_EPISODES if world.slow else min(max(-(-20_000 // num_agents), 20), 2000)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """All episodes, [E] or [E, T]. A shorter episode keeps its last value."""
    if parts[0].ndim == 2:
        longest = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, longest - part.shape[1])), "edge") for part in parts]
    return np.concatenate(parts)


def averaged(values: dict[str, np.ndarray], num_agents: int, seed: int) -> dict[str, Any]:
    """The result of `evaluate`, from that of `measure`."""
    episodes = len(next(iter(values.values())))
    result: dict[str, Any] = {
        "agents": plain(num_agents),
        "episodes": episodes,
        "seed": plain(seed),
    }
    for name, column in values.items():
        if name.endswith("_by_step"):
            result[name] = [float(step.mean()) for step in np.ascontiguousarray(column.T)]
            continue
        result[name] = float(column.mean())
        others = ("reward", "path_length", UNFINISHED)
        if primary_metric(result) is None and not name.startswith(others):
            result[f"{name}_ci95"] = _interval(column)
    return result


def check_finite(who: str, result: dict[str, Any]) -> None:
    """Raises WorldFailed if a number in a result of `evaluate` is not finite."""
    wrong = [name for name, x in result.items() if isinstance(x, float) and not math.isfinite(x)]
    if wrong:
        raise WorldFailed(
            f"{who} with {result['agents']} agents: {', '.join(wrong)} is not a finite number"
        )


def primary_metric(result: dict[str, Any]) -> str | None:
    """The name of an evaluation's main metric, its world's first one, if there is any."""
    return next((key.removesuffix("_ci95") for key in result if key.endswith("_ci95")), None)


def cut_off(results: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each result of `evaluate` with episodes that were cut off."""
    return [
        f"With {result['agents']} agents {result[UNFINISHED]:.0%} of the episodes had not ended "
        "after evaluation.max_steps steps, and were measured up to there."
        for result in results
        if UNFINISHED in result
    ]


def _play(world: World, policy: Policy, max_steps: int, stop: Event) -> dict[str, np.ndarray]:
    """One episode in each of the worlds: {name: f64[E]}. Events and rewards are means over steps;
    other metrics have their value at the end. {NAME_by_step: f64[E, T]} for the first metric."""
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
    for turn in islice(collect(world, policy, observation=observation), max_steps):
        if stop.is_set():
            raise EvaluationStopped
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
    result[UNFINISHED] = playing.astype(float)
    return result


def _interval(values: np.ndarray) -> list[float] | None:
    """The ends of the 95 % confidence interval of a mean. Those of fractions stay within 0 and
    1."""
    if len(values) < 2:
        return None
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    low, high = float(values.mean() - half), float(values.mean() + half)
    if values.min() >= 0 and values.max() <= 1:
        low, high = max(0.0, low), min(1.0, high)
    return [low, high]


def scenes(
    policy: PolicyMaker,
    world: WorldConfig,
    steps: int | None = None,
    seed: int = 0,
    hands: dict[str, Keyboard] | None = None,
    max_steps: int = MAX_STEPS,
) -> Iterator[Scene]:
    """A scene of one world after each step, with the first metric in the caption: `steps` of them,
    or one episode of at most `max_steps`. `hands`: keyboards that play the agents of these names.
    Raises UserError at once if these agents cannot be played."""
    played = world.make_world(1, seed)
    acting = policy(played, seed)
    for agent, keys in (hands or {}).items():
        reach = world.reaches.get(agent, (1.0, 1.0))
        acting = HumanPolicy(acting, played.groups, agent, keys, reach)
    return _scenes(played, acting, steps, max_steps)


def _scenes(world: World, policy: Policy, steps: int | None, max_steps: int) -> Iterator[Scene]:
    with closing(world):
        for turn in islice(collect(world, policy), steps or max_steps):
            scene = world.scene()
            caption = scene.caption
            for name, value in islice(turn.step.metrics.items(), 1):
                caption += f"   {name} {value[0]:.2f}"
            yield replace(scene, caption=caption)
            if steps is None and turn.step.done[0]:
                break


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums are always added in one order. Restores the old number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
