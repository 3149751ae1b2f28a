"""Runs that belong together: groups of runs that differ in their seed only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from marl.config.model import Config
from marl.errors import UserError
from marl.folders import data_root
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.studies.statistics import median
from marl.sweeps.sweep import runs_of, sweep_names

SEED = "training.seed"


@dataclass
class Group:
    """Runs that differ in their seed only. `results[N]` holds an evaluation for each of them, or
    `refused[N]` the sentence why there is none."""

    label: str
    runs: list[str]
    seeds: list[int]
    config: Config
    results: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """CPU seconds of a run's training, evaluations included: the median."""
        logs = [read_log(Run(name).stats) for name in self.runs]
        return median(np.array([[log[-1]["cpu_seconds"]] for log in logs if log]))

    def scores(self, agents: int, metric: str) -> np.ndarray:
        """f64[R, 1]: the metric of each run. Raises UserError where there is no such metric."""
        results = self.results[agents]
        known = [key for key, value in results[0].items() if isinstance(value, int | float)]
        if metric not in known:
            raise UserError(f"--metric is {metric}, but should be {' or '.join(known[3:])}")
        return np.array([[result[metric]] for result in results])


def gather_groups(names: Sequence[str], by: Sequence[str] = ()) -> tuple[list[Group], list[str]]:
    """The runs with these names and those of the sweeps with these names, as groups: those that
    agree in the dotted keys of `by` ("base": by what name the sweep calls a config); without, those
    of one point of a sweep's grid; where there is a run that is named by itself, those whose
    configs agree in all but the seed. Runs of a sweep that are not finished are left out; a
    sentence says so of each.

    Raises UserError where a name is unknown, a run given by its own name is not finished, or
    nothing is left.
    """
    runs: dict[str, Config] = {}
    points: dict[str, dict[str, Any]] = {}  # of the runs of sweeps
    left_out = []
    for name in names:
        sweep = name in sweep_names()
        own = {run["name"]: run["point"] for run in runs_of(name)} if sweep else {name: {}}
        for run, point in own.items():
            problem, config = _unfinished(run)
            if config is not None:
                runs[run] = config
                if sweep:
                    points[run] = {"sweep": name, **point} if len(names) > 1 else point
            elif sweep:
                left_out.append(f"Left out: {problem}.")
            else:
                raise UserError(problem)
    if not runs:
        raise UserError(f"no run of {', '.join(names)} is finished; first {left_out[0][10:-1]}")
    flat = {name: settings(config) | points.get(name, {}) for name, config in runs.items()}
    for key in by:
        if not any(key in values for values in flat.values()):
            raise UserError(f"--by is {key}, but should be a setting, as agent.network")
    keys = list(by) or differences(list(runs.values()))
    places = {name: {key: flat[name].get(key) for key in keys} for name in runs}
    if not by and len(points) == len(runs):
        places = points
    groups: dict[str, Group] = {}
    for name, config in runs.items():
        label = _label(places[name]) or " and ".join(names)
        group = groups.setdefault(label, Group(label, [], [], config))
        group.runs.append(name)
        group.seeds.append(config.training.seed)
    return list(groups.values()), left_out


def _label(values: dict[str, Any]) -> str:
    """Where in a grid, as words; a name says enough without its key."""
    words = [
        str(value) if key in ("sweep", "base") else f"{key.rpartition('.')[2]} {value}"
        for key, value in values.items()
    ]
    return ", ".join(words)


def _unfinished(name: str) -> tuple[str, Config | None]:
    """What keeps a run from being compared, or its config."""
    state = run_state(name)
    if state.state == "finished" and state.config is not None:
        return "", state.config.resolve(trusted=state.config.foreign)
    if state.state == "new":
        return f"there is no run or sweep {name!r} in {data_root()}", None
    if state.config is None:
        return state.problem, None
    steps = f"step {state.step} of {state.config.training.steps}"
    return f"the run {name!r} has not been trained to its end: {steps}", None


def settings(config: Config) -> dict[str, Any]:
    """{dotted key: value}, without the seed."""
    return {key: value for key, value in config.flat().items() if key != SEED}


def differences(configs: Sequence[Config]) -> list[str]:
    """The dotted keys in which they differ, apart from the seed."""
    flat = [settings(config) for config in configs]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [k for k in keys if len({json.dumps(values.get(k, "-")) for values in flat}) > 1]
