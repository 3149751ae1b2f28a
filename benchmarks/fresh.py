"""Scores of a config on fresh seeds and starts, which nobody could choose.

    python benchmarks/fresh.py spread [--set KEY=VALUE ...] [--name NAME] [--seeds 20]
                               [--agents 4 12 80 1000] [--ship]

The hash of the checked-out commit gives the training seeds (1000 and more; 0 to 99 are for
development) and the seed of the starts, so the author of a recipe cannot know them. The command
refuses uncommitted changes in marl/, in the config and in its bases. Each seed trains in a process
of its own on one thread, and plays greedily with its last weights. CPU seconds are those of
training with its evaluations. The command keeps measurements, continues after an interruption,
and writes benchmarks/fresh/NAME.json, from which `--page` prints the table again.

The shipped model (`--ship`) is the median run by mean coverage over all these N: the lower of the
two middle ones if the number of runs is even.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl, trained

from marl.config.parsing import files_of, load_config
from marl.folders import data_root
from marl.runs.files import whole_file, write_json
from marl.studies.statistics import iqm

FOLDER = Path(__file__).parent / "fresh"
FIRST = 1000  # smaller seeds are for development
LINES = {4: 0.95, 12: 0.90, 80: 0.85, 1000: 0.85}  # below which a run falls short
REFERENCES = ("random", "greedy", "local-assignment", "assignment")
METRIC = "coverage"


def drawn(commit: str, name: str, count: int) -> tuple[list[int], int]:
    """The training seeds, all different, and the seed of the starts of a commit's hash."""
    digest = hashlib.sha256(f"{commit} {name}".encode()).digest()
    random = np.random.default_rng(list(digest))
    numbers: list[int] = []
    while len(numbers) < count + 1:
        number = int(random.integers(FIRST, 2**31))
        numbers += [number] * (number not in numbers)
    return numbers[1:], numbers[0]


def episodes(agents: int) -> int:
    """Episodes for about 20 000 agents in all from 80 agents on, and for 2400 below."""
    worth = 20_000 if agents >= 80 else 2_400
    return max(-(-worth // agents), 20)


def commit_of(*configs: Path) -> str:
    """The hash of the last commit of the code and of these configs, with their bases. Stops if one
    of them differs from the checked-out commit."""
    watched = ["marl", *(str(file) for config in configs for file in files_of(config))]
    changed = _git("status", "--porcelain", "--", *watched)
    if changed:
        raise SystemExit(f"Commit first: seeds are drawn from the commit, but\n{changed}\ndiffers")
    return _git("log", "-1", "--format=%H", "--", *watched)


def versions(*more: str) -> dict[str, str]:
    """Of Python, of the packages that results depend on, and of others."""
    packages = {package: version(package) for package in ("torch", "numpy", "numba", *more)}
    return {"python": platform.python_version(), **packages}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def play(policy: str, agents: int, starts: int, root: Path, *more: str) -> dict[str, float]:
    """The result of `marl evaluate` with this number of agents; kept beside the runs."""
    file = root / "fresh" / f"{policy}-{agents}.json"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        options = ["--episodes", str(episodes(agents)), "--seed", str(starts), *more]
        marl("evaluate", policy, "--agents", str(agents), "--json", str(file), *options, root=root)
    result = json.loads(file.read_text())[0]
    return {key: result[key] for key in (METRIC, "collisions", "episodes")}


def record(options: argparse.Namespace) -> dict[str, Any]:
    """Train and play missing runs; return all values of the table."""
    config = Path("data/json") / f"{options.config}.json"
    commit, name = commit_of(config), options.name or options.config
    seeds, starts = drawn(commit, name, options.seeds)
    root = data_root() / "fresh" / f"{name}-{commit[:10]}"
    root.mkdir(parents=True, exist_ok=True)

    def run(seed: int) -> dict[str, Any]:
        log = trained(f"seed-{seed}", config, seed, options.settings, root)
        return {"seed": seed, "cpu_seconds": log[-1]["cpu_seconds"]}

    def played(pair: tuple[str, int]) -> dict[str, float]:
        policy, agents = pair
        physics = load_config(config, options.settings).flat().get("world.integration")
        same = ["--set", f"world.integration={physics}"] if policy in REFERENCES else []
        return play(policy, agents, starts, root, *same)

    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(run, seeds))
        policies = [*(f"seed-{seed}" for seed in seeds), *options.references]
        pairs = [(policy, agents) for agents in options.agents for policy in policies]
        results = dict(zip(pairs, pool.map(played, pairs), strict=True))
    for entry in runs:
        entry["played"] = {n: results[f"seed-{entry['seed']}", n] for n in options.agents}
    return {
        "config": options.config,
        "settings": options.settings,
        "commit": commit,
        "starts": starts,
        "runs": runs,
        "references": {
            policy: {n: results[policy, n] for n in options.agents} for policy in options.references
        },
        "versions": versions(),
    }


def shipped(runs: Sequence[dict[str, Any]]) -> int:
    """The seed of the median run, by its mean coverage over all numbers of agents."""

    def score(run: dict[str, Any]) -> float:
        return float(np.mean([result[METRIC] for result in run["played"].values()]))

    return int(sorted(runs, key=score)[(len(runs) - 1) // 2]["seed"])


def table(data: dict[str, Any]) -> str:
    """The record as Markdown: aggregates over the seeds, then every seed."""
    runs = data["runs"]
    agents = list(runs[0]["played"])
    coverage = {n: np.array([run["played"][n][METRIC] for run in runs]) for n in agents}
    collisions = {n: [run["played"][n]["collisions"] for run in runs] for n in agents}
    rows: dict[str, list[str]] = {
        f"median of {len(runs)} seeds": [f"{np.median(coverage[n]):.3f}" for n in agents],
        "interquartile mean": [f"{iqm(coverage[n]):.3f}" for n in agents],
        "worst": [f"{coverage[n].min():.3f}" for n in agents],
        "share of seeds below": [
            f"{np.mean(coverage[n] < LINES[int(n)]):.0%} below {LINES[int(n)]}"
            if int(n) in LINES
            else "-"
            for n in agents
        ],
        "collisions, median": [f"{np.median(collisions[n]):.2f}" for n in agents],
    }
    rows |= {
        policy: [f"{played[n][METRIC]:.3f}, {played[n]['collisions']:.2f}" for n in agents]
        for policy, played in data["references"].items()
    }
    lines = _rows(["coverage", *(f"N={n}" for n in agents)], rows)
    seconds = [run["cpu_seconds"] for run in runs]
    lines += [
        "",
        f"CPU seconds of training: median {np.median(seconds):.0f}, most {max(seconds):.0f}. "
        f"Commit {data['commit'][:10]}, starts {data['starts']}, shipped: seed {shipped(runs)}. "
        + ", ".join(f"{name} {number}" for name, number in data["versions"].items())
        + ".",
        "",
    ]
    each = {
        str(run["seed"]): [
            *(f"{run['played'][n][METRIC]:.3f}" for n in agents),
            f"{run['cpu_seconds']:.0f}",
        ]
        for run in runs
    }
    return "\n".join(lines + _rows(["seed", *(f"N={n}" for n in agents), "CPU-s"], each))


def _rows(head: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", help="a config in data/json, by its name")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--name", help="of the record, where it is not the config's")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--agents", type=int, nargs="+", default=[4, 12, 80, 1000])
    parser.add_argument("--references", nargs="*", default=[], metavar="POLICY")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--ship", action="store_true", help="copy the median run to data/models")
    parser.add_argument("--page", action="store_true", help="print what is on record")
    options = parser.parse_args()
    name = options.name or options.config
    file = FOLDER / f"{name}.json"
    if not options.page:
        data = record(options)
        FOLDER.mkdir(exist_ok=True)
        write_json(file, data)
    data = json.loads(file.read_text())
    print(table(data))
    if options.ship:
        seed = shipped(data["runs"])
        runs = data_root() / "fresh" / f"{name}-{data['commit'][:10]}" / "models"
        target = data_root() / "models" / name / "weights.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial:
            shutil.copyfile(runs / f"seed-{seed}" / "weights.safetensors", partial)
        print(f"\nSeed {seed} is now {target}")


if __name__ == "__main__":
    main()
