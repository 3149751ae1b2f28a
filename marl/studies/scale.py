"""The scale study: policies in worlds of more and more agents.

Every policy, with all its seeds, and the built-in policies as yardsticks play greedy episodes on
the same starts. The built-in ones play in the world of the first trained policy: with its order of
integration and its view widths. Each (policy, seed, N) is measured in a process of its own, so that
its memory can be told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from marl import evaluation
from marl.errors import UserError
from marl.policies.builtin import BUILTIN, HOMES
from marl.runs.loading import FoundPolicy, find_policy
from marl.studies.entries import Entry, gather
from marl.studies.measurements import Row, measure_entries, plan
from marl.studies.statistics import interval
from marl.worlds.base import WorldConfig
from marl.worlds.particles.scenario import Scenario
from marl.worlds.registry import find_scenario

AGENTS = (4, 8, 12, 20, 40, 80, 200, 1000, 10_000)  # in particle worlds
TIMES, SLOW_TIMES = (1, 2, 4, 8), (1, 2, 4)  # as many as in training, in other and in slow worlds
REFERENCES = ("random", "greedy", "local-assignment", "assignment")  # in particle worlds
OTHER_REFERENCES = ("random", "still")  # in other worlds, beside those at home there
ORACLE = "assignment"
ORACLE_UP_TO = 10_000  # agents: half a CPU minute and 0.8 GB an episode, and it is cubic
SLOW_EPISODES = 20


# --------------------------------------------------------------------------------------- gathering


def with_yardsticks(
    names: Sequence[str], settings: Sequence[str] = ()
) -> tuple[list[Entry], list[str]]:
    """The policies with these names, as `gather` has them apart, built-in ones too, then the
    yardsticks that are not among them; and the sentences of `gather`. Raises UserError where
    policies play different scenarios, too."""
    others = [name for name in names if name not in BUILTIN]
    entries, left_out = gather(others, settings=settings, apart=True)
    played = {run: x.scenario for entry in entries for run, x in entry.policies.items()}
    if len({*played.values()}) > 1:
        (a, one), *more = played.items()
        b, other = next(pair for pair in more if pair[1] != one)
        raise UserError(f"{a} plays {one!r} and {b} plays {other!r}: a study has one scenario")
    first = _world_of(names, entries, settings)
    _check_scales(first)
    order = list(dict.fromkeys([*names, *_references(first.world)]))
    for name in order:
        if name in BUILTIN:
            found = replace(find_policy(name), scenario=first.scenario, world=first.world)
            entries.append(Entry(name, {name: found}, {name: name}, name not in names))
    entries.sort(key=lambda entry: order.index(next(iter(entry.asked.values()))))
    return entries, left_out


def _world_of(
    names: Sequence[str], entries: Sequence[Entry], settings: Sequence[str]
) -> FoundPolicy:
    """The policy in whose world the built-in ones play: the first trained one, or the first that is
    at home in a world, or the first."""
    if entries:
        return next(iter(entries[0].policies.values()))
    return find_policy(next((name for name in names if name in HOMES), names[0]), settings)


def _check_scales(found: FoundPolicy) -> None:
    """Raise UserError if its world has one number of agents only."""
    try:
        found.world.with_agents(2 * found.world.agent_count)
    except ValidationError:
        return  # some numbers are not allowed
    except ValueError as error:
        raise UserError(
            f"{found.name} plays {found.scenario!r}, where there is nothing to scale: it {error}"
        ) from error


def _references(world: WorldConfig) -> tuple[str, ...]:
    """The yardsticks of a world."""
    if isinstance(world, Scenario):
        return REFERENCES
    at_home = [name for name, home in HOMES.items() if isinstance(world, find_scenario(home))]
    return (*OTHER_REFERENCES, *at_home)


def numbers(entries: Sequence[Entry]) -> list[int]:
    """With how many agents to measure unless told otherwise: AGENTS, and as trained; in other
    worlds than those of particles multiples of the smallest number in training, or of the world's
    own."""
    trained = {n for entry in entries if (n := entry.trained_with)}
    world = _first(entries).world
    if isinstance(world, Scenario):
        return sorted({*AGENTS, *trained})
    least = min(trained, default=world.agent_count)
    return sorted({least * k for k in (SLOW_TIMES if world.slow else TIMES)} | trained)


def _first(entries: Sequence[Entry]) -> FoundPolicy:
    return next(iter(entries[0].policies.values()))


def default_seed(entries: Sequence[Entry]) -> int:
    """Of the episodes: that of the first trained policy's evaluations."""
    return min(entries, key=lambda entry: entry.builtin).config.evaluation.seed


# --------------------------------------------------------------------------------------- measuring


def default_episodes(agents: int, slow: bool = False) -> int:
    """About 20 000 agents' worth, at most 2000: 20 for 1000 agents, 2 for 10 000, 1 beyond. In slow
    worlds 20."""
    return SLOW_EPISODES if slow else min(-(-20_000 // agents), 2000)


def measure(
    entries: Sequence[Entry],
    agents: Sequence[int],
    episodes: int | None,
    seed: int,
    workers: int,
    settings: Sequence[str] = (),
    alone: bool = True,
) -> Iterator[str]:
    """Measure every seed of every policy with each number of agents, so many `workers` (processes)
    at a time; each measurement `alone` in a process, or, which saves the seconds in which that
    starts, without telling how much memory it took. Yields what was done."""
    slow = _first(entries).world.slow
    for entry in entries:
        if entry.label == ORACLE:
            why = f"it is measured up to {ORACLE_UP_TO} agents only"
            entry.refused |= {n: why for n in agents if n > ORACLE_UP_TO}
    wanted = [
        (entry, task)
        for n in agents
        for entry in entries
        if n not in entry.refused
        for task in plan(entry, n, episodes or default_episodes(n, slow), seed, settings)
    ]
    yield from measure_entries(wanted, workers, alone)


# ----------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Summary:
    """Of the seeds of a policy, with one number of agents."""

    seeds: int
    episodes: int  # of each
    median: dict[str, float]  # of each metric, and of the first one at the quarters ("NAME@STEP")
    intervals: dict[str, tuple[float, float]]  # likewise; empty for one episode of one seed
    worst: float  # seed, by the first metric
    by_step: np.ndarray  # the first metric after each step [T]: median of the seeds
    lowest_by_step: np.ndarray  # the lowest of the seeds, [T]
    cost: dict[str, float]  # of the seeds: median CPU seconds, highest peak_mb


def summarise(rows: Sequence[Row], metric: str) -> Summary:
    """What the seeds of a policy reach with one number of agents."""
    results = [row["result"] for row in rows]
    names = list(rows[0]["values"])
    values = np.array([[row["values"][name] for name in names] for row in rows])  # [R, M, E]
    values = values.transpose(0, 2, 1)
    intervals = {}
    if len(rows) * values.shape[1] > 1:
        low, high = interval(_medians, values, crossed=2)
        intervals = {name: (low[m], high[m]) for m, name in enumerate(names)}
    by_step = [np.array([result.get(f"{metric}_by_step", [])]) for result in results]
    curves = evaluation.joined(by_step)
    known = [x for x in rows[0]["cost"] if all(x in row["cost"] for row in rows)]
    cost = {name: [row["cost"][name] for row in rows] for name in known}
    return Summary(
        len(rows), results[0]["episodes"],
        dict(zip(names, _medians(values).tolist(), strict=True)),
        intervals,
        min(result[metric] for result in results),
        np.median(curves, axis=0), curves.min(axis=0),
        {name: float(max(x) if name == "peak_mb" else np.median(x)) for name, x in cost.items()},
    )  # fmt: skip


def _medians(values: np.ndarray) -> np.ndarray:
    """Over seeds of means over episodes, of f64[R, E, M]: [M]."""
    return np.median(values.mean(1), axis=0)


def objects(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every measurement as `evaluate` gives it, with the name of the policy as it was asked for,
    the run, and what it cost."""
    return [
        {"policy": given, "run": run, **row["result"], **row["cost"]}
        for entry in entries
        for rows in entry.rows.values()
        for (run, given), row in zip(entry.asked.items(), rows, strict=True)
    ]
