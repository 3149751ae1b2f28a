"""Whom a study is about: policies, each with its seeds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marl.config.model import Config
from marl.errors import UserError
from marl.evaluation import primary_metric
from marl.folders import data_root
from marl.policies.builtin import BUILTIN
from marl.runs.loading import FoundPolicy, find_policy
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.studies.statistics import median
from marl.sweeps.sweep import runs_of, sweep_names

SEED = "training.seed"


@dataclass
class Entry:
    """A policy with its seeds: runs that differ in their seed only, or one file or built-in policy.
    `rows[N]` holds a measurement for each of them, or `refused[N]` the sentence why there is
    none."""

    label: str
    policies: dict[str, FoundPolicy]  # of each seed, by run, file or built-in policy
    asked: dict[str, str]  # likewise: the name by which it was asked for
    yardstick: bool = False  # is there only to compare with
    rows: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def runs(self) -> list[str]:
        """Runs, files or built-in policies, one for each seed."""
        return list(self.policies)

    @property
    def config(self) -> Config:
        """Of the first seed."""
        return next(iter(self.policies.values())).config

    @property
    def seeds(self) -> list[int]:
        """Of the training, of each run."""
        return [found.config.training.seed for found in self.policies.values()]

    @property
    def builtin(self) -> bool:
        """Is it one that needs no training?"""
        return self.label in BUILTIN

    @property
    def trained_with(self) -> int | None:
        """How many agents it was trained with, if it was: those of its evaluations, whose world may
        have another number of them."""
        return None if self.builtin else self.config.evaluation_world.agent_count

    @property
    def cpu(self) -> float:
        """CPU seconds of a run's training, evaluations included: the median."""
        logs = [read_log(Run(name).stats) for name in self.runs]
        known = [[line["cpu_seconds"] for line in log if "cpu_seconds" in line] for log in logs]
        return median(np.array([[seconds[-1]] for seconds in known if seconds]))

    def results(self, agents: int) -> list[dict[str, Any]]:
        """What `evaluate` says of each seed with so many agents."""
        return [row["result"] for row in self.rows[agents]]

    def scores(self, agents: int, metric: str) -> np.ndarray:
        """f64[R, 1]: the metric of each seed. Raises UserError where there is no such metric."""
        results = self.results(agents)
        about = ("agents", "episodes", "seed")
        known = [k for k, x in results[0].items() if isinstance(x, int | float) and k not in about]
        if metric not in known:
            raise UserError(f"--metric is {metric}, but should be {' or '.join(known)}")
        return np.array([[result[metric]] for result in results])

    def middle(self, agents: int, metric: str) -> FoundPolicy:
        """The policy of the median seed, by a metric with so many agents."""
        ranked = sorted(zip(self.scores(agents, metric)[:, 0], self.runs, strict=True))
        return self.policies[ranked[len(ranked) // 2][1]]


# --------------------------------------------------------------------------------------- gathering


def gather(
    names: Sequence[str], by: Sequence[str] = (), settings: Sequence[str] = (), apart: bool = False
) -> tuple[list[Entry], list[str]]:
    """The policies with these names, and a sentence on each run of a sweep that is left out, as it
    is not finished.

    Names are runs and sweeps. All of their runs are grouped together: those that agree in the
    dotted keys of `by` ("base": by what name the sweep calls a config); without, those of one point
    of a sweep's grid; where there is a run that is named by itself, those whose configs agree in
    all but the seed. They are called by what tells them apart.

    With `apart` every name stands for itself, and may be that of a file or a built-in policy, too:
    a sweep is a policy for each point of its grid, and only the runs among the names are grouped.
    They are called by these names.

    `settings` are those of `find_policy`. Raises UserError where a name is unknown, a run given by
    its own name is not finished, or nothing is left.
    """
    names = list(dict.fromkeys(names))
    if not apart:
        return _grouped(names, by, settings)
    runs = [name for name in names if _is_run(name)]
    groups = {group.runs[0]: group for group in _grouped(runs, (), settings)[0]} if runs else {}
    entries, left_out = [], []
    for name in names:
        if name in sweep_names():
            points, problems = _grouped([name], (), settings)
            left_out += problems
            for point in points:
                point.label = f"{name}: {point.label}" if len(points) > 1 else name
            entries += points
        elif group := groups.get(name):
            group.label = name + f" and {len(group.runs) - 1} more" * (len(group.runs) > 1)
            entries.append(group)
        elif name not in runs:
            entries.append(Entry(name, {name: find_policy(name, settings)}, {name: name}))
    return entries, left_out


def _is_run(name: str) -> bool:
    path = Path(name)
    if name in BUILTIN or name in sweep_names() or len(path.parts) > 1:
        return False
    return path.suffix != ".safetensors" and run_state(name).state != "new"


def _grouped(
    names: Sequence[str], by: Sequence[str], settings: Sequence[str]
) -> tuple[list[Entry], list[str]]:
    """The finished ones of these runs and of those of these sweeps, in groups."""
    configs: dict[str, Config] = {}
    asked: dict[str, str] = {}
    points: dict[str, dict[str, Any]] = {}  # of the runs of sweeps
    left_out = []
    for name in names:
        sweep = name in sweep_names()
        members = {run["name"]: run["point"] for run in runs_of(name)} if sweep else {name: {}}
        for run, point in members.items():
            problem, config = _unfinished(run)
            if config is not None:
                left_out += [f"Left out: {problem}."] if problem else []
                configs[run] = config
                asked.setdefault(run, name)
                if sweep:
                    points[run] = {"sweep": name, **point} if len(names) > 1 else point
            elif sweep:
                left_out.append(f"Left out: {problem}.")
            else:
                raise UserError(problem)
    if not configs:
        raise UserError(f"no run of {', '.join(names)} is finished; first {left_out[0][10:-1]}")
    places = _places(configs, points, by)
    groups: dict[str, Entry] = {}
    for run in configs:
        label = _label(places[run]) or " and ".join(names)
        group = groups.setdefault(label, Entry(label, {}, {}))
        group.policies[run] = find_policy(run, settings)
        group.asked[run] = asked[run]
    return list(groups.values()), left_out


def _places(
    configs: dict[str, Config], points: dict[str, dict[str, Any]], by: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What tells each run from those of other groups."""
    if not by and len(points) == len(configs):
        return points
    flat = {run: flat_settings(config) | points.get(run, {}) for run, config in configs.items()}
    for key in by:
        if not any(key in values for values in flat.values()):
            raise UserError(f"--by is {key}, but should be a setting, as agent.network")
    keys = list(by) or differences(list(configs.values()))
    return {run: {key: values.get(key) for key in keys} for run, values in flat.items()}


def _label(values: dict[str, Any]) -> str:
    """Where in a grid, as words; a name says enough without its key."""
    words = [
        str(value) if key in ("sweep", "base") else f"{key.rpartition('.')[2]} {value}"
        for key, value in values.items()
    ]
    return ", ".join(words)


def _unfinished(name: str) -> tuple[str, Config | None]:
    """What keeps a run from being compared, or its config and what of its log is damaged."""
    state = run_state(name)
    if state.state == "finished" and state.config is not None:
        return state.problem, state.config.resolve(trusted=state.config.foreign)
    if state.state == "new":
        return f"there is no run or sweep {name!r} in {data_root()}", None
    if state.config is None:
        return state.problem, None
    steps = f"step {state.step} of {state.config.training.steps}"
    return f"the run {name!r} has not been trained to its end: {steps}", None


# -------------------------------------------------------------------------------- what they are


def flat_settings(config: Config) -> dict[str, Any]:
    """{dotted key: value}, without the seed."""
    return {key: value for key, value in config.flat().items() if key != SEED}


def differences(configs: Sequence[Config]) -> list[str]:
    """The dotted keys in which they differ, apart from the seed."""
    flat = [flat_settings(config) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [k for k in keys if len({json.dumps(values.get(k, "-")) for values in flat}) > 1]


def default_metric(entries: Iterable[Entry]) -> str:
    """The first metric of the worlds that were measured; the reward where there is none."""
    results = [entry.results(n)[0] for entry in entries for n in entry.rows]
    return next((name for result in results if (name := primary_metric(result))), "reward")
