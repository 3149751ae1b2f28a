"""Runs side by side: groups of runs that differ in their seed only, measured alike.

Every run's final weights play greedy episodes on the same starts, which serve for nothing else
(`evaluation.seed`), with the numbers of agents asked for. The numbers are kept beside the run's
statistics, in evaluation-N.json, until there are newer weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marl import evaluation
from marl.config.parsing import read_json
from marl.errors import UserError
from marl.evaluation import primary_metric
from marl.runs.files import write_json
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies.entries import Group
from marl.studies.processes import in_processes
from marl.studies.statistics import interval, iqm, median, paired_test, probability_of_improvement

CURVE_RESAMPLES = 500  # at every point of a curve


# --------------------------------------------------------------------------------------- gathering


def measure(groups: Sequence[Group], agents: Sequence[int], workers: int = 1) -> Iterator[str]:
    """Evaluate every run of every group with each number of agents, unless that was done before,
    so many `workers` (processes) at a time; without numbers, with the one that each was trained
    with. Yields what has been measured."""
    wanted = [
        (group, n, name)
        for group in groups
        for n in list(agents) or [group.config.world.agent_count]
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
    subject = find_policy(name)
    defaults = subject.config.evaluation
    try:
        world = subject.world_for(agents)
        result = evaluation.evaluate(
            subject.policy, world, agents, defaults.episodes, defaults.seed
        )
    except UserError as error:
        return error.reason
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
    return next((name for result in results if (name := primary_metric(result))), "reward")
