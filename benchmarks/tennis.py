"""Tennis: the speed of the world, and the learning speed and scores of three algorithms.

    python benchmarks/tennis.py speed
    python benchmarks/tennis.py noise
    python benchmarks/tennis.py learning [--trained] [--plot docs/tennis.png]
    python benchmarks/tennis.py cures [--trained]

`noise` measures the score that exploration costs a perfect policy. `learning` trains the sweeps
experiments/tennis.json and tennis_legacy.json with `marl sweep`, which skips finished runs and
continues interrupted ones. It prints when the average score of 100 consecutive training episodes
reached 0.5 and 1.0, how long it stayed there, and the scores of the final policies in 300 rallies
on serves that nothing else uses. `cures` trains experiments/tennis_cures.json and prints the swings
of greedy play in the second half of training.
"""

import argparse
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl

from marl import evaluation
from marl.agents.core.base import Policy
from marl.errors import UserError
from marl.policies.builtin import BUILTIN
from marl.runs.files import whole_file
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies.entries import Entry, gather
from marl.studies.tables import Table, as_markdown
from marl.worlds.base import Arrays, World
from marl.worlds.tennis.world import Tennis

SWEEPS = {"tennis": None, "tennis_legacy": "SADDPG, legacy"}  # how the second's only row is called
CURES = "tennis_cures"
COURTS = (1, 64, 1024)
SECONDS = 1.0  # of each measurement
REPEATS = 5
RALLIES = 300  # of the final policies
MARKS = (0.5, 1.0)  # of the average score
SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
YARDSTICKS = ("random", "still", "landing")


def speed() -> Table:
    """Environment steps per second on one core through the public interface, players at rest or
    running: the median of `REPEATS`."""
    rows = []
    for courts in COURTS:
        world = Tennis().make_world(courts, seed=0)
        rng = np.random.default_rng(0)
        actions = {"players": rng.uniform(-1, 1, (courts, 2, 2)).astype(np.float32)}
        world.reset()
        world.reset(world.step(actions).done)
        rates = []
        for _ in range(REPEATS):
            steps, begun = 0, time.perf_counter()
            while (passed := time.perf_counter() - begun) < SECONDS:
                done = world.step(actions).done
                if done.any():
                    world.reset(done)
                steps += courts
            rates.append(steps / passed)
        rows.append([f"{courts:,}", f"{np.median(rates):,.0f}"])
    return ["courts", "steps per second"], rows


def noise() -> Table:
    """The score of `landing`, which never misses, with Gaussian noise on its actions."""
    rows = []
    for sigma in SIGMAS:

        def disturbed(world: World, seed: int, sigma: float = sigma) -> Policy:
            return Disturbed(BUILTIN["landing"](world), sigma, seed)

        score = evaluation.evaluate(disturbed, Tennis(), 2, RALLIES, 0)["score"]
        rows.append([f"{sigma:g}", f"{score:.2f}"])
    return ["deviation of the noise", "score"], rows


class Disturbed(Policy):
    """A policy that explores."""

    def __init__(self, policy: Policy, sigma: float, seed: int) -> None:
        self._policy, self._sigma, self._rng = policy, sigma, np.random.default_rng(seed)

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = self._policy.act(perceived)
        return {
            g: np.clip(x + self._rng.normal(0, self._sigma, x.shape), -1, 1).astype(np.float32)
            for g, x in actions.items()
        }


Curve = dict[str, np.ndarray]
"""The average score of the last 100 episodes of a training: `score` [P], after so many `episodes`,
`steps` and `cpu` seconds [P]."""


def curve(run: str) -> Curve:
    """The learning curve in a run's log."""
    lines = [line for line in read_log(Run(run).stats) if "last_100" in line]
    return {
        "score": np.array([line["last_100"]["score"] for line in lines]),
        "episodes": np.array([line["episodes"] for line in lines]),
        "steps": np.array([line["step"] for line in lines]),
        "cpu": np.array([line["cpu_seconds"] for line in lines]),
    }


def reached(own: Curve, mark: float) -> dict[str, float] | None:
    """The point of the curve where the average first reaches this score; None: nowhere."""
    there = np.flatnonzero(own["score"] >= mark)
    return {name: float(own[name][there[0]]) for name in own} if len(there) else None


def kept(own: Curve, mark: float) -> float:
    """The share of the later curve with the average at this score or above; NaN: it never reached
    it."""
    there = np.flatnonzero(own["score"] >= mark)
    return float((own["score"][there[0] :] >= mark).mean()) if len(there) else float("nan")


def span(values: list[float]) -> str:
    """The median of the runs, with the smallest and the largest value."""
    digits = 1 if max(values) < 10 else 0
    return (
        f"{np.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    )


def when(curves: list[Curve], mark: float) -> list[str]:
    """Episodes and CPU seconds until the average reached this score; the runs, if not all."""
    found = [at for own in curves if (at := reached(own, mark))]
    if not found:
        return ["never", "never"]
    some = "" if len(found) == len(curves) else f", {len(found)} of {len(curves)} runs"
    return [span([at[name] for at in found]) + some for name in ("episodes", "cpu")]


def played(name: str, settings: tuple[str, ...] = ()) -> float:
    """The mean score of a greedy policy."""
    subject = find_policy(name, settings)
    seed = subject.config.evaluation.seed
    result: dict[str, Any] = evaluation.evaluate(subject.policy, subject.world, 2, RALLIES, seed)
    return result["score"]


def last_evaluated(runs: list[str]) -> str:
    """The score of the final weights in the last evaluation of training."""
    logs = [[line for line in read_log(Run(run).stats) if "evaluation" in line] for run in runs]
    scores = [log[-1]["evaluation"]["score"] for log in logs if log]
    return span(scores) if scores else "-"


def learnt(groups: list[Entry]) -> Table:
    """A row for each algorithm and observation."""
    headings = ["policy", *(f"{what} to {m}" for m in MARKS for what in ("episodes", "CPU-s"))]
    headings += ["kept at 0.5", "at the end", "last weights", "greedy", "worst seed"]
    rows = []
    for group in groups:
        curves = [curve(run) for run in group.runs]
        scores = [played(run) for run in group.runs]
        rows.append(
            [
                group.label,
                *(cell for mark in MARKS for cell in when(curves, mark)),
                f"{100 * np.mean([kept(own, MARKS[0]) for own in curves]):.0f} %",
                span([float(own["score"][-1]) for own in curves]),
                last_evaluated(group.runs),
                f"{np.median(scores):.2f}",
                f"{min(scores):.2f}",
            ]
        )
    for name in YARDSTICKS:
        score = played(name, ("world.scenario=tennis",))
        rows.append([name, *["-"] * (len(headings) - 3), f"{score:.2f}", "-"])
    return headings, rows


def swings(groups: list[Entry]) -> Table:
    """Evaluations of each config in the second half of training: 200 rallies, on the same serves
    every time."""
    headings = ["config", "mean", "below 2.0", "worst", "largest fall", "last, median (worst)"]
    rows = []
    for group in groups:
        steps = group.config.training.steps
        scores = np.array(
            [
                [
                    line["evaluation"]["score"]
                    for line in read_log(Run(run).stats)
                    if "evaluation" in line and 2 * line["step"] >= steps
                ]
                for run in group.runs
            ]
        )
        rows.append(
            [
                group.label,
                f"{scores.mean():.2f}",
                f"{100 * (scores < 2.0).mean():.0f} %",
                f"{scores.min():.2f}",
                f"{(scores[:, :-1] - scores[:, 1:]).max():.2f}",
                f"{np.median(scores[:, -1]):.2f} ({scores[:, -1].min():.2f})",
            ]
        )
    return headings, rows


def plot(groups: list[Entry], path: Path) -> None:
    """Plot the curves of all runs over episodes and CPU seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (name, label) in zip(
        figure.subplots(1, 2, sharey=True),
        (("episodes", "episodes"), ("cpu", "CPU seconds")),
        strict=True,
    ):
        for number, group in enumerate(groups):
            for run_number, run in enumerate(group.runs):
                own = curve(run)
                axes.plot(
                    own[name],
                    own["score"],
                    color=f"C{number}",
                    alpha=0.7,
                    lw=1,
                    label=group.label if run_number == 0 else None,
                )
        axes.axhline(0.5, color="grey", linestyle="--", lw=1)
        axes.set(xlabel=label, ylim=(0, 2.7))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("score, average of the last 100 episodes")
    figure.axes[0].legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(picture.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "noise", "learning", "cures"))
    parser.add_argument("--trained", action="store_true", help="of what is finished; train nothing")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves")
    options = parser.parse_args()
    if options.what in ("speed", "noise"):
        print(as_markdown({"speed": speed, "noise": noise}[options.what]()))
        return
    sweeps, table = (SWEEPS, learnt) if options.what == "learning" else ({CURES: None}, swings)
    if not options.trained:
        for sweep in sweeps:
            marl("sweep", f"experiments/{sweep}.json")
    try:
        groups, left_out = [], []
        for sweep, label in sweeps.items():
            own, sentences = gather([sweep])
            groups += [replace(group, label=label or group.label) for group in own]
            left_out += sentences
    except UserError as error:  # nothing is finished
        raise SystemExit(str(error)) from None
    print(as_markdown(table(groups)), *left_out, sep="\n\n")
    if options.plot:
        plot(groups, options.plot)


if __name__ == "__main__":
    main()
