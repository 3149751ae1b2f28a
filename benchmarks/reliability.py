"""Kills training at random moments: finished runs, files and final weights must survive.

    make test-reliability                         50 kills of every kind of agent and world in turn
    python benchmarks/reliability.py [--kills 50] [--seed 0]
    python benchmarks/reliability.py --quick      two kills of a run: does it work at all?

Kinds of work take turns: a run of every kind of agent and world (`marl train`, then `marl resume`),
a sweep, and a sweep with two seeds to a process. Each trains once without interruption. Then it
trains anew: it is killed at a random moment, checked, and continued with the user's command, until
it reaches its end. This repeats until the number of kills is reached. A kill is SIGKILL, SIGINT or
SIGTERM to the command, or SIGKILL to one or all of its training processes. Half of the kills wait
until a file is written.

After every kill, while remaining processes may still be saving: every file is readable, and no
finished run has changed. At every end: all weights have the bytes of the uninterrupted work, and
the logs have its lines, but for the time that they took. Seeds that share a process may differ from
an uninterrupted sweep only if a kill fell between their checkpoints; the script counts these cases.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from marl.config.json_text import read_json
from marl.runs.checkpoint import read_checkpoint
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.sweeps.sweep import runs_of, sweep_names

STEPS = 4000
PATIENCE = 300  # seconds, until a command hangs
CONFIG = {
    "world": {"episode_length": 10},
    "agent": {"hidden": [8], "average": 0.9},
    "training": {
        "steps": STEPS, "num_worlds": 4, "batch_size": 8, "replay_size": 150,
        "learning_starts": 16, "update_every": 8, "log_every": 200, "checkpoint_every": 200,
        "evaluate_every": 2000, "publish": "best",
    },
}  # fmt: skip
TAG = ["world={}", "world.scenario=tag", "world.episode_length=10"]
PREY = "prey/models/prey/weights.safetensors"  # the weights of the frozen group
KINDS = {
    "run": [],
    "bids": ["agent.name=auction", "agent.message_loss=0.2", "agent.message_delay=1"],
    "messages": ["agent={}", "agent.name=messages", "agent.message_delay=1"],
    "attention": ["agent.name=atoc_comm", "agent.period=3"],
    "groups": [*TAG, "agent.name=maddpg", "agents.good=ddpg"],
    "frozen": [*TAG, "agent.name=ddpg", f"agents.good.frozen={PREY}"],
    "policy": [*TAG, "agent.name=maddpg", "agents.good=random"],
    "noise": ["agent.name=maddpg", "exploration.kind=psne"],
    "discrete": ["agent.name=maddpg", "world.actions=discrete"],
    "islands": ['training.vary={"num_landmarks": [4, 6]}'],
    "sizes": ["training.num_agents=[2, 4]"],
    "tennis": ["world={}", "world.scenario=tennis", "agent.name=maddpg"],
    "pettingzoo": [
        "world={}", "world.scenario=pettingzoo:mpe2/simple_tag_v3", "world.processes=2",
        "agent.name=maddpg", "training.evaluate_every=0",
    ],
}  # fmt: skip
SWEEP = {"base": "tiny.json", "grid": {"agent.hidden": [[8], [4, 8]]}, "seeds": 2}


@dataclass
class Work:
    """Work to train: the commands that begin or continue it, and its runs, grouped by process."""

    name: str
    runs: list[list[str]]
    begin: list[str]
    go_on: list[str] = field(default_factory=list)  # where that is another command

    def command(self) -> list[str]:
        started = self.go_on and Run(self.runs[0][0]).stats.joinpath("config.json").exists()
        return [sys.executable, "-m", "marl.cli", *(self.go_on if started else self.begin)]

    @property
    def names(self) -> list[str]:
        return [name for together in self.runs for name in together]


RUNS = [
    Work(
        kind, [[kind]],
        ["train", "tiny.json", "--name", kind, *(["--set", *settings] if settings else [])],
        ["resume", kind],
    )
    for kind, settings in KINDS.items()
]  # fmt: skip
ALONE = Work(
    "sweep", [[f"s-{x}-{seed}"] for x in ("8", "4_8") for seed in (0, 1)],
    ["sweep", "s.json", "--workers", "2"],
)  # fmt: skip
TOGETHER = Work(
    "sweep of pairs", [[f"p-{x}-{seed}" for seed in (0, 1)] for x in ("8", "4_8")],
    ["sweep", "p.json", "--workers", "2"],
)  # fmt: skip


# ------------------------------------------------------------------------------------- the commands


def use(root: Path) -> None:
    """Keep all runs below this folder."""
    os.environ["MARL_DATA"] = str(root)


def start(work: Work) -> subprocess.Popen:
    return subprocess.Popen(
        work.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def trainers(process: subprocess.Popen) -> list[int]:
    """The processes that train for a sweep."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == process.pid:
                found.append(int(folder.name))
    return found


def kill(process: subprocess.Popen, how: str, dice: random.Random) -> None:
    """Send the signals; wait for the command, not for its remaining processes."""
    others = trainers(process)
    if how == "SIGKILL to a trainer" and others:
        os.kill(dice.choice(others), signal.SIGKILL)
    elif how == "SIGKILL to all":
        for number in dice.sample([*others, process.pid], len(others) + 1):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    else:
        process.send_signal(getattr(signal, how.split()[0]))


def end(process: subprocess.Popen) -> None:
    """Wait for a command; it must end, without a traceback."""
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"{process.args!r} does not end") from None
    if "Traceback" in said and "KeyboardInterrupt" not in said:
        raise SystemExit(f"a traceback:\n{said}")


def wait_for_a_write(process: subprocess.Popen, root: Path, patience: float) -> None:
    """Wait until a file is about to be written, or until the time is over."""
    until = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < until:
        if list(root.glob("*/*/.*.partial")):
            return
        time.sleep(0.0005)


# --------------------------------------------------------------------------------------- the checks


def digest(name: str) -> str:
    return hashlib.sha256(Run(name).weights.read_bytes()).hexdigest()


def steps(name: str) -> int:
    """The step of a run's state. A sweep removes the states of finished runs."""
    run = Run(name)
    if run.state.exists():
        return read_checkpoint(run.state, "state").step
    return STEPS if run_state(name).state == "finished" else 0


def check_files(work: Work) -> None:
    """Read every file of the runs; raise an error if one cannot be read."""
    for name in work.names:
        run = Run(name)
        if run.weights.exists():
            step = read_checkpoint(run.weights).step
            assert step <= steps(name) <= STEPS, f"{name}: the weights are ahead of the state"
        if (run.stats / "config.json").exists():
            read_json(run.stats / "config.json")
        problem = run_state(name).problem
        assert not problem, problem
        if (run.stats / "log.jsonl").exists():
            *lines, _ = (run.stats / "log.jsonl").read_text().split("\n")
            for line in lines:
                json.loads(line)
        if (curve := run.stats / "curve.png").exists():
            picture = curve.read_bytes()
            assert (picture[1:4], picture[-8:-4]) == (b"PNG", b"IEND"), curve
    for sweep in sweep_names():
        assert [run["name"] for run in runs_of(sweep)] == work.names


def logged(name: str) -> list[dict]:
    """The lines of a log, without the time that they took."""
    timed = ("cpu_seconds", "wall_seconds", "steps_per_second")
    lines = read_log(Run(name).stats)
    return [{k: x for k, x in line.items() if k not in timed} for line in lines]


@dataclass
class Expected:
    """The results of uninterrupted work."""

    digests: dict[str, str]
    logs: dict[str, list[dict]]
    seconds: float


def uninterrupted(work: Work, root: Path) -> Expected:
    use(root)
    begun = time.monotonic()
    end(start(work))
    seconds = time.monotonic() - begun
    check_files(work)
    return Expected(
        {name: digest(name) for name in work.names},
        {name: logged(name) for name in work.names},
        seconds,
    )


@dataclass
class Tally:
    """Counts of kills and their outcomes."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)  # work, how
    moments: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)  # of work
    apart: int = 0  # pairs whose checkpoints a kill fell between
    equal: int = 0  # runs with the bytes of the uninterrupted ones

    @property
    def total(self) -> int:
        return sum(self.kills.values())


def moment(work: Work, root: Path, begun: float, before: list[int]) -> str:
    """The moment of the kill, found from the files. `begun`: the start of the work; `before`: the
    steps that it continued from."""
    states = [run_state(name) for name in work.names]
    for path in root.glob("*/*/.*.partial"):
        with suppress(FileNotFoundError):  # it has just been put in place
            if path.stat().st_mtime > begun:
                return "while a file was written"
    if all(state.state == "new" for state in states):
        return "before any file"
    if all(state.state == "finished" for state in states):
        return "after the last weights"
    if [steps(name) for name in work.names] == before:
        return "before another checkpoint"
    return "between checkpoints"


def survive(work: Work, root: Path, expected: Expected, dice: random.Random, tally: Tally,
            kills: int) -> None:  # fmt: skip
    """Train the work anew with a limited number of kills; check it after each and at its end."""
    use(root)
    finished: dict[str, str] = {}
    apart: set[str] = set()
    ways = ["SIGKILL", "SIGINT", "SIGTERM"]
    if work in (ALONE, TOGETHER):
        ways += ["SIGKILL to a trainer", "SIGKILL to all"]
    while True:
        begun, before = time.time(), [steps(name) for name in work.names]
        process = start(work)
        if tally.total < kills:
            with suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0, expected.seconds))
            if dice.random() < 0.5:
                wait_for_a_write(process, root, patience=1.0)
                time.sleep(dice.uniform(0, 0.01))
        how = dice.choice(ways)
        killed = tally.total < kills and process.poll() is None
        if killed:
            kill(process, how, dice)
            check_files(work)
        end(process)
        check_files(work)
        for name in work.names:
            if run_state(name).state == "finished":
                assert finished.setdefault(name, digest(name)) == digest(name), f"{name} changed"
            assert name not in finished or run_state(name).state == "finished", f"{name} is lost"
        if killed:
            when = moment(work, root, begun, before)
            tally.kills[work.name, how] += 1
            tally.moments[when] += 1
            reached = ", ".join(str(steps(name)) for name in work.names)
            print(f"kill {tally.total}: {work.name}, {how}, {when}; step {reached}", flush=True)
            for together in work.runs:
                if len({steps(name) for name in together}) > 1 and not apart & {*together}:
                    apart |= {*together}
                    tally.apart += 1
        if process.returncode == 0:
            break
        assert killed or process.returncode != 2, f"{work.command()} failed"
    for name in work.names:
        assert run_state(name).state == "finished", name
        if name not in apart:
            assert logged(name) == expected.logs[name], f"{name}: the log is another one"
            assert digest(name) == expected.digests[name], f"{name}: the weights are others"
            tally.equal += 1
    tally.ends[work.name] += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only these kinds of work")
    parser.add_argument("--quick", action="store_true", help="two kills of a run")
    options = parser.parse_args()
    works = [*RUNS, ALONE, TOGETHER]
    if options.kinds:
        works = [work for work in works if work.name in options.kinds]
    if options.quick:
        works, options.kills = RUNS[:1], 2
    print(shlex.join(["python", *sys.argv]), f"seed {options.seed}", sep="\n", flush=True)
    dice, tally = random.Random(options.seed), Tally()
    begun = time.monotonic()
    folder = tempfile.mkdtemp()  # left where it is if anything is wrong
    print(folder, flush=True)
    with contextlib.chdir(folder):
        Path("tiny.json").write_text(json.dumps(CONFIG))
        Path("s.json").write_text(json.dumps(SWEEP))
        Path("p.json").write_text(json.dumps({**SWEEP, "seeds_per_process": 2}))
        if any(work.name == "frozen" for work in works):
            use(Path(folder, "prey"))
            settings = [*TAG, "agent.name=ddpg", "training.steps=40"]
            command = ["train", "tiny.json", "--name", "prey", "--set", *settings]
            end(start(Work("prey", [["prey"]], command)))
        expected = [uninterrupted(work, Path(folder, f"whole-{work.name}")) for work in works]
        rounds = 0
        while tally.total < options.kills:
            number = rounds % len(works)
            root = Path(folder, f"killed-{rounds}")
            survive(works[number], root, expected[number], dice, tally, options.kills)
            rounds += 1
    shutil.rmtree(folder)
    print(f"\n{tally.total} kills in {time.monotonic() - begun:.0f} s, seed {options.seed}")
    for (work, how), number in sorted(tally.kills.items()):
        print(f"{number:6} {work}: {how}")
    for when, number in tally.moments.most_common():
        print(f"{number:6} {when}")
    print(f"Trained to the end: {', '.join(f'{n} x {work}' for work, n in tally.ends.items())}.")
    print(f"{tally.equal} runs have the bytes of the uninterrupted ones.")
    print(f"{tally.apart} pairs were killed between their checkpoints.")
    print("No finished run was lost, no file was broken.")


if __name__ == "__main__":
    main()
