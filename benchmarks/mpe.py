"""Every learner on five of MPE's worlds, one to four CPU minutes each, beside published figures.

    python benchmarks/mpe.py [--rows iql qmix ...] [--worlds spread ...] [--seeds 5]
    python benchmarks/mpe.py --page                     docs/learners.md from what is on record

A row is a config in data/json: of SAC that for choices, for DDPG and MADDPG mpe.json. Its settings
were chosen on spread with development seeds, and serve all five worlds. The seeds and the starts
come from the hash of the checked-out commit, as in fresh.py. In tag and adversary the rivals are
trained before (MADDPG against MADDPG, seed 0) and do not learn. Each run trains in a process of its
own on one thread, and plays greedily with its last weights. The command adds every finished run to
benchmarks/fresh/mpe.json, first seeds first, and makes only what is missing there.
"""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import config_name, marl, trained
from fresh import FOLDER, commit_of
from records import Job, Record, write_page

from marl.agents import Policy
from marl.config.parsing import find_config, parse_config, parse_world, read_config, with_settings
from marl.evaluation import evaluate
from marl.folders import data_root
from marl.runs.files import write_json
from marl.runs.frozen import freeze, resolve_frozen
from marl.runs.paths import WEIGHTS
from marl.studies.tables import as_markdown
from marl.worlds.base import World

EPISODES = 1000
STEPS = 25  # of an episode
FILE = FOLDER / "mpe.json"
PAGE = Path("docs/learners.md")


@dataclass(frozen=True)
class Task:
    """A world, who learns in it, and what is known of it."""

    world: dict[str, Any]  # the section of a config
    team: tuple[str, ...]  # the groups that learn
    metric: str
    published: Mapping[str, float] = field(default_factory=dict)  # EPyMARL's returns by row
    played: tuple[str, ...] = ()  # settings of the evaluation, where returns are defined otherwise
    rival: str = ""  # the group that was trained before
    common: bool = False  # the reward is the team's already, the same for each


@dataclass
class Score:
    """What a run came to."""

    cpu_seconds: float
    steps: int
    team_return: float
    own_return: float  # of each agent, their mean
    metric: float


ROWS = ("iql", "vdn", "qmix", "isac", "masac", "ippo", "mappo", "ddpg", "maddpg", "random")
RANDOM = ROWS[-1]
FAMILY, FAMILY_ROWS = "mpe", ("ddpg", "maddpg")  # the config that they share

TASKS = {
    "spread": Task(
        {"scenario": "spread", "num_agents": 3, "agent_density": 3.0, "observation": "everything",
         "episode_length": STEPS},
        ("agents",), "coverage",
        {"qmix": -126.62, "vdn": -131.03, "iql": -132.63, "mappo": -133.54, "ippo": -133.86,
         "maddpg": -141.70},
        ("world.reward=original",), common=True,
    ),
    "speaker_listener": Task(
        {"scenario": "speaker_listener"}, ("speakers", "listeners"), "reached",
    ),
    "reference": Task({"scenario": "reference"}, ("agents",), "reached"),
    "tag": Task({"scenario": "tag"}, ("adversaries",), "touches", rival="good"),
    "adversary": Task(
        {"scenario": "adversary"}, ("good",), "good_reached", rival="adversaries",
    ),
}  # fmt: skip


def rival(name: str, root: Path) -> str:
    """The run whose weights the rivals of a task have: MADDPG, all learning at once."""
    run = f"rivals-{name}"
    config = root / "configs" / f"{run}.json"
    write_json(config, {**read_config(find_config(FAMILY)), "world": _world(TASKS[name])})
    trained(run, config, 0, root=root)
    return run


def _world(task: Task) -> dict[str, Any]:
    return {**task.world, "actions": "discrete"}


def config_of(row: str) -> str:
    """The config of a row, by its name; the one of random play serves its world only."""
    return FAMILY if row in (*FAMILY_ROWS, RANDOM) else config_name(row, discrete=True)


def settings(row: str, name: str) -> dict[str, Any]:
    """The config of a row in a world, as JSON."""
    task, config = TASKS[name], config_of(row)
    data = read_config(find_config(config))
    agents = sum(map(len, _names(task).values()))
    data = {**data, "world": _world(task), "evaluation": {"agents": [agents]}}
    if row in FAMILY_ROWS:
        data["agent"] = {**data["agent"], "name": row}
    if task.rival:
        data["agents"] = {task.rival: {"frozen": f"rivals-{name}"}}
    return data


def score(job: Job, root: Path) -> Score:
    """Train and play a run, or what is missing of it."""
    name, row = job.row.split("/")
    if row == RANDOM:
        return random_play(name, job.starts, root)
    task, run = TASKS[name], f"{row}-{name}-{job.seed}"
    config = root / "configs" / f"{row}-{name}.json"
    write_json(config, settings(row, name))
    log = trained(run, config, job.seed, root=root)
    file = root / "played" / f"{run}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        options = ["--episodes", str(EPISODES), "--seed", str(job.starts), "--json", str(file)]
        options += [x for setting in task.played for x in ("--set", setting)]
        marl("evaluate", run, *options, root=root)
    result = json.loads(file.read_text())[0]
    return Score(log[-1]["cpu_seconds"], log[-1]["step"], *outcome(name, result))


def random_play(name: str, starts: int, root: Path) -> Score:
    """What the learning side gets when it chooses at random."""
    task, data = TASKS[name], settings(RANDOM, name)
    players: dict[str, Any] = dict.fromkeys(task.team, "random")
    if task.rival:
        players[task.rival] = {"frozen": str(root / "models" / f"rivals-{name}" / WEIGHTS)}
    data = with_settings({**data, "agents": players}, task.played)
    config = resolve_frozen(parse_config(data))

    def policy(worlds: World, seed: int) -> Policy:
        agent = config.make_agent(worlds.groups, seed, worlds)
        freeze(agent, config)
        return agent

    result = evaluate(policy, config.world, config.world.agent_count, EPISODES, starts)
    return Score(0.0, 0, *outcome(name, result))


def outcome(name: str, result: Mapping[str, Any]) -> tuple[float, float, float]:
    """Of the learning side in an evaluation: the team's return, the own return, the metric."""
    task = TASKS[name]
    sizes = {g: len(names) for g, names in _names(task).items() if g in task.team}
    rewards = [result.get(f"reward_{g}", result["reward"]) for g in sizes]
    own = STEPS * float(np.average(rewards, weights=list(sizes.values())))
    return own if task.common else own * sum(sizes.values()), own, result[task.metric]


def _names(task: Task) -> dict[str, tuple[str, ...]]:
    """The agents of each group."""
    groups = parse_world(_world(task), "world").world.groups
    return {g: group.names for g, group in groups.items()}


def complete(record: Record, options: argparse.Namespace) -> None:
    """Make what is missing."""
    jobs = []
    for name in options.worlds:
        for row in options.rows:
            commit = commit_of(find_config(config_of(row)))
            count = 1 if row == RANDOM else options.seeds
            jobs += record.missing(f"{name}/{row}", commit, count)
    root = data_root() / "fresh" / f"mpe-{commit_of()[:10]}"
    (root / "configs").mkdir(parents=True, exist_ok=True)
    for name in {job.row.split("/")[0] for job in jobs}:
        if TASKS[name].rival:
            rival(name, root)
    record.make(jobs, lambda job: vars(score(job, root)), options.jobs)


def table(name: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One world's rows, the best first."""
    task = TASKS[name]
    head = ["agent", "team's return, median [all seeds]", "worst", "per agent", task.metric]
    head += ["steps", "CPU-s"] + ["EPyMARL"] * bool(task.published)
    lines = []
    for row, entry in rows.items():
        runs = entry["runs"]
        team = np.array([run["team_return"] for run in runs])
        cells = [
            f"`{row}`",
            f"{np.median(team):.1f} [{', '.join(f'{x:.1f}' for x in team)}]",
            f"{team.min():.1f}",
            f"{np.median([run['own_return'] for run in runs]):.2f}",
            f"{np.median([run['metric'] for run in runs]):.3f}",
            f"{runs[0]['steps']}",
            f"{np.median([run['cpu_seconds'] for run in runs]):.0f}",
        ]
        cells += [f"{task.published.get(row, '-')}"] * bool(task.published)
        lines.append((-float(np.median(team)), cells))
    return as_markdown((head, [cells for _, cells in sorted(lines)]))


def tables(record: Record) -> str:
    """Every world's section of the page."""
    parts = []
    for name in TASKS:
        of = {row: f"{name}/{row}" for row in ROWS}
        known = {row: record.rows[key] for row, key in of.items() if key in record.rows}
        parts.append(f"## {name}")
        if known:
            origins = record.origins([of[row] for row in known]).replace(f"{name}/", "")
            parts += [
                table(name, known),
                f"{origins}\n- `python benchmarks/mpe.py --worlds {name}`",
            ]
        if missing := [f"`{row}`" for row in ROWS if row not in known]:
            parts.append(f"Not measured yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--worlds", nargs="+", choices=TASKS, default=list(TASKS), metavar="WORLD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--page", action="store_true", help="of what is on record")
    options = parser.parse_args()
    record = Record(FILE, "mpe")
    if not options.page:
        complete(record, options)
    write_page(PAGE, Path(__file__).with_suffix(".md"), tables(record))


if __name__ == "__main__":
    main()
