"""The scale study: policies in worlds of more and more agents at constant density.

Every policy, with all its seeds, and the built-in policies as yardsticks play greedy episodes on
the same starts. The built-in ones play in the world of the first trained policy: with its order of
integration and its view widths. Each (policy, seed, N) is measured in a process of its own, so that
its memory can be told, and kept in FOLDER/rows, under a name that says on what the numbers depend:
weights, world, episodes and seed, version. What is there is not measured again.
"""

import hashlib
import json
import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

import marl
from marl import comparison, evaluation
from marl.agents.base import Policy
from marl.config import parse_scenario
from marl.errors import UserError
from marl.evaluation import AGENTS_AT_ONCE, PolicyMaker, Subject, headline
from marl.policies import BUILTIN, HOMES
from marl.processes import in_processes
from marl.runs import find_weights, run_state, write_json
from marl.statistics import median_interval
from marl.sweeps import sweep_names
from marl.worlds.base import Arrays, World
from marl.worlds.particles.scenario import Scenario
from marl.worlds.registry import find_scenario

AGENTS = (4, 8, 12, 20, 40, 80, 200, 1000, 10_000)
REFERENCES = ("random", "greedy", "local-assignment", "assignment")
ORACLE = "assignment"
ORACLE_UP_TO = 10_000  # agents: half a CPU minute and 0.8 GB an episode, and it is cubic
QUARTERS = (0.25, 0.5, 0.75)  # of an episode, when intervals are given besides at its end


@dataclass
class Entry:
    """A policy with its seeds. `rows[N]` holds a measurement for each of them, or `refused[N]` the
    sentence why there is none."""

    label: str
    subjects: dict[str, Subject]  # of each seed, by run, file or built-in policy
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
        return None if self.builtin else parse_scenario(config.world, "world").agent_count


# --------------------------------------------------------------------------------------- gathering


def gather(names: Sequence[str], settings: Sequence[str] = ()) -> tuple[list[Entry], list[str]]:
    """The policies with these names, then the yardsticks that are not among them; and a sentence on
    each run of a sweep that is left out, as it is not finished. Names are runs (those that differ
    in their seed only are one policy), sweeps (a policy for each point of the grid), files or
    built-in policies; `settings` are those of `evaluation.subject`.

    Raises UserError where a name is unknown, a run is not finished or policies play different
    scenarios.
    """
    names = list(dict.fromkeys(names))
    runs = [name for name in names if _is_run(name)]
    groups = comparison.gather(runs)[0] if runs else []
    found: list[tuple[str, dict[str, str]]] = []  # label, {run: the name it was asked for by}
    left_out = []
    for name in names:
        if name in sweep_names():
            points, problems = comparison.gather([name])
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
        run: evaluation.subject(run, settings)
        for _, given in found
        for run in given
        if run not in BUILTIN
    }
    scenarios = {x.world["scenario"]: run for run, x in trained.items()}
    if len(scenarios) > 1:
        (one, a), (other, b) = list(scenarios.items())[:2]
        raise UserError(f"{a} plays {one!r} and {b} plays {other!r}: a study has one scenario")

    def subject(run: str) -> Subject:
        if run in trained:
            return trained[run]
        for first in trained.values():
            return replace(evaluation.subject(run), world=first.world)
        return evaluation.subject(run, settings)

    played = {run: subject(run).world["scenario"] for _, given in found for run in given}
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


def default_episodes(agents: int) -> int:
    """About 20 000 agents' worth, at most 2000: 20 for 1000 agents, 2 for 10 000, 1 beyond."""
    return min(-(-20_000 // agents), 2000)


# --------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Task:
    """One measurement."""

    run: str  # a run, a file or a built-in policy
    settings: tuple[str, ...]
    world: dict[str, Any]
    agents: int
    episodes: int
    seed: int

    @property
    def depends_on(self) -> dict[str, Any]:
        """Everything that may change the numbers."""
        policy = self.run
        if policy not in BUILTIN:
            policy = hashlib.sha256(find_weights(self.run).read_bytes()).hexdigest()
        agent = [setting for setting in self.settings if setting.strip().startswith("agent.")]
        return {**asdict(self), "run": policy, "settings": agent, "version": marl.__version__}

    @property
    def file(self) -> str:
        """The name of the file in which the measurement is kept."""
        content = json.dumps(self.depends_on, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()[:16]
        return f"{as_file_name(self.run)}-{self.agents}-{digest}.json"


def as_file_name(text: str) -> str:
    """Without what a file's name should not hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


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
    wanted: list[tuple[Entry, int, Path]] = []
    tasks: dict[Path, Task] = {}
    for n in agents:
        for entry in entries:
            try:
                if entry.label == ORACLE and n > ORACLE_UP_TO:
                    raise UserError(f"it is measured up to {ORACLE_UP_TO} agents only")
                for run, subject in entry.subjects.items():
                    count = episodes or default_episodes(n)
                    task = Task(run, tuple(settings), subject.world_for(n), n, count, seed)
                    file = folder / "rows" / task.file
                    tasks[file] = task
                    wanted.append((entry, n, file))
            except UserError as error:
                entry.refused[n] = str(error).rpartition("does not fit: ")[2]
    rows = {file: kept for file in tasks if (kept := _kept(file))}
    todo = [task for file, task in tasks.items() if file not in rows]
    if rows:
        yield f"{len(rows)} of {len(tasks)} measurements were made before"
    refused: dict[Path, str] = {}
    done = in_processes(_measured, todo, max(1, min(workers, len(todo))), fresh=alone)
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
            first = headline(row["result"]) or "reward"
            yield f"{what}: {first} {row['result'][first]:.3f}"
    for entry, n, file in wanted:
        if file in refused:
            entry.refused[n] = refused[file]
    for entry, n, file in wanted:
        if n not in entry.refused:
            entry.rows.setdefault(n, []).append(rows[file])


def _kept(file: Path) -> dict[str, Any] | None:
    """A measurement that was made before, unless its file is damaged."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _measured(task: Task) -> dict[str, Any] | str:
    """What is kept of one measurement, made in this process; or why there is none."""
    refusals = ValueError if task.run in BUILTIN else UserError
    try:
        make = BUILTIN.get(task.run) or evaluation.subject(task.run, task.settings).policy
        return _played(make, task)
    except refusals as error:
        return str(error).rpartition("does not fit: ")[2]


def _played(make: PolicyMaker, task: Task) -> dict[str, Any]:
    chunk = min(task.episodes, max(1, AGENTS_AT_ONCE // task.agents))
    for episodes in {chunk, task.episodes % chunk} - {0}:  # compiles, which shall not count
        short = {**task.world, "episode_length": 1}
        evaluation.measure(make, short, task.agents, episodes, task.seed)
    policies: list[Timed] = []

    def timed(world: World, seed: int) -> Policy:
        policies.append(Timed(make(world, seed)))
        return policies[-1]

    begun = time.process_time()
    values = evaluation.measure(timed, task.world, task.agents, task.episodes, task.seed)
    seconds = time.process_time() - begun
    acting = sum(policy.seconds for policy in policies)
    steps = cast(Scenario, parse_scenario(task.world, "world")).episode_length
    microseconds = 1e6 / (task.agents * task.episodes * steps)
    return {
        "depends_on": task.depends_on,
        "result": evaluation.averaged(values, task.agents, task.seed),
        "cost": {
            "cpu_seconds": seconds,
            "policy_cpu_us": acting * microseconds,
            "world_cpu_us": (seconds - acting) * microseconds,
            "peak_mb": _peak_memory() / 1e6,
        },
        "values": {name: column.tolist() for name, column in _columns(values).items()},
    }


class Timed(Policy):
    """A policy that knows how many CPU seconds it has taken. (Finding its neighbours counts to the
    world.)"""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.knows = policy.knows
        self.kept = policy.kept  # type: ignore[method-assign]
        self.seconds = 0.0

    def perceive(self, *args: Any) -> Arrays:
        return self._timed(self._policy.perceive, *args)

    def act(self, *args: Any) -> Arrays:
        return self._timed(self._policy.act, *args)

    def reset(self, mask: np.ndarray | None = None) -> None:
        self._timed(self._policy.reset, mask)

    def _timed(self, function: Callable[..., Any], *args: Any) -> Any:
        begun = time.process_time()
        result = function(*args)
        self.seconds += time.process_time() - begun
        return result


def _columns(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of each episode, {name: f64[E]}; of what is known at every step those at the
    quarters, as "NAME@STEP"."""
    columns = {}
    for name, column in values.items():
        if column.ndim == 1:
            columns[name] = column
            continue
        for quarter in QUARTERS:
            step = max(1, round(quarter * column.shape[1]))
            columns[f"{name.removesuffix('_by_step')}@{step}"] = column[:, step - 1]
    return columns


def _peak_memory() -> int:
    """Bytes that this process held at most. (What getrusage says begins, on Linux, with those of
    the process that started this one.)"""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
    return next((name for result in results if (name := headline(result))), "reward")


def objects(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every measurement as `evaluate` gives it, with the name of the policy as it was asked for,
    the run, and what it cost."""
    return [
        {"policy": given, "run": run, **row["result"], **row["cost"]}
        for entry in entries
        for rows in entry.rows.values()
        for (run, given), row in zip(entry.given.items(), rows, strict=True)
    ]
