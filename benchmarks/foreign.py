"""Learning in PettingZoo's worlds: MPE2's spread beside our own, and multiwalker.

    python benchmarks/foreign.py [--trained]

Trains the sweeps experiments/foreign_spread.json, multiwalker.json and multiwalker_longer.json
with `marl sweep`, which skips finished runs. Prints the scores of greedy episodes over the steps of
training: the mean over the seeds and its 95 % interval.
"""

import argparse

import numpy as np
from commands import marl

from marl.errors import UserError
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies.entries import gather
from marl.studies.statistics import interval, mean
from marl.studies.tables import as_markdown, with_interval

SWEEPS = {"foreign_spread": "reward", "multiwalker": "return", "multiwalker_longer": "return"}


def curve(run: str, metric: str) -> dict[int, float]:
    """The evaluations of a run by step."""
    log = read_log(Run(run).stats)
    return {line["step"]: line["evaluation"][metric] for line in log if "evaluation" in line}


def table(sweep: str, metric: str) -> str:
    """A row for each evaluation, a column for each of the sweep's configs."""
    groups, left_out = gather([sweep])
    curves = [[curve(run, metric) for run in group.runs] for group in groups]
    cpu = ", ".join(f"{group.label} {group.cpu:.0f}" for group in groups)
    rows = []
    for step in curves[0][0]:
        row = [f"{step:,}"]
        for own in curves:
            values = np.array([seed[step] for seed in own])
            row.append(with_interval(mean(values), interval(mean, values, crossed=1)))
        rows.append(row)
    headings = ["steps", *(group.label for group in groups)]
    return "\n\n".join([as_markdown((headings, rows)), f"CPU-s (median): {cpu}.", *left_out])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trained", action="store_true", help="of what is finished; train nothing")
    options = parser.parse_args()
    missing = []
    for sweep, metric in SWEEPS.items():
        if not options.trained:
            marl("sweep", f"experiments/{sweep}.json")
        try:
            print(f"## {sweep}: {metric}", table(sweep, metric), sep="\n\n", end="\n\n")
        except UserError as error:  # nothing is finished
            missing.append(str(error))
    if missing:
        raise SystemExit("\n".join(missing))


if __name__ == "__main__":
    main()
