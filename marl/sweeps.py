"""A sweep: configs times settings times seeds, a run for each, side by side on this machine.

    {"base": "spread", "settings": {"training.steps": 40000},
     "grid": {"agent.network": ["mlp", "set"], "world.num_agents": [4, 12]}, "seeds": 5}

`base` is a config or a list of configs (files, or names from `marl list`), `settings` apply to all
runs, `grid` holds the values to be combined, `seeds` is a list, or how many to use from 0. Each run
is one like any other, called SWEEP-BASE-VALUES-SEED (the base only where there are several), in a
process of its own with one torch thread. data/sweeps/NAME/sweep.json says which runs belong to it.
"""

import fcntl
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from marl.config import Config, load_config, parse_config, parse_section, read_json
from marl.errors import UserError
from marl.runs import Run, RunExists, data_root, find_config, run_state, write_json

POLL = 0.2  # seconds between two looks
PATIENCE = 150  # looks, until a run that another process trains is given up


class SweepFile(BaseModel):
    """What a sweep's JSON may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str | list[str]
    settings: dict[str, Any] = Field({}, description="dotted keys and values, for every run")
    grid: dict[str, list[Any]] = Field({}, description="dotted keys and the values to combine")
    seeds: int | list[int] = Field(1, description="a list, or how many from 0")


@dataclass(frozen=True)
class Job:
    """A run that belongs to a sweep."""

    name: str
    point: dict[str, Any]  # where it stands in the grid: dotted keys (and "base") and values
    seed: int
    config: Config

    @property
    def stats(self) -> Path:
        """The folder of its statistics."""
        return Run(self.name).stats


@dataclass
class Sweep:
    """A sweep with all its runs."""

    name: str
    jobs: list[Job]
    failures: dict[str, str] = field(default_factory=dict)  # of this process: run, reason

    @property
    def folder(self) -> Path:
        return data_root() / "sweeps" / self.name

    @contextmanager
    def held(self) -> Iterator[None]:
        """Held by this process. Raises UserError where another one holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / "lock", "w")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"cannot write {error.filename}: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"another process works on the sweep {self.name!r}") from error
            yield

    def write(self) -> None:
        """Say on the disk which runs belong to it."""
        runs = [{"name": job.name, "point": job.point, "seed": job.seed} for job in self.jobs]
        write_json(self.folder / "sweep.json", {"runs": runs})


def load_sweep(path: Path, name: str | None = None) -> Sweep:
    """The sweep in a JSON file, called `name` or as the file is. Raises UserError for whatever is
    wrong with it or with the config of any of its runs, before anything is trained."""
    data = read_json(path)
    file = parse_section(SweepFile, data, "sweep")
    name = name or path.stem
    bases = [file.base] if isinstance(file.base, str) else file.base
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else file.seeds
    lists: dict[str, list] = {"base": bases, "seeds": seeds, **file.grid}
    for key, values in lists.items():
        if not values:
            raise UserError(f"sweep.{key} names nothing to train")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UserError(f"sweep.{key} holds a value twice")
    jobs = []
    for base, *values in itertools.product(bases, *file.grid.values()):
        point = dict(zip(file.grid, values, strict=True))
        if len(bases) > 1:
            point = {"base": Path(base).stem, **point}
        fixed = {**file.settings, **dict(zip(file.grid, values, strict=True))}
        settings = [f"{key}={json.dumps(value)}" for key, value in fixed.items()]
        for seed in seeds:
            config = load_config(find_config(base), [*settings, f"training.seed={seed}"])
            words = [name, *(_word(value) for value in point.values()), str(seed)]
            jobs.append(Job("-".join(words), point, seed, config))
    names = [job.name for job in jobs]
    if twice := next((x for x in names if names.count(x) > 1), None):
        raise UserError(f"two runs of the sweep would both be called {twice!r}")
    return Sweep(name, jobs)


def _word(value: Any) -> str:
    """A value as part of a run's name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("_")


def runs_of(name: str) -> list[dict[str, Any]]:
    """[{name, point, seed}] of a sweep that was begun."""
    stored = read_json(data_root() / "sweeps" / name / "sweep.json")
    return stored["runs"]


def sweep_or_run(name: str) -> list[str]:
    """The runs of a sweep, or the one run of that name."""
    return [run["name"] for run in runs_of(name)] if name in sweep_names() else [name]


def sweep_names() -> list[str]:
    """Every sweep that was begun."""
    return sorted(path.parent.name for path in data_root().glob("sweeps/*/sweep.json"))


# ----------------------------------------------------------------------------------------- running


def run_sweep(sweep: Sweep, workers: int) -> Iterator[dict[str, str]]:
    """Train what is not finished, `workers` runs at a time; yields, several times a second, what
    each run is: "waiting", "training", "finished" or "failed" (why: `sweep.failures`).

    Raises UserError where another process works on it or a run of that name has another config;
    KeyboardInterrupt after Ctrl-C or SIGTERM, once all runs are saved.
    """
    with sweep.held(), _stopping() as stop, ThreadPoolExecutor(workers) as threads:
        finished = {job.name: _finished(job) for job in sweep.jobs}
        states = {name: "finished" if done else "waiting" for name, done in finished.items()}
        sweep.write()
        processes = _Processes()

        def train(job: Job) -> None:
            if stop.is_set():
                return
            states[job.name] = "training"
            if reason := processes.train(job):
                sweep.failures[job.name] = reason
            states[job.name] = "failed" if reason else "finished"

        pending = {threads.submit(train, job) for job in sweep.jobs if not finished[job.name]}
        try:
            while pending and not stop.is_set():
                yield dict(states)
                pending = wait(pending, POLL).not_done
        finally:
            stop.set()  # whatever the reason: begin nothing any more
            processes.stop()
            wait(pending)
        if pending:
            raise KeyboardInterrupt(
                f"Stopped; all runs are saved: the same command continues the sweep {sweep.name!r}"
            )
        yield dict(states)


def _finished(job: Job) -> bool:
    """Raises UserError where a run of that name has another config."""
    state = run_state(job.name)
    if state.config is not None and state.config != job.config:
        was, now = state.config.flat(), job.config.flat()
        key = next(key for key in sorted({*was, *now}) if was.get(key) != now.get(key))
        raise UserError(
            f"there is a run {job.name!r} already, with {key} {was.get(key)} instead of "
            f"{now.get(key)}: give the sweep another --name, or remove the run"
        )
    return state.state == "finished"


class _Processes:
    """Processes that train, one run after the other; one that dies takes only its run with it."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen] = []
        self._idle: list[subprocess.Popen] = []

    def train(self, job: Job) -> str:
        """Train or resume a run; returns why that failed, or nothing."""
        process = self._idle.pop() if self._idle else self._start()
        task = {"name": job.name, "config": job.config.model_dump(mode="json")}
        answer = ""
        with suppress(BrokenPipeError):
            cast(IO[str], process.stdin).write(json.dumps(task) + "\n")
            cast(IO[str], process.stdin).flush()
            answer = cast(IO[str], process.stdout).readline()
        if answer:
            self._idle.append(process)
            return json.loads(answer)["failure"]
        status = process.wait()
        if status < 0:
            return f"its process was killed by {signal.Signals(-status).name}"
        return "its process was stopped"

    def _start(self) -> subprocess.Popen:
        """It has a session of its own, so that Ctrl-C reaches it through us only; and when we are
        gone, its standard input ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "marl.sweeps"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            env={**os.environ, "MARL_DATA": str(data_root().resolve())},
        )
        self._all.append(process)
        return process

    def stop(self) -> None:
        """Let all save and end."""
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._all:
            process.wait()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _work() -> None:
    """What such a process does: train or resume each {name, config} on its standard input, a line
    each, and answer {failure}. When no more lines can come, the sweep is gone: save and stop."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what training says would be in the way
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        answers.write(json.dumps({"failure": _trained(tasks.get())}) + "\n")
        answers.flush()


def _trained(task: dict[str, Any]) -> str:
    """Train a run or go on with it; returns why that failed, or nothing."""
    from marl.training import resume, train

    failure = ""
    for _ in range(PATIENCE):
        try:
            if run_state(task["name"]).config is None:
                train(parse_config(task["config"]), task["name"])
            else:
                resume(task["name"])
            return ""
        except RunExists as error:  # perhaps what a killed sweep left behind is still saving
            failure = str(error)
            time.sleep(POLL)
        except Exception as error:
            return " ".join(str(error).split()) or type(error).__name__
    return failure


if __name__ == "__main__":
    from marl.cli import run_command

    run_command(_work)
