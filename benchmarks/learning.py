"""Train the shipped recipe on 4 agents with several seeds; apply every policy, unchanged, to more.

    python benchmarks/learning.py [--config data/json/spread.json] [--set KEY=VALUE ...]
                                  [--seeds 0 1 2 3 4] [--agents 4 12 80 1000] [--markdown FILE]

Each seed trains in a process of its own, on one core and one thread; CPU seconds are those of that
process, with the evaluations that it makes now and then. Greedy evaluation at step 100 on fixed
starts: 2000 episodes at N=4, elsewhere about 20 000 agents' worth. Prints a Markdown table: median
and worst of the seeds, the reference policies on the same starts, and when a seed's coverage at N=4
was first found to have reached 0.36, where the original of the main experiment stood after 960
CPU seconds (360 000 steps, one seed), and 0.95.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commands import marl, trained

from marl.config.parsing import load_config

TARGETS = {4: 0.95, 12: 0.92, 80: 0.88, 1000: 0.86}
REFERENCES = ("random", "greedy", "local-assignment", "assignment")
ORIGINAL, ORIGINAL_SECONDS = 0.36, 960
GOAL = 0.95


def evaluate(policy: str, agents: list[int], root: Path, *more: str) -> dict[int, dict]:
    """The objects that `marl evaluate --json` writes, by number of agents."""
    file = root / f"{policy}.json"
    numbers = [str(n) for n in agents]
    marl("evaluate", policy, "--agents", *numbers, "--json", str(file), *more, root=root)
    return {result["agents"]: result for result in json.loads(file.read_text())}


def train(config: Path, settings: list[str], seed: int, agents: list[int], root: Path) -> dict:
    """Train one seed and evaluate it; CPU seconds of the training, and until coverage had reached
    ORIGINAL and GOAL, beside."""
    name = f"seed-{seed}"
    log = trained(name, config, seed, settings, root)
    found = [
        (line["cpu_seconds"], line["evaluation"]["coverage"])
        for line in log
        if "evaluation" in line
    ]

    def first(least: float) -> float:
        return min((t for t, coverage in found if coverage >= least), default=float("inf"))

    return {
        "seed": seed,
        "cpu": log[-1]["cpu_seconds"],
        "first": {least: first(least) for least in (ORIGINAL, GOAL)},
        "evaluation": evaluate(name, agents, root),
    }


def cells(results: list[dict[int, dict]], agents: list[int]) -> list[str]:
    """Coverage (median, and the worst of several) and collisions per agent for each N."""
    row = []
    for n in agents:
        coverage = [result[n]["coverage"] for result in results]
        collisions = statistics.median(result[n]["collisions"] for result in results)
        worst = f" (worst {min(coverage):.3f})" if len(coverage) > 1 else ""
        row.append(f"{statistics.median(coverage):.3f}{worst}, {collisions:.2f}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default="data/json/spread.json")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--agents", type=int, nargs="+", default=[4, 12, 80, 1000])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="seeds side by side")
    parser.add_argument("--markdown", type=Path, help="write the table here, too")
    parser.add_argument("--keep", type=Path, help="a folder in which runs are kept and continued")
    options = parser.parse_args()
    agents = options.agents
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        root = (options.keep or Path(folder)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        config = Path(options.config).resolve()
        settings = options.settings
        runs = list(
            pool.map(lambda seed: train(config, settings, seed, agents, root), options.seeds)
        )
        physics = load_config(config, settings).flat()["world.integration"]
        alike = ("--set", f"world.integration={physics}")
        references = {name: evaluate(name, agents, root, *alike) for name in REFERENCES}

    lines = [
        "coverage at step 100 (0.10), overlapping others per agent and step",
        "",
        "| policy | " + " | ".join(f"N={n}" for n in agents) + " |",
        "|---|" + "---|" * len(agents),
    ]
    learned = [run["evaluation"] for run in runs]
    lines.append(
        f"| **learned at N=4, {len(runs)} seeds** | " + " | ".join(cells(learned, agents)) + " |"
    )
    lines += [
        f"| {name} | " + " | ".join(cells([result], agents)) + " |"
        for name, result in references.items()
    ]
    for n in agents:
        if n in TARGETS:
            median = statistics.median(result[n]["coverage"] for result in learned)
            verdict = "reached" if median >= TARGETS[n] else "MISSED"
            lines.append(f"\nN={n}: median {median:.3f}, target {TARGETS[n]}: {verdict}")
    seconds = ", ".join(f"{run['cpu']:.0f}" for run in runs)
    lines.append(f"\nTraining took {seconds} CPU seconds on one core.")
    first = {x: statistics.median(run["first"][x] for run in runs) for x in (ORIGINAL, GOAL)}
    lines.append(
        f"Coverage at N=4 was first at or above {GOAL} after {first[GOAL]:.0f} CPU seconds"
    )
    lines.append(f"(median), at or above {ORIGINAL} after {first[ORIGINAL]:.1f}: the original's")
    lines.append(f"{ORIGINAL_SECONDS} are {ORIGINAL_SECONDS / first[ORIGINAL]:.0f} times that.")
    lines.append(
        f"\nSeeds {options.seeds}, Python {platform.python_version()}, {platform.machine()}."
    )
    table = "\n".join(lines)
    print(table)
    if options.markdown:
        options.markdown.write_text(table + "\n")


if __name__ == "__main__":
    main()
