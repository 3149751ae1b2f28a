"""The store of measurements: greedy episodes, what they came to and what they cost.

A measurement is kept in data/measurements as soon as it is made, whole or not at all, under a
digest of everything on which it depends: weights, world, number of agents, episodes and seed,
version, and the code of scenarios and agents of your own. What is there is not measured again,
whichever study or run it was made for.
"""

import hashlib
import json
import re
import resource
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from marl import evaluation
from marl.agents import find_agent
from marl.agents.core.base import Policy, PolicyMaker, WrappedPolicy
from marl.config.model import world_to_json
from marl.config.parsing import parse_world
from marl.errors import UserError
from marl.evaluation import AGENTS_AT_ONCE, cut_off, primary_metric
from marl.fingerprint import fingerprint
from marl.folders import data_root
from marl.policies.builtin import BUILTIN
from marl.policies.mixed import Mixed
from marl.runs.checkpoint import read_header
from marl.runs.files import write_json
from marl.runs.loading import find_policy
from marl.runs.paths import find_weights
from marl.studies.entries import Entry
from marl.studies.processes import in_processes
from marl.version import VERSION
from marl.worlds.base import Arrays, World
from marl.worlds.particles.scenario import Scenario

KEPT = ("scales/*/rows/*.json", "measurements/*.json")  # the former by scale studies of old
QUARTERS = (0.25, 0.5, 0.75)  # of an episode, when values are kept besides at its end

Row = dict[str, Any]
"""A measurement: what it `depends_on`, the `result` as `evaluate` gives it, its `cost`, and the
`values` of every episode."""


@dataclass(frozen=True)
class Task:
    """Episodes to be played and measured."""

    runs: tuple[str, ...]  # runs, files or built-in policies: one, or one for each of the `sides`
    world: dict[str, Any]  # the section of a config
    agents: int
    episodes: int
    seed: int
    settings: tuple[str, ...] = ()  # those of `find_policy`
    max_steps: int = evaluation.MAX_STEPS  # of an episode
    sides: tuple[tuple[str, ...], ...] = ()  # groups of the world; none: one policy plays them all

    @property
    def title(self) -> str:
        """Who plays."""
        return " against ".join(self.runs)

    @cached_property
    def depends_on(self) -> dict[str, Any]:
        """Everything that may change the numbers."""
        policies = [_identity(run) for run in self.runs]
        pairs = zip(self.sides, policies, strict=False)
        mixed = {g: policy for side, policy in pairs for g in side}
        return {
            "run": mixed if len({*policies}) > 1 else policies[0],
            "settings": [x for x in self.settings if x.strip().startswith("agent.")],
            "world": self.world,
            "agents": self.agents,
            "episodes": self.episodes,
            "seed": self.seed,
            "max_steps": self.max_steps,
            "version": VERSION,
            **self._own_code(),
        }

    def _own_code(self) -> dict[str, str]:
        """The digest of scenarios and agents that are not marl's, if there are any."""
        kinds: set[type] = {type(parse_world(self.world, "world").world)}
        for run in {*self.runs} - {*BUILTIN}:
            names = read_header(find_weights(run))[0].agent_names
            kinds |= {part for name in names for part in find_agent(name)[:2]}
        own = [kind for kind in kinds if not kind.__module__.startswith("marl.")]
        own.sort(key=lambda kind: (kind.__module__, kind.__qualname__))
        return {"code": fingerprint(*own)} if own else {}

    @cached_property
    def digest(self) -> str:
        """By which the measurement is found."""
        content = json.dumps(self.depends_on, sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:16]


def _identity(run: str) -> str:
    """A built-in policy's name, or the digest of weights."""
    return run if run in BUILTIN else hashlib.sha256(find_weights(run).read_bytes()).hexdigest()


def as_file_name(text: str) -> str:
    """Without what a file's name should not hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


# --------------------------------------------------------------------------------------- the store


def measure(
    tasks: Sequence[Task], workers: int, alone: bool = False, strict: bool = False
) -> Generator[str, None, list[Row | UserError]]:
    """Make every measurement that is not kept, so many `workers` (processes) at a time; each
    `alone` in a process, which tells how much memory it took but has to start. Yields what was
    done; returns, for each task, the measurement or why there is none, which is raised if
    `strict`."""
    wanted = {task.digest: task for task in tasks}
    kept_files = (file for pattern in KEPT for file in data_root().glob(pattern))
    files = {file.stem.rpartition("-")[2]: file for file in kept_files}
    rows: dict[str, Row | UserError] = {}
    for digest in wanted:
        kept = _read(files[digest], wanted[digest]) if digest in files else None
        if digest in files and kept is None:
            yield f"{files[digest]} is damaged, and measured anew"
        if kept and (not alone or "peak_mb" in kept["cost"]):
            rows[digest] = kept
    todo = [task for digest, task in wanted.items() if digest not in rows]
    if rows:
        yield f"{len(rows)} of {len(wanted)} measurements were made before"
    done = in_processes(_measured, todo, max(1, min(workers, len(todo))), fresh=alone)
    for count, (task, row) in enumerate(done, 1):
        what = f"{count} of {len(todo)}: {task.title}, N={task.agents}"
        rows[task.digest] = row
        if isinstance(row, UserError):
            if strict:
                raise row
            yield f"{what}: {row.reason}"
            continue
        if not alone:
            del row["cost"]["peak_mb"]  # of everything that the process did
        name = f"{as_file_name(task.title)[:100]}-{task.agents}-{task.digest}.json"
        write_json(data_root() / "measurements" / name, row)
        first = primary_metric(row["result"]) or "reward"
        yield " ".join([f"{what}: {first} {row['result'][first]:.3f}", *cut_off([row["result"]])])
    return [rows[task.digest] for task in tasks]


class _Kept(BaseModel):
    """The form of a measurement in a file."""

    result: dict[str, float | list[float] | None]
    cost: dict[str, float]
    values: dict[str, list[float]]


def _read(file: Path, task: Task) -> Row | None:
    """A measurement that was made before, unless its file is damaged."""
    try:
        row = json.loads(file.read_text("utf-8"))
        kept = _Kept.model_validate(row)
    except (OSError, ValueError, RecursionError):
        return None
    needed = {"reward", *(name for name in kept.values if "@" not in name)}
    whole = all(len(column) == task.episodes for column in kept.values.values())
    return row if whole and needed <= kept.result.keys() else None


def plan(
    entry: Entry,
    agents: int,
    episodes: int | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
) -> list[Task]:
    """The measurements of all seeds of an entry with so many agents, with the episodes of each
    one's own evaluations unless told otherwise. An entry that cannot play with so many is told why,
    and there are none."""
    tasks = []
    try:
        for run, found in entry.policies.items():
            world, own = found.world_for(agents), found.config.evaluation
            count = episodes or own.episodes or evaluation.default_episodes(world, agents)
            starts = own.seed if seed is None else seed
            section = world_to_json(found.scenario, world)
            given = tuple(settings)
            tasks.append(Task((run,), section, agents, count, starts, given, own.max_steps))
    except UserError as error:
        entry.refused[agents] = error.reason
        return []
    return tasks


def measure_entries(
    wanted: Sequence[tuple[Entry, Task]], workers: int, alone: bool = False
) -> Generator[str, None, None]:
    """`measure`, and give every entry its measurements with each number of agents, `rows[N]`, or in
    `refused[N]` the reason why there are none."""
    rows = yield from measure([task for _, task in wanted], workers, alone)
    for (entry, task), row in zip(wanted, rows, strict=True):
        if isinstance(row, UserError):
            entry.refused[task.agents] = row.reason
    for (entry, task), row in zip(wanted, rows, strict=True):
        if task.agents not in entry.refused and not isinstance(row, UserError):
            entry.rows.setdefault(task.agents, []).append(row)


# ----------------------------------------------------------------------------------- a measurement


def _measured(task: Task) -> Row | UserError:
    """A measurement, made in this process; or why there is none."""
    try:
        return _played(_maker(task), task)
    except UserError as error:
        return error


def _maker(task: Task) -> PolicyMaker:
    """Makes what plays: one policy, or one for each side."""
    found = {run: find_policy(run, () if run in BUILTIN else task.settings) for run in task.runs}
    if len(found) == 1:
        return found[task.runs[0]].policy

    def mixed(world: World, seed: int) -> Policy:
        made = {run: x.policy(world, seed) for run, x in found.items()}
        pairs = zip(task.sides, task.runs, strict=True)
        return Mixed({g: made[run] for side, run in pairs for g in side})

    return mixed


def _played(make: PolicyMaker, task: Task) -> Row:
    world = parse_world(task.world, "world").world
    if isinstance(world, Scenario):  # compiles, which shall not count
        chunk = min(task.episodes, max(1, AGENTS_AT_ONCE // task.agents))
        for episodes in {chunk, task.episodes % chunk} - {0}:
            short = world.model_copy(update={"episode_length": 1})
            evaluation.measure(make, short, task.agents, episodes, task.seed)
    policies: list[Timed] = []

    def timed(world: World, seed: int) -> Policy:
        policies.append(Timed(make(world, seed)))
        return policies[-1]

    begun = time.process_time()
    values = evaluation.measure(
        timed, world, task.agents, task.episodes, task.seed, max_steps=task.max_steps
    )
    seconds = time.process_time() - begun
    cost = {"cpu_seconds": seconds}
    if isinstance(world, Scenario):
        acting = sum(policy.seconds for policy in policies)
        microseconds = 1e6 / (task.agents * task.episodes * world.episode_length)
        cost["policy_cpu_us"] = acting * microseconds
        cost["world_cpu_us"] = (seconds - acting) * microseconds
    cost["peak_mb"] = _peak_memory() / 1e6
    result = evaluation.averaged(values, task.agents, task.seed)
    evaluation.check_finite(task.title, result)
    return {
        "depends_on": task.depends_on,
        "result": result,
        "cost": cost,
        "values": {name: column.tolist() for name, column in _columns(values).items()},
    }


class Timed(WrappedPolicy):
    """A policy that knows how many CPU seconds it has taken. (Finding its neighbours counts to the
    world.)"""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
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
        if name == evaluation.UNFINISHED:  # of some studies' rows only
            continue
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
