"""The scale study: policies in worlds of more and more agents at constant density.

Every policy, with all its seeds, and the built-in policies as yardsticks play greedy episodes on
the same starts. The built-in ones play in the world of the first trained policy: with its order of
integration and its view widths. Each (policy, seed, N) is measured in a process of its own, so that
its memory can be told, and kept in FOLDER/rows, under a name that says on what the numbers depend:
weights, world, episodes and seed, version. What is there is not measured again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from marl import evaluation
from marl.config.model import world_to_json
from marl.errors import UserError
from marl.evaluation import primary_metric
from marl.policies.builtin import BUILTIN, HOMES
from marl.runs.files import write_json
from marl.runs.loading import FoundPolicy, find_policy
from marl.runs.run import run_state
from marl.studies.entries import gather_groups
from marl.studies.measurements import Task, default_episodes, measure_task, read_row
from marl.studies.processes import in_processes
from marl.studies.statistics import median_interval
from marl.sweeps.sweep import sweep_names
from marl.worlds.particles.scenario import Scenario
from marl.worlds.registry import find_scenario

AGENTS = (4, 8, 12, 20, 40, 80, 200, 1000, 10_000)
REFERENCES = ("random", "greedy", "local-assignment", "assignment")
ORACLE = "assignment"
ORACLE_UP_TO = 10_000  # agents: half a CPU minute and 0.8 GB an episode, and it is cubic


@dataclass
class Entry:
    """A policy with its seeds. `rows[N]` holds a measurement for each of them, or `refused[N]` the
    sentence why there is none."""

    label: str
    subjects: dict[str, FoundPolicy]  # of each seed, by run, file or built-in policy
    given: dict[str, str]  # likewise; by which name each was asked for
    yardstick: bool  # is there only to compare with
    rows: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def builtin(self) -> bool:
        """Is it one that needs no training?"""
        return self.label in BUILTIN

    @property
    def trained_with(self) -> int | None:
        """How many agents it was trained with, if it was."""
        config = next(iter(self.subjects.values())).config
        return None if self.builtin else config.world.agent_count


# --------------------------------------------------------------------------------------- gathering


def gather(names: Sequence[str], settings: Sequence[str] = ()) -> tuple[list[Entry], list[str]]:
    """The policies with these names, then the yardsticks that are not among them; and a sentence on
    each run of a sweep that is left out, as it is not finished. Names are runs (those that differ
    in their seed only are one policy), sweeps (a policy for each point of the grid), files or
    built-in policies; `settings` are those of `find_policy`.

    Raises UserError where a name is unknown, a run is not finished or policies play different
    scenarios.
    """
    names = list(dict.fromkeys(names))
    runs = [name for name in names if _is_run(name)]
    groups = gather_groups(runs)[0] if runs else []
    found: list[tuple[str, dict[str, str]]] = []  # label, {run: the name it was asked for by}
    left_out = []
    for name in names:
        if name in sweep_names():
            points, problems = gather_groups([name])
            left_out += problems
            found += [
                (f"{name}: {point.label}" if len(points) > 1 else name,
                 dict.fromkeys(point.runs, name))
                for point in points
            ]  # fmt: skip
        elif name in runs:
            found += [
                (name + f" and {len(group.runs) - 1} more" * (len(group.runs) > 1),
                 {run: run for run in group.runs})
                for group in groups
                if group.runs[0] == name
            ]  # fmt: skip
        else:
            found.append((name, {name: name}))
    found += [(name, {name: name}) for name in REFERENCES if name not in names]
    trained = {
        run: find_policy(run, settings) for _, given in found for run in given if run not in BUILTIN
    }
    scenarios = {x.scenario: run for run, x in trained.items()}
    if len(scenarios) > 1:
        (one, a), (other, b) = list(scenarios.items())[:2]
        raise UserError(f"{a} plays {one!r} and {b} plays {other!r}: a study has one scenario")

    def subject(run: str) -> FoundPolicy:
        if run in trained:
            return trained[run]
        for first in trained.values():
            return replace(find_policy(run), scenario=first.scenario, world=first.world)
        return find_policy(run, settings)

    played = {run: subject(run).scenario for _, given in found for run in given}
    played |= {name: HOMES[name] for name in names if name in HOMES}
    for name, scenario in played.items():
        if not issubclass(find_scenario(scenario), Scenario):
            raise UserError(f"{name} plays {scenario!r}, where there is nothing to scale")
    entries = [
        Entry(label, {run: subject(run) for run in given}, given, not {*given.values()} & {*names})
        for label, given in found
    ]
    return entries, left_out


def _is_run(name: str) -> bool:
    path = Path(name)
    if name in BUILTIN or name in sweep_names() or len(path.parts) > 1:
        return False
    return path.suffix != ".safetensors" and run_state(name).state != "new"


def numbers(entries: Sequence[Entry]) -> list[int]:
    """With how many agents to measure unless told otherwise: AGENTS, and as trained."""
    return sorted({*AGENTS, *(n for entry in entries if (n := entry.trained_with))})


def default_seed(entries: Sequence[Entry]) -> int:
    """Of the episodes: that of the first trained policy's evaluations."""
    ranked = sorted(entries, key=lambda entry: entry.builtin)
    return next(iter(ranked[0].subjects.values())).config.evaluation.seed


# --------------------------------------------------------------------------------------- measuring


def measure(
    entries: Sequence[Entry],
    agents: Sequence[int],
    episodes: int | None,
    seed: int,
    folder: Path,
    workers: int,
    settings: Sequence[str] = (),
    alone: bool = True,
) -> Iterator[str]:
    """Measure every seed of every policy with each number of agents, unless that is done and kept
    in `folder`, so many `workers` (processes) at a time; each measurement `alone` in a process, or,
    which saves the seconds in which that starts, without telling how much memory it took. Yields
    what has been measured."""
    wanted = list(_wanted(entries, agents, episodes, seed, settings))
    tasks = {folder / "rows" / task.file: task for _, _, task in wanted}
    rows = {file: kept for file in tasks if (kept := read_row(file))}
    todo = [task for file, task in tasks.items() if file not in rows]
    if rows:
        yield f"{len(rows)} of {len(tasks)} measurements were made before"
    done = in_processes(measure_task, todo, max(1, min(workers, len(todo))), fresh=alone)
    refused: dict[Path, str] = {}
    for count, (task, row) in enumerate(done, 1):
        file = folder / "rows" / task.file
        what = f"{count} of {len(todo)}: {task.run}, N={task.agents}"
        if isinstance(row, str):
            refused[file] = row
            yield f"{what}: {row}"
        else:
            if not alone:
                del row["cost"]["peak_mb"]
            rows[file] = row
            write_json(file, row)
            first = primary_metric(row["result"]) or "reward"
            yield f"{what}: {first} {row['result'][first]:.3f}"
    _hand_out(wanted, folder, rows, refused)


Wanted = tuple[Entry, int, Task]  # whose measurement it is, and with how many agents


def _wanted(
    entries: Sequence[Entry],
    agents: Sequence[int],
    episodes: int | None,
    seed: int,
    settings: Sequence[str],
) -> Iterator[Wanted]:
    """Every measurement; an entry that cannot play with so many agents is told why."""
    for n in agents:
        for entry in entries:
            try:
                if entry.label == ORACLE and n > ORACLE_UP_TO:
                    raise UserError(f"it is measured up to {ORACLE_UP_TO} agents only")
                for run, subject in entry.subjects.items():
                    world = world_to_json(subject.scenario, subject.world_for(n))
                    count = episodes or default_episodes(n)
                    yield entry, n, Task(run, tuple(settings), world, n, count, seed)
            except UserError as error:
                entry.refused[n] = error.reason


def _hand_out(
    wanted: Sequence[Wanted],
    folder: Path,
    rows: dict[Path, dict[str, Any]],
    refused: dict[Path, str],
) -> None:
    """Give every entry its measurements with each number of agents, or the reason why there are
    none."""
    files = [(entry, n, folder / "rows" / task.file) for entry, n, task in wanted]
    for entry, n, file in files:
        if file in refused:
            entry.refused[n] = refused[file]
    for entry, n, file in files:
        if n not in entry.refused:
            entry.rows.setdefault(n, []).append(rows[file])


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


def summarise(rows: Sequence[dict[str, Any]], metric: str) -> Summary:
    """What the seeds of a policy reach with one number of agents."""
    results = [row["result"] for row in rows]
    names = list(rows[0]["values"])
    values = np.array([[row["values"][name] for name in names] for row in rows])  # [R, M, E]
    values = values.transpose(0, 2, 1)
    medians = np.median(values.mean(1), axis=0)
    ends = median_interval(values)
    intervals = {}
    if ends is not None:
        intervals = dict(zip(names, zip(*(x.tolist() for x in ends), strict=True), strict=True))
    by_step = [np.array([result.get(f"{metric}_by_step", [])]) for result in results]
    curves = evaluation.joined(by_step)
    cost = {name: [row["cost"][name] for row in rows] for name in rows[0]["cost"]}
    return Summary(
        len(rows), results[0]["episodes"],
        dict(zip(names, medians.tolist(), strict=True)),
        intervals,
        min(result[metric] for result in results),
        np.median(curves, axis=0), curves.min(axis=0),
        {name: float(max(x) if name == "peak_mb" else np.median(x)) for name, x in cost.items()},
    )  # fmt: skip


def default_metric(entries: Sequence[Entry]) -> str:
    """The first metric of the worlds; the reward where there is none."""
    results = [rows[0]["result"] for entry in entries for rows in entry.rows.values()]
    return next((name for result in results if (name := primary_metric(result))), "reward")


def objects(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every measurement as `evaluate` gives it, with the name of the policy as it was asked for,
    the run, and what it cost."""
    return [
        {"policy": given, "run": run, **row["result"], **row["cost"]}
        for entry in entries
        for rows in entry.rows.values()
        for (run, given), row in zip(entry.given.items(), rows, strict=True)
    ]
