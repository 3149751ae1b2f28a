"""Our learners beside BenchMARL's in the same worlds, and our training loops beside JaxMARL's.

    python benchmarks/learning.py [vmas spread jaxmarl] [--rows ippo qmix ...] [--frames 120000]
                                  [--seeds 5] [--peer-seeds 5] [--development]
    python benchmarks/learning.py --page           docs/other-learners.md from what is on record

In `vmas` (VMAS's simple_spread) and `spread` (marl's, with MPE's settings) each row of ours has the
settings and the number of steps of data/json/ROW.json (at least `--frames`). BenchMARL's has its
own settings and `--frames` steps. `jaxmarl` measures env-steps per CPU-second of whole training
loops. `make bench-peers` builds the peers' environment.

The hash of the measured commit gives our seeds, the peer's version gives the peer's; all are 1000
or more. Finished runs stay in benchmarks/peers/WORLD_ROW.json, so the command continues where it
stopped. A later commit of marl/ or of the config starts our runs of this row anew, another number
of frames the peer's. `--development` uses seeds 0, 1... and keeps its results in data/learning.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import loops
from commands import config_name, trained
from fresh import commit_of, drawn
from learning_tables import Point, page
from records import write_page
from simulator import ROOT

from marl.config.model import Config
from marl.config.parsing import find_config, parse_config, read_config
from marl.errors import UserError
from marl.evaluation import measure
from marl.folders import data_root
from marl.policies.builtin import BUILTIN
from marl.runs.files import write_json

FOLDER = Path(__file__).parent / "peers"
PAGE = Path("docs/other-learners.md")
ROWS = ("ippo", "mappo", "qmix", "vdn", "iql", "isac", "masac")
OURS, PEER = "marl", "BenchMARL"
LIBRARIES = (OURS, PEER)
VERSION = "benchmarl==1.5.2"  # as in peers/requirements.txt
BATCH = 6000  # frames that BenchMARL collects before it learns
EPISODES = 2000  # of random play

WORLDS: dict[str, dict[str, Any]] = {
    "vmas": {
        "scenario": "benchmarks.vmas_spread:VmasSpread",
        "episode_length": 100,
    },
    "spread": {
        "scenario": "spread",
        "num_agents": 3,
        "agent_density": 3,
        "observation": "everything",
        "reward": "mpe2",
        "integration": "explicit",
        "actions": "discrete",
        "episode_length": 25,
    },
}
"""The section `world` of our configs: the world that peers/learning.py makes for BenchMARL."""

Q_LEARNERS = ("qmix", "vdn", "iql")  # choose among moves in any world


def settings(world: str, row: str, config: str, frames: int, every: int) -> dict[str, Any]:
    """Our config of a row in one of these worlds, as JSON, with at least `frames` steps. Raises
    UserError without a config."""
    data = read_config(find_config(config))
    section = dict(WORLDS[world])
    section.setdefault("actions", "discrete" if row in Q_LEARNERS else "continuous")
    steps = max(data.get("training", {}).get("steps", 0), frames)
    steps = -(-steps // every) * every  # the last one is evaluated
    schedule = {"steps": steps, "log_every": every, "evaluate_every": every}
    fixed = {"checkpoint_every": 0, "evaluate_agents": [], "vary": {}, "num_agents": []}
    training = {**data.get("training", {}), **schedule, **fixed}
    return {**data, "world": section, "training": training, "evaluation": {"world": {}}}


def random_return(config: Config) -> float:
    """The return of random play, mean over agents and episodes."""
    random = BUILTIN["random"]
    played = measure(random, config.world, config.world.agent_count, EPISODES, 0)
    return float(played["reward"].mean()) * steps_of(config)


def steps_of(config: Config) -> int:
    """The length of an episode."""
    return int(config.world.model_dump()["episode_length"])


def curve_of(log: list[dict[str, Any]], metric: str = "reward", steps: int = 1) -> list[Point]:
    """The learning curve in a run's log: env-steps, CPU seconds of training without evaluations,
    and a metric of greedy play, summed over so many steps. Before each evaluation there is a line
    of the same step."""
    points, before, left_out = [], 0.0, 0.0
    for line in log:
        if "evaluation" in line:
            value = line["evaluation"][metric] * steps
            points.append((line["step"], round(before - left_out, 3), value))
            left_out += line["cpu_seconds"] - before
        before = line["cpu_seconds"]
    return points


# ------------------------------------------------------------------------------------- the records


class Record:
    """What is on record of a row in a world: {"world", "row", "random", LIBRARY: {"of": what makes
    runs comparable, "runs": {seed: curve}}}."""

    def __init__(self, folder: Path, world: str, row: str) -> None:
        self.path = folder / f"{world}_{row}.json"
        self.data: dict[str, Any] = {"world": world, "row": row}
        if self.path.exists():
            self.data = json.loads(self.path.read_text("utf-8"))

    def begin(self, library: str, of: dict[str, Any]) -> None:
        """Forget the runs of anything else."""
        if self.data.get(library, {}).get("of") != of:
            self.data[library] = {"of": of, "runs": {}}

    def missing(self, library: str, seeds: list[int]) -> list[int]:
        """Those of the seeds that have not been run."""
        return [seed for seed in seeds if str(seed) not in self.data[library]["runs"]]

    def keep(self, library: str, seed: int, curve: list[Point], **about: Any) -> None:
        """Add a finished run and write the file."""
        self.data[library].update(about)
        self.data[library]["runs"][str(seed)] = curve
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.data)


Job = tuple[Record, str, int, Callable[[], dict[str, Any]]]
"""A run that is missing: where its result belongs, and how to make it."""


def our_jobs(record: Record, options: argparse.Namespace) -> list[Job]:
    """Our missing runs of a row. Raises UserError if there is no such config, or a bad one."""
    world, row = record.data["world"], record.data["row"]
    name = options.config or config_name(row, WORLDS[world].get("actions") == "discrete")
    data = settings(world, row, name, options.frames, options.every)
    config = parse_config(data)
    commit, seeds = "development", list(range(options.seeds))
    if not options.development:
        commit = commit_of(find_config(name))
        seeds, _ = drawn(commit, f"learning {world} {row}", options.seeds)
    record.begin(OURS, {"commit": commit, "config": data})
    record.data.setdefault("random", random_return(config))
    root = data_root() / "learning" / commit[:11]
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]
    file = root / "configs" / f"{world}_{row}-{digest}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, data)

    def run(seed: int) -> dict[str, Any]:
        log = trained(f"{file.stem}-{seed}", file, seed, root=root)
        return {"curve": curve_of(log, steps=steps_of(config))}

    return [(record, OURS, s, partial(run, s)) for s in record.missing(OURS, seeds)]


def peer_jobs(record: Record, options: argparse.Namespace) -> list[Job]:
    """BenchMARL's missing runs of a row."""
    world, row = record.data["world"], record.data["row"]
    seeds = list(range(options.peer_seeds))
    if not options.development:
        seeds, _ = drawn(VERSION, f"learning {world} {row}", options.peer_seeds)
    record.begin(PEER, {"version": VERSION, "frames": options.frames, "every": options.every})

    def run(seed: int) -> dict[str, Any]:
        return train_peer(options.peers, world, row, options.frames, options.every, seed)

    return [(record, PEER, s, partial(run, s)) for s in record.missing(PEER, seeds)]


def train_peer(
    python: str, world: str, row: str, frames: int, every: int, seed: int
) -> dict[str, Any]:
    """BenchMARL's curve, versions and settings. Raises UserError if it fails."""
    numbers = {"frames": frames, "every": every, "seed": seed}
    flags = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    command = [python, str(FOLDER / "learning.py"), row, world, *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"there is no {python}: make bench-peers") from error
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise UserError(f"BenchMARL's {row} failed in {world}: {why}")
    about, *lines = map(json.loads, done.stdout.splitlines())
    return {**about, "curve": [(x["frames"], x["cpu_seconds"], x["return"]) for x in lines]}


# ---------------------------------------------------------------------------------------- the run


def jobs(options: argparse.Namespace) -> tuple[list[Job], list[str]]:
    """The missing runs, first seeds first, and sentences about those that cannot be made."""
    ranked: list[tuple[int, Job]] = []
    left_out = []
    for world in [name for name in options.worlds if name in WORLDS]:
        for row in options.rows:
            record = Record(options.folder, world, row)
            ranked += enumerate(peer_jobs(record, options))
            try:
                ranked += enumerate(our_jobs(record, options))
            except UserError as error:
                left_out.append(f"marl's {row} is left out in {world}: {error}")
    return [job for _, job in sorted(ranked, key=lambda one: one[0])], left_out


def run(options: argparse.Namespace) -> list[str]:
    """Make the missing runs, and keep each as it ends; sentences about those that failed."""
    todo, failed = jobs(options)
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(job[-1]): job[:-1] for job in todo}
        for future in as_completed(running):
            record, library, seed = running[future]
            try:
                record.keep(library, seed, **future.result())
            except (UserError, SystemExit) as error:
                failed.append(str(error))
                continue
            print(f"{record.path.stem}, {library}, seed {seed}: done", flush=True)
    return failed


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = (*WORLDS, "jaxmarl")
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=f"of {', '.join(known)}")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument(
        "--frames", type=int, default=120_000, help="BenchMARL's env-steps, of all worlds"
    )
    parser.add_argument("--every", type=int, default=12_000, help="frames between evaluations")
    parser.add_argument("--seeds", type=int, default=5, help="of ours")
    parser.add_argument("--peer-seeds", type=int, default=5, help="of BenchMARL's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--peers", metavar="PYTHON", help="the interpreter that has the peers")
    parser.add_argument("--development", action="store_true", help="seeds 0, 1..., data/learning")
    parser.add_argument("--config", help="with --development: ours, in place of the rows' own")
    parser.add_argument("--page", action="store_true", help="write the guide's page, run nothing")
    options = parser.parse_args()
    if unknown := [name for name in options.worlds if name not in known]:
        parser.error(f"{unknown[0]!r} is no world; choose from {', '.join(known)}")
    for name, of in (("every", BATCH), ("frames", options.every)):
        if (number := getattr(options, name)) < 1 or number % of:
            parser.error(f"--{name} is {number}, but should be a multiple of {of}")
    if options.config and not options.development:
        parser.error("--config is for --development only: a table has the rows' own configs")
    if options.page and (options.development or options.worlds or options.rows != ROWS):
        parser.error("--page writes the whole page: it goes with no other choice")
    options.worlds = options.worlds or known
    options.peers = options.peers or str(ROOT / ".venv-peers" / "bin" / "python")
    options.folder = data_root() / "learning" if options.development else FOLDER
    return options


def tables(options: argparse.Namespace) -> str:
    """What is on record of the worlds that are asked for, in Markdown."""
    records = [
        Record(options.folder, world, row).data
        for world in WORLDS
        if world in options.worlds
        for row in options.rows
    ]
    loop = loops.page(options.folder) if "jaxmarl" in options.worlds else ""
    return "\n".join(filter(None, [page(records, OURS, PEER), loop]))


def main() -> None:
    options = parsed()
    if options.page:
        write_page(PAGE, Path(__file__).with_suffix(".md"), tables(options))
        return
    failed = run(options)
    if "jaxmarl" in options.worlds:
        failed += loops.run(options.folder, options.peers)
    print(tables(options))
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
