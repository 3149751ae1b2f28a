"""Which way of controlling N agents learns, and which survives a larger N? Every row of the family.

    python benchmarks/comparison.py [--seeds 0 1 2 3 4] [--rows ddpg maddpg ...] [--jobs 2]
                                    [--page] [--out docs/comparison.md]

Trains every row on cooperative navigation with 4 agents, one process and one thread a run, about
120 CPU-seconds each; evaluates it greedily, on starts used for nothing else; writes a page with a
table (means over the seeds, 95 % percentile bootstrap intervals) and, beside it, a picture of the
learning curves. Runs are kept in data/ as comparison-ROW-SEED: those that are finished are not
trained again, those that were interrupted are resumed.
"""

import argparse
import json
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl, trained

from marl import statistics
from marl.config import Config, load_config
from marl.runs import Run, data_root, find_config, read_log, whole_file

AGENTS = (4, 12, 80)
LARGER = AGENTS[1:]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """A line of the table: a config with a few settings on top."""

    label: str
    config: str
    settings: tuple[str, ...] = ()


SHARED = ("world.reward=shared",)
ROWS = {
    "atoc-set": Row("one shared policy, set network (spread.json)", "spread"),
    "atoc": Row("one shared policy (ATOC without communication)", "atoc_tuned"),
    "atoc-comm": Row("ATOC with communication", "atoc_comm_tuned"),
    "ddpg": Row("independent DDPG", "ddpg_tuned"),
    "global": Row("global DDPG", "global_tuned"),
    "maddpg": Row("MADDPG", "maddpg_tuned"),
    "maddpg-psne": Row("MADDPG, parameter noise", "maddpg_psne_tuned"),
    "saddpg": Row("SADDPG", "saddpg_tuned"),
    "atoc-shared": Row("one shared policy, team reward", "atoc_tuned", SHARED),
    "ddpg-shared": Row("independent DDPG, team reward", "ddpg_tuned", SHARED),
    "global-shared": Row("global DDPG, team reward", "global_tuned", SHARED),
}


def train(row: str, seed: int) -> None:
    """Train a row's seed and evaluate it, or what of that is still to be done."""
    run = Run(f"comparison-{row}-{seed}")
    path, settings = find_config(ROWS[row].config), ROWS[row].settings
    trained(run.name, path, seed, settings)
    config = load_config(path, settings)
    for n in AGENTS:
        file = run.stats / f"evaluation-{n}.json"
        if not file.exists() and (n == AGENTS[0] or any_number(config)):
            marl("evaluate", run.name, "--agents", str(n), "--json", str(file))
    print(f"{run.name} is done", flush=True)


def any_number(config: Config) -> bool:
    """Can the policy that a config trains be applied to other numbers of agents?"""
    world = config.make_world(1, 0)
    return bool(config.make_agent(world.groups, 0).any_number)


# -------------------------------------------------------------------------------------- statistics


def interval(values: list[float]) -> str:
    """Mean over the seeds and its 95 % percentile bootstrap interval."""
    scores = np.array(values)[:, None]
    low, high = statistics.interval(np.mean, scores, resamples=RESAMPLES)
    return f"{scores.mean():.3f} [{low:.3f}, {high:.3f}]"


def results(row: str, seeds: list[int], n: int) -> list[dict[str, Any]]:
    """The evaluations of those seeds that have one."""
    files = [Run(f"comparison-{row}-{seed}").stats / f"evaluation-{n}.json" for seed in seeds]
    return [json.loads(file.read_text())[0] for file in files if file.exists()]


def logs(row: str, seeds: list[int]) -> list[list[dict[str, Any]]]:
    """The logs of those seeds that are evaluated."""
    runs = [Run(f"comparison-{row}-{seed}") for seed in seeds]
    return [read_log(run.stats) for run in runs if (run.stats / "evaluation-4.json").exists()]


def table(rows: list[str], seeds: list[int]) -> list[str]:
    """The lines of the Markdown table."""
    headings = ["row", "seeds", "coverage, N=4", "worst seed", "collisions", "return per step"]
    headings += [f"coverage, N={n}" for n in LARGER] + ["CPU-s"]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for row in rows:
        own = results(row, seeds, AGENTS[0])
        coverage = [result["coverage"] for result in own]
        cells = [ROWS[row].label, str(len(own)), interval(coverage), f"{min(coverage):.3f}"]
        cells += [interval([result[key] for result in own]) for key in ("collisions", "reward")]
        for n in LARGER:
            values = [result["coverage"] for result in results(row, seeds, n)]
            cells.append(interval(values) if values else "tied to N=4")
        seconds = [log[-1]["cpu_seconds"] for log in logs(row, seeds)]
        cells.append(f"{np.median(seconds):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(rows: list[str], seeds: list[int], path: Path) -> None:
    """Coverage of the evaluations during training over CPU-seconds: mean and range of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(rows):
        curves = []
        for log in logs(row, seeds):
            points = [line for line in log if "evaluation" in line]
            curves.append([(p["cpu_seconds"], p["evaluation"]["coverage"]) for p in points])
        seconds, coverage = np.array(curves).mean(0)[:, 0], np.array(curves)[:, :, 1]
        colour = f"C{number % 10}"
        style = "--" if row.endswith("-shared") else "-"
        axes.plot(seconds, coverage.mean(0), style, color=colour, label=ROWS[row].label)
        axes.fill_between(
            seconds, coverage.min(0), coverage.max(0), color=colour, alpha=0.12, linewidth=0
        )
    axes.set(xlabel="CPU-seconds", ylabel="coverage at N=4 (greedy)", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)


def page(rows: list[str], seeds: list[int], picture: str) -> str:
    """The whole page, in Markdown."""
    packages = [f"{name} {version(name)}" for name in ("torch", "numba", "numpy")]
    versions = ", ".join([f"Python {platform.python_version()}", *packages, platform.machine()])
    return "\n".join(
        [
            (Path(__file__).parent / "comparison.md").read_text().strip(),
            "",
            *table(rows, seeds),
            "",
            f"![learning curves]({picture})",
            "",
            f"Seeds: the first of {seeds}; {versions}. Brackets: 95 % percentile bootstrap "
            f"interval of the mean over seeds ({RESAMPLES} resamples). Bands: range of the seeds. "
            "Made by `make bench-comparison`, which continues where it was interrupted.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side")
    parser.add_argument("--page", action="store_true", help="of what is finished; train nothing")
    parser.add_argument("--out", type=Path, default=Path("docs/comparison.md"))
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        for seed in [] if options.page else options.seeds:  # an early look at every row
            list(pool.map(partial(train, seed=seed), options.rows))
    finished = [row for row in options.rows if results(row, options.seeds, AGENTS[0])]
    if not finished:
        parser.error(f"no run of --rows and --seeds is finished in {data_root()}")
    picture = options.out.with_suffix(".png")
    plot(finished, options.seeds, picture)
    with whole_file(options.out) as unfinished:
        unfinished.write_text(page(finished, options.seeds, picture.name))
    print("\n".join(table(finished, options.seeds)))


if __name__ == "__main__":
    main()
