"""Runs side by side: groups of runs that differ in their seed only, measured alike.

Every run's final weights play greedy episodes on the same starts, which serve for nothing else
(`evaluation.seed`), with the numbers of agents asked for. The numbers are kept beside the run's
statistics, in evaluation-N.json, until there are newer weights.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marl import evaluation
from marl.config import Config, parse_scenario, read_json
from marl.errors import UserError
from marl.evaluation import headline
from marl.processes import in_processes
from marl.runs import Run, data_root, read_log, run_state, write_json
from marl.statistics import interval, iqm, median, paired_test, probability_of_improvement
from marl.sweeps import runs_of, sweep_names

SEED = "training.seed"
CURVE_RESAMPLES = 500  # at every point of a curve


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


# --------------------------------------------------------------------------------------- gathering


def gather(names: Sequence[str], by: Sequence[str] = ()) -> tuple[list[Group], list[str]]:
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
    if state.state == "finished":
        return "", state.config
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


def measure(groups: Sequence[Group], agents: Sequence[int], workers: int = 1) -> Iterator[str]:
    """Evaluate every run of every group with each number of agents, unless that was done before,
    so many `workers` (processes) at a time; without numbers, with the one that each was trained
    with. Yields what has been measured."""
    wanted = [
        (group, n, name)
        for group in groups
        for n in list(agents) or [parse_scenario(group.config.world, "world").agent_count]
        for name in group.runs
    ]
    todo = [(name, n) for _, n, name in wanted if not _up_to_date(name, n)]
    refused: dict[tuple[str, int], str] = {}
    workers = min(workers, len(todo))
    here = ((what, _evaluate(what)) for what in todo)
    for (name, n), why in in_processes(_evaluate, todo, workers) if workers > 1 else here:
        yield f"{name}, N={n}"
        if why:
            refused[name, n] = why
    for group, n, name in wanted:
        if problem := refused.get((name, n)):
            group.refused[n] = problem
        elif n not in group.refused:
            group.results.setdefault(n, []).append(read_json(_file(name, n))[0])


def _evaluate(what: tuple[str, int]) -> str:
    """Let a run play with so many agents, and keep how it went; returns why that cannot be."""
    name, agents = what
    subject = evaluation.subject(name)
    defaults = subject.config.evaluation
    try:
        world = subject.world_for(agents)
        result = evaluation.evaluate(
            subject.policy, world, agents, defaults.episodes, defaults.seed
        )
    except UserError as error:
        return str(error).rpartition("does not fit: ")[2]
    write_json(_file(name, agents), [result])
    return ""


def _file(name: str, agents: int) -> Path:
    return Run(name).stats / f"evaluation-{agents}.json"


def _up_to_date(name: str, agents: int) -> bool:
    file = _file(name, agents)
    return file.exists() and file.stat().st_mtime >= Run(name).weights.stat().st_mtime


# ----------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Summary:
    """Of the runs of a group, with one number of agents."""

    runs: int
    iqm: float
    iqm_interval: tuple[float, float]
    median: float
    worst: float
    collisions: float | None
    reward: float


def summarise(group: Group, agents: int, metric: str) -> Summary:
    """What the runs of a group reach."""
    scores = group.scores(agents, metric)
    results = group.results[agents]
    collisions = [r["collisions"] for r in results if "collisions" in r]
    return Summary(
        len(scores), iqm(scores), interval(iqm, scores), median(scores), float(scores.min()),
        float(np.mean(collisions)) if collisions else None,
        float(np.mean([r["reward"] for r in results])),
    )  # fmt: skip


def curve(group: Group, metric: str) -> dict[str, np.ndarray]:
    """Of the evaluations during training: steps [P], CPU seconds [P] (mean of the runs), iqm [P]
    and the ends of its interval, low [P] and high [P]; as far as all runs have come."""
    logs = [read_log(Run(name).stats) for name in group.runs]
    points = [[line for line in log if metric in line.get("evaluation", {})] for log in logs]
    length = min(map(len, points))
    columns = list(zip(*(row[:length] for row in points), strict=True))  # [P][R]
    values = [np.array([[line["evaluation"][metric]] for line in column]) for column in columns]
    intervals = [interval(iqm, column, resamples=CURVE_RESAMPLES) for column in values]
    return {
        "steps": np.array([column[0]["step"] for column in columns]),
        "cpu": np.array([np.mean([line["cpu_seconds"] for line in column]) for column in columns]),
        "iqm": np.array([iqm(column) for column in values]),
        "low": np.array([low for low, _ in intervals]),
        "high": np.array([high for _, high in intervals]),
    }


@dataclass(frozen=True)
class Improvement:
    """Of one group over another: how often one of its runs is better, and the p-value of the test
    over seeds that both have (None: fewer than two)."""

    probability: float
    interval: tuple[float, float]
    pairs: int
    p_value: float | None


def improvement(group: Group, other: Group, agents: int, metric: str) -> Improvement:
    """Is a group better than another?"""
    x, y = group.scores(agents, metric), other.scores(agents, metric)
    common = sorted({*group.seeds} & {*other.seeds})
    unique = all(len(set(g.seeds)) == len(g.seeds) for g in (group, other))
    p_value = None
    if unique and len(common) > 1:
        pairs = [
            [scores[g.seeds.index(seed), 0] for seed in common]
            for g, scores in ((group, x), (other, y))
        ]
        p_value = paired_test(np.array(pairs[0]), np.array(pairs[1]))
    return Improvement(
        probability_of_improvement(x, y), interval(probability_of_improvement, x, y),
        len(common) if unique else 0, p_value,
    )  # fmt: skip


def default_metric(groups: Sequence[Group]) -> str:
    """The first metric of the groups' worlds; the reward where there is none."""
    results = [rows[0] for group in groups for rows in group.results.values()]
    return next((name for result in results if (name := headline(result))), "reward")
