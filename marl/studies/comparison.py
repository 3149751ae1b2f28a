"""Runs side by side: policies measured alike, each with its seeds.

Every run's final weights play greedy episodes on the same starts, which serve for nothing else
(`evaluation.seed`), with the numbers of agents asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies.entries import Entry
from marl.studies.measurements import measure_entries, plan
from marl.studies.statistics import interval, iqm, median, paired_test, probability_of_improvement

CURVE_RESAMPLES = 500  # at every point of a curve


def measure(entries: Sequence[Entry], agents: Sequence[int], workers: int = 1) -> Iterator[str]:
    """Measure every run of every entry with each number of agents, so many `workers` (processes) at
    a time; without numbers, with the one that each was trained with. Yields what was done."""
    wanted = [
        (entry, task)
        for entry in entries
        for n in agents or [entry.config.world.agent_count]
        for task in plan(entry, n)
    ]
    yield from measure_entries(wanted, workers)


# ----------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Summary:
    """Of the runs of an entry, with one number of agents."""

    runs: int
    iqm: float
    iqm_interval: tuple[float, float]
    median: float
    worst: float
    collisions: float | None
    reward: float


def summarise(entry: Entry, agents: int, metric: str) -> Summary:
    """What the runs of an entry reach."""
    scores = entry.scores(agents, metric)
    results = entry.results(agents)
    collisions = [r["collisions"] for r in results if "collisions" in r]
    return Summary(
        len(scores), iqm(scores), interval(iqm, scores), median(scores), float(scores.min()),
        float(np.mean(collisions)) if collisions else None,
        float(np.mean([r["reward"] for r in results])),
    )  # fmt: skip


def curve(entry: Entry, metric: str) -> dict[str, np.ndarray]:
    """Of the evaluations during training: steps [P], CPU seconds [P] (mean of the runs), iqm [P]
    and the ends of its interval, low [P] and high [P]; as far as all runs have come."""
    logs = [read_log(Run(name).stats) for name in entry.runs]
    points = [[line for line in log if metric in line.get("evaluation", {})] for log in logs]
    length = min(map(len, points))
    columns = list(zip(*(row[:length] for row in points), strict=True))  # [P][R]
    seconds = [[line.get("cpu_seconds", np.nan) for line in column] for column in columns]
    values = [np.array([[line["evaluation"][metric]] for line in column]) for column in columns]
    intervals = [interval(iqm, column, resamples=CURVE_RESAMPLES) for column in values]
    return {
        "steps": np.array([column[0]["step"] for column in columns]),
        "cpu": np.array([np.mean(column) for column in seconds]),
        "iqm": np.array([iqm(column) for column in values]),
        "low": np.array([low for low, _ in intervals]),
        "high": np.array([high for _, high in intervals]),
    }


@dataclass(frozen=True)
class Improvement:
    """Of one entry over another: how often one of its runs is better, and the p-value of the test
    over seeds that both have (None: fewer than two)."""

    probability: float
    interval: tuple[float, float]
    pairs: int
    p_value: float | None


def improvement(entry: Entry, other: Entry, agents: int, metric: str) -> Improvement:
    """Is a policy better than another?"""
    x, y = entry.scores(agents, metric), other.scores(agents, metric)
    common = sorted({*entry.seeds} & {*other.seeds})
    unique = all(len(set(g.seeds)) == len(g.seeds) for g in (entry, other))
    p_value = None
    if unique and len(common) > 1:
        pairs = [
            [scores[g.seeds.index(seed), 0] for seed in common]
            for g, scores in ((entry, x), (other, y))
        ]
        p_value = paired_test(np.array(pairs[0]), np.array(pairs[1]))
    return Improvement(
        probability_of_improvement(x, y), interval(probability_of_improvement, x, y),
        len(common) if unique else 0, p_value,
    )  # fmt: skip
