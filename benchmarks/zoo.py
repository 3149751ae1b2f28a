"""What is learned in PettingZoo's worlds, and what of it is kept with more agents.

    python benchmarks/zoo.py [CONFIG ...] [--seeds N] [--jobs 2]
    python benchmarks/zoo.py CONFIG --agents 2          trained with 2 agents instead
    python benchmarks/zoo.py --page                     docs/pettingzoo.md from what is on record

A row is a config in data/json. Its settings were chosen with development seeds; the hash of the
checked-out commit gives the seeds and the starts of the table, as in fresh.py. Each run trains in a
process of its own on one thread. Its last weights play in our world and, where there is one, in
PettingZoo's own, with fewer and with more agents than in training. The command keeps what it
measures, continues after an interruption, and writes benchmarks/fresh/zoo_CONFIG.json, or
zoo_CONFIG_N.json for runs with N agents. `--ship` copies the median run's weights to data/models.
"""

import argparse
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl, trained
from fresh import FOLDER, commit_of, drawn, versions

from marl.config.parsing import find_config, load_config
from marl.folders import data_root
from marl.policies.builtin import BUILTIN
from marl.runs.files import whole_file, write_json
from marl.runs.paths import WEIGHTS
from marl.studies.tables import as_markdown

METRIC = "return"
SEEDS = 5  # of a config, or fewer where a run takes over ten CPU minutes
PAGE = Path("docs/pettingzoo.md")


@dataclass(frozen=True)
class Play:
    """Episodes of a run's last weights: where, with how many agents, and how many."""

    where: str
    agents: tuple[int, ...]
    episodes: int = 200
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is played with the weights of a config, and what is known of its world."""

    plays: tuple[Play, ...]
    goal: float  # of METRIC: the CPU seconds to it are in the table
    references: tuple[str, ...] = ("random",)  # built-in policies that play the same
    others: tuple[int, ...] = ()  # numbers of agents of runs beside, with which the first is played


REAL_PURSUIT = ("world.scenario=real_pursuit", "world.urgency_reward=0")

TASKS = {
    "pistonball": Task(
        (
            Play("marl", (5, 10, 20, 40, 100, 1000), 40),
            Play("PettingZoo", (5, 10, 20), 100, ("world.scenario=real_pistonball",)),
        ),
        90.0,
        ("random", "wave"),
        (5, 20),
    ),
    "pistonball_frames": Task(
        (
            Play("marl", (5, 10, 20, 40), 20),
            Play("PettingZoo", (5, 10, 20), 20, ("world.scenario=real_pistonball",)),
        ),
        90.0,
    ),
    "prison": Task((Play("marl", (8, 16, 80)),), 50.0),
    "pursuit": Task(
        (
            Play("marl", (2, 4, 8, 16, 64), 100, ("world.urgency_reward=0",)),
            Play("PettingZoo", (8,), 20, REAL_PURSUIT),
        ),
        600.0,
        ("random", "chase"),
        (2, 4, 16),
    ),
    "waterworld": Task(
        (Play("marl", (2, 3, 5, 10, 20), 100, ("world.actions=discrete",)),),
        5.0,
        ("random", "forage"),
        (2, 3, 10),
    ),
    "kaz": Task((Play("PettingZoo", (2, 4, 10), 40),), 2.5, others=(2,)),
    "multiwalker": Task((Play("PettingZoo", (2, 3, 5, 10), 100),), 100.0, others=(3,)),
    "cooperative_pong": Task((Play("PettingZoo", (2,), 100),), 90.0),
    "space_invaders": Task((Play("PettingZoo", (2,), 24),), 500.0),
}


def run(name: str, agents: int | None, seed: int, starts: int, root: Path) -> dict[str, Any]:
    """Train and play a run of a config, with as many agents as it says or with `agents`, unless it
    is on record."""
    settings = () if agents is None else (f"world.num_agents={agents}",)
    log = trained(f"{name}-{seed}", find_config(name), seed, settings, root)
    curve = [
        (x["step"], x["cpu_seconds"], x["evaluation"][METRIC]) for x in log if "evaluation" in x
    ]
    plays = _plays(name, agents)
    played = [results(f"{name}-{seed}", name, play, starts, root) for play in plays]
    return {"seed": seed, "curve": curve, "played": played}


def _plays(name: str, agents: int | None) -> tuple[Play, ...]:
    """All of a task; for runs with another number of agents than the config's, the first."""
    return TASKS[name].plays[: None if agents is None else 1]


def label_of(name: str, agents: int | None) -> str:
    """A config, or its runs with another number of agents."""
    return name if agents is None else f"{name}_{agents}"


def results(policy: str, name: str, play: Play, starts: int, root: Path) -> dict[str, float]:
    """METRIC by number of agents, of a run or a built-in policy."""
    file = root / "played" / f"{policy}-{play.where}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        options = ["--agents", *map(str, play.agents), "--episodes", str(play.episodes)]
        options += ["--seed", str(starts), "--json", str(file)]
        home = f"world.scenario={load_config(find_config(name)).scenario}"
        settings = [home, *play.settings] if policy in BUILTIN else play.settings
        options += [x for setting in settings for x in ("--set", setting)]
        marl("evaluate", policy, *options, root=root)
    found = json.loads(file.read_text("utf-8"))
    return {str(result["agents"]): result[METRIC] for result in found}


def record(name: str, jobs: int, count: int = SEEDS, agents: int | None = None) -> dict[str, Any]:
    """Train and play the missing ones of `count` runs of a config, or of its runs with `agents`
    agents; all that its table holds."""
    task, file, label = TASKS[name], find_config(name), label_of(name, agents)
    commit = commit_of(file)
    seeds, starts = drawn(commit, f"zoo {label}", count)
    root = data_root() / "fresh" / f"zoo-{label}-{commit[:10]}"
    root.mkdir(parents=True, exist_ok=True)
    policies = task.references if agents is None else ()
    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(lambda seed: run(name, agents, seed, starts, root), seeds))
        pairs = [(policy, play) for policy in policies for play in task.plays]
        found = pool.map(lambda pair: results(pair[0], name, pair[1], starts, root), pairs)
    references: dict[str, list[dict[str, float]]] = {policy: [] for policy in policies}
    for (policy, _), result in zip(pairs, found, strict=True):
        references[policy].append(result)
    return {
        "commit": commit,
        "starts": starts,
        "runs": runs,
        "references": references,
        "versions": versions("pettingzoo", "pymunk"),
    }


def on_record(name: str, agents: int | None = None) -> dict[str, Any] | None:
    """What was measured of a config, or of its runs with `agents` agents."""
    file = FOLDER / f"zoo_{label_of(name, agents)}.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def median_run(name: str, data: Mapping[str, Any]) -> int:
    """The seed of the median run by its mean over all that it played: the lower one of two."""

    def score(one: Mapping[str, Any]) -> float:
        return float(np.mean([x for result in one["played"] for x in result.values()]))

    return int(sorted(data["runs"], key=score)[(len(data["runs"]) - 1) // 2]["seed"])


def ship(name: str, data: Mapping[str, Any]) -> None:
    """Put the median run's weights into data/models."""
    root = data_root() / "fresh" / f"zoo-{name}-{data['commit'][:10]}"
    target = Path("data/models") / name
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "models" / f"{name}-{median_run(name, data)}" / WEIGHTS, target / WEIGHTS)


def table(
    name: str, data: Mapping[str, Any], others: Mapping[int, Mapping[str, Any]] | None = None
) -> str:
    """Who plays where, with how many agents: medians of the seeds, the worst in brackets. `others`
    are records of runs that were trained with other numbers of agents."""
    task, trained_with = TASKS[name], load_config(find_config(name)).world.agent_count
    counts = sorted({n for play in task.plays for n in play.agents})
    head = ["policy", "world", *(f"n={n}{' (trained)' * (n == trained_with)}" for n in counts)]
    lines = []
    for at, play in enumerate(task.plays):
        rows = [(f"`{name}`", [run["played"][at] for run in data["runs"]])]
        for n, other in (others or {}).items() if at == 0 else ():
            played = [run["played"][0] for run in other["runs"]]
            rows.append((f"`{name}`, trained with {n}", played))
        rows += [(f"`{who}`", [played[at]]) for who, played in data["references"].items()]
        for who, played in rows:
            cells = [who, play.where]
            for n in counts:
                values = [result[str(n)] for result in played if str(n) in result]
                cells.append(_cell(values))
            lines.append(cells)
    return as_markdown((head, lines))


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    worst = f" ({min(values):.1f})" if len(values) > 1 else ""
    return f"{np.median(values):.1f}{worst}"


def learning(name: str, data: Mapping[str, Any]) -> str:
    """The seeds' learning, one line each: when the goal was reached first, the best evaluation and
    the last one, with the number of agents in training."""
    task, lines = TASKS[name], []
    for one in data["runs"]:
        steps, seconds, values = zip(*one["curve"], strict=True)
        reached = [at for at, value in zip(seconds, values, strict=True) if value >= task.goal]
        lines.append([f"{one['seed']}", f"{steps[-1]}", f"{seconds[-1]:.0f}",
                      f"{min(reached):.0f}" if reached else "-",
                      f"{max(values):.1f}", f"{values[-1]:.1f}"])  # fmt: skip
    head = ["seed", "steps", "CPU-s", f"CPU-s to {task.goal:g}", "best evaluation", "last"]
    return as_markdown((head, lines))


def section(name: str, data: Mapping[str, Any]) -> str:
    """The tables of a config, and what they rest on."""
    played = ", ".join(f"{play.episodes} in {play.where}" for play in TASKS[name].plays)
    others = {n: known for n in TASKS[name].others if (known := on_record(name, n))}
    foot = (
        f"`{METRIC}`, median of {len(data['runs'])} seeds (worst). Episodes of each "
        f"seed with each n: {played}. {_source(data)} `{_command(name, data)}`"
    )
    notes = []
    for n, other in others.items():
        seeds = ", ".join(str(run["seed"]) for run in other["runs"])
        seconds = np.median([run["curve"][-1][1] for run in other["runs"]])
        notes.append(
            f"Trained with {n}: {seconds:.0f} CPU-s each; seeds {seeds}. {_source(other)} "
            f"`{_command(f'{name} --agents {n}', other)}`"
        )
    return "\n\n".join([table(name, data, others), foot, *notes, learning(name, data)])


def _command(asked: str, data: Mapping[str, Any]) -> str:
    count = len(data["runs"])
    return f"python benchmarks/zoo.py {asked}" + f" --seeds {count}" * (count != SEEDS)


def _source(data: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in data["versions"].items())
    return f"Starts {data['starts']}; commit {data['commit'][:10]}; {packages}."


def page() -> str:
    """The whole page: the prose of zoo.md, in which {CONFIG} stands for a config's tables."""
    text = Path(__file__).with_suffix(".md").read_text("utf-8")
    for name in TASKS:
        data = on_record(name)
        text = text.replace(f"{{{name}}}", section(name, data) if data else "Not measured yet.")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--agents", type=int, metavar="N", help="in training, not the config's")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--ship", action="store_true", help="the median run of each")
    parser.add_argument("--page", action="store_true", help="of what is on record")
    options = parser.parse_args()
    if unknown := [name for name in options.configs if name not in TASKS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(TASKS)}")
    if options.agents is not None and (options.ship or not options.configs):
        parser.error("--agents needs a CONFIG, and its runs are not shipped")
    for name in [] if options.page else options.configs or TASKS:
        data = record(name, options.jobs, options.seeds, options.agents)
        FOLDER.mkdir(exist_ok=True)
        write_json(FOLDER / f"zoo_{label_of(name, options.agents)}.json", data)
        if options.ship:
            ship(name, data)
    with whole_file(PAGE) as unfinished:
        unfinished.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
