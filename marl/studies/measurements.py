"""One measurement: greedy episodes of one policy with one number of agents, and what they cost."""

import hashlib
import json
import re
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from marl import evaluation
from marl.agents.core.base import Policy, PolicyMaker, WrappedPolicy
from marl.config.parsing import parse_world
from marl.errors import UserError
from marl.evaluation import AGENTS_AT_ONCE
from marl.policies.builtin import BUILTIN
from marl.runs.loading import find_policy
from marl.runs.paths import find_weights
from marl.version import VERSION
from marl.worlds.base import Arrays, World
from marl.worlds.particles.scenario import Scenario

QUARTERS = (0.25, 0.5, 0.75)  # of an episode, when intervals are given besides at its end


def default_episodes(agents: int) -> int:
    """About 20 000 agents' worth, at most 2000: 20 for 1000 agents, 2 for 10 000, 1 beyond."""
    return min(-(-20_000 // agents), 2000)


@dataclass(frozen=True)
class Task:
    """One measurement."""

    run: str  # a run, a file or a built-in policy
    settings: tuple[str, ...]
    world: dict[str, Any]  # the section of a config
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
        return {**asdict(self), "run": policy, "settings": agent, "version": VERSION}

    @property
    def file(self) -> str:
        """The name of the file in which the measurement is kept."""
        content = json.dumps(self.depends_on, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()[:16]
        return f"{as_file_name(self.run)}-{self.agents}-{digest}.json"


def as_file_name(text: str) -> str:
    """Without what a file's name should not hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def read_row(file: Path) -> dict[str, Any] | None:
    """A measurement that was made before, unless its file is damaged."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def measure_task(task: Task) -> dict[str, Any] | str:
    """What is kept of one measurement, made in this process; or why there is none."""
    refusals = ValueError if task.run in BUILTIN else UserError
    try:
        make = BUILTIN.get(task.run) or find_policy(task.run, task.settings).policy
        return _played(make, task)
    except refusals as error:
        return getattr(error, "reason", str(error))


def _played(make: PolicyMaker, task: Task) -> dict[str, Any]:
    world = cast(Scenario, parse_world(task.world, "world").world)
    chunk = min(task.episodes, max(1, AGENTS_AT_ONCE // task.agents))
    for episodes in {chunk, task.episodes % chunk} - {0}:  # compiles, which shall not count
        short = world.model_copy(update={"episode_length": 1})
        evaluation.measure(make, short, task.agents, episodes, task.seed)
    policies: list[Timed] = []

    def timed(world: World, seed: int) -> Policy:
        policies.append(Timed(make(world, seed)))
        return policies[-1]

    begun = time.process_time()
    values = evaluation.measure(timed, world, task.agents, task.episodes, task.seed)
    seconds = time.process_time() - begun
    acting = sum(policy.seconds for policy in policies)
    microseconds = 1e6 / (task.agents * task.episodes * world.episode_length)
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
