"""The scale study: policies in worlds of more and more agents at constant density.

Every policy, with all its seeds, and the built-in policies as yardsticks play greedy episodes on
the same starts. The built-in ones play in the world of the first trained policy: with its order of
integration and its view widths. Each (policy, seed, N) is measured in a process of its own, so that
its memory can be told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from marl import evaluation
from marl.errors import UserError
from marl.policies.builtin import BUILTIN, HOMES
from marl.runs.loading import find_policy
from marl.studies.entries import Entry, gather
from marl.studies.measurements import Row, measure_entries, plan
from marl.studies.statistics import interval
from marl.worlds.particles.scenario import Scenario
from marl.worlds.registry import find_scenario

AGENTS = (4, 8, 12, 20, 40, 80, 200, 1000, 10_000)
REFERENCES = ("random", "greedy", "local-assignment", "assignment")
ORACLE = "assignment"
ORACLE_UP_TO = 10_000  # agents: half a CPU minute and 0.8 GB an episode, and it is cubic


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
    first = next(iter(entries[0].policies.values())) if entries else None
    order = list(dict.fromkeys([*names, *REFERENCES]))
    for name in order:
        if name in BUILTIN:
            found = find_policy(name, () if first else settings)
            if first:
                found = replace(found, scenario=first.scenario, world=first.world)
            entries.append(Entry(name, {name: found}, {name: name}, name not in names))
            played[name] = HOMES.get(name, found.scenario)
    for name, scenario in played.items():
        if not issubclass(find_scenario(scenario), Scenario):
            raise UserError(f"{name} plays {scenario!r}, where there is nothing to scale")
    entries.sort(key=lambda entry: order.index(next(iter(entry.asked.values()))))
    return entries, left_out


def numbers(entries: Sequence[Entry]) -> list[int]:
    """With how many agents to measure unless told otherwise: AGENTS, and as trained."""
    return sorted({*AGENTS, *(n for entry in entries if (n := entry.trained_with))})


def default_seed(entries: Sequence[Entry]) -> int:
    """Of the episodes: that of the first trained policy's evaluations."""
    return min(entries, key=lambda entry: entry.builtin).config.evaluation.seed


# --------------------------------------------------------------------------------------- measuring


def default_episodes(agents: int) -> int:
    """About 20 000 agents' worth, at most 2000: 20 for 1000 agents, 2 for 10 000, 1 beyond."""
    return min(-(-20_000 // agents), 2000)


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
    for entry in entries:
        if entry.label == ORACLE:
            why = f"it is measured up to {ORACLE_UP_TO} agents only"
            entry.refused |= {n: why for n in agents if n > ORACLE_UP_TO}
    wanted = [
        (entry, task)
        for n in agents
        for entry in entries
        if n not in entry.refused
        for task in plan(entry, n, episodes or default_episodes(n), seed, settings)
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
