"""A sweep: configs times settings times seeds, a run for each, side by side.

    {"base": "spread", "settings": {"training.steps": 40000},
     "grid": {"agent.network": ["mlp", "set"], "world.num_agents": [4, 12]}, "seeds": 5,
     "seeds_per_process": 5}

`base` is a config or a list of configs (files, or names from `marl list`), or says by name which
config with which settings of its own; `settings` apply to all runs, `grid` holds the values to be
combined, `seeds` is a list, or how many to use from 0. Each run is one like any other, called
SWEEP-BASE-VALUES-SEED (the base only where there are several).
Processes with one torch thread each, on this machine or on a Ray cluster (ray_runner.py), train one
run after the other, or `seeds_per_process` seeds of a config side by side on one stack of networks.
data/sweeps/NAME/sweep.json says which runs belong to a sweep.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from marl.config import Config, load_config, parse_config, parse_section, read_json
from marl.errors import UserError
from marl.frozen import settled
from marl.runs import (
    Run,
    RunExists,
    data_root,
    difference,
    find_config,
    run_state,
    write_json,
)

POLL = 0.2  # seconds between two looks
PATIENCE = 150  # looks, until a run that another process trains is given up


class Base(BaseModel):
    """A config with settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str = Field(description="a file, or a name from `marl list`")
    settings: dict[str, Any] = Field({}, description="dotted keys and values")


class SweepFile(BaseModel):
    """What a sweep's JSON may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: dict[str, Base] = Field(description="configs by name: files, or names from `marl list`")
    settings: dict[str, Any] = Field({}, description="dotted keys and values, for every run")
    grid: dict[str, list[Any]] = Field({}, description="dotted keys and the values to combine")
    seeds: int | list[int] = Field(1, description="a list, or how many from 0")
    seeds_per_process: int = Field(1, ge=1, description="seeds that are trained side by side")

    @field_validator("base", mode="before")
    @classmethod
    def _named(cls, base: Any) -> Any:
        """A config goes by its file's name unless another one is given."""
        configs = [base] if isinstance(base, str) else base
        if isinstance(configs, list) and all(isinstance(config, str) for config in configs):
            named = {Path(config).stem: {"config": config} for config in configs}
            if len(named) < len(configs):
                raise ValueError("should not hold a config twice")
            return named
        if not isinstance(base, dict):
            raise ValueError("should be a config, a list of them, or {name: {config, settings}}")
        return base


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
    seeds_per_process: int = 1
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

    def batches(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """Jobs that are trained side by side: of one point in the grid, as many as allowed."""
        batches = []
        for _, same in itertools.groupby(jobs, lambda job: json.dumps(job.point)):
            row = list(same)
            starts = range(0, len(row), self.seeds_per_process)
            batches += [row[i : i + self.seeds_per_process] for i in starts]
        return batches

    def write(self) -> None:
        """Say on the disk which runs belong to it."""
        runs = [{"name": job.name, "point": job.point, "seed": job.seed} for job in self.jobs]
        write_json(self.folder / "sweep.json", {"runs": runs})
        self._link()

    def _link(self) -> None:
        """Links to the statistics of its runs as TensorBoard is to group them:
        data/tensorboard/SWEEP/POINT/SEED."""
        folder = data_root() / "tensorboard" / self.name
        for job in self.jobs:
            words = [_word(value) for value in job.point.values()]
            link = folder / "-".join(words) / str(job.seed)
            target = os.path.relpath(job.stats, link.parent)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(target)
            except OSError as error:
                raise UserError(f"cannot write {link}: {error.strerror}") from error


def load_sweep(path: Path, name: str | None = None) -> Sweep:
    """The sweep in a JSON file, called `name` or as the file is. Raises UserError for whatever is
    wrong with it or with the config of any of its runs, before anything is trained."""
    data = read_json(path)
    file = parse_section(SweepFile, data, "sweep")
    name = name or path.stem
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else file.seeds
    lists: dict[str, list] = {"base": list(file.base), "seeds": seeds, **file.grid}
    for key, values in lists.items():
        if not values:
            raise UserError(f"sweep.{key} names nothing to train")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UserError(f"sweep.{key} holds a value twice")
    jobs = []
    for (called, base), *values in itertools.product(file.base.items(), *file.grid.values()):
        point = dict(zip(file.grid, values, strict=True))
        fixed = {**file.settings, **base.settings, **point}
        if len(file.base) > 1:
            point = {"base": called, **point}
        settings = [f"{key}={json.dumps(value)}" for key, value in fixed.items()]
        for seed in seeds:
            own = [*settings, f"training.seed={seed}"]
            config = settled(load_config(find_config(base.config), own))
            words = [name, *(_word(value) for value in point.values()), str(seed)]
            jobs.append(Job("-".join(words), point, seed, config))
    names = [Run(job.name).name for job in jobs]
    if twice := next((x for x in names if names.count(x) > 1), None):
        raise UserError(f"two runs of the sweep would both be called {twice!r}")
    return Sweep(name, jobs, file.seeds_per_process)


def _word(value: Any) -> str:
    """A value as part of a run's name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("_")


def runs_of(name: str) -> list[dict[str, Any]]:
    """[{name, point, seed}] of a sweep that was begun. Raises UserError where its file is
    damaged."""
    path = data_root() / "sweeps" / name / "sweep.json"
    stored = read_json(path)
    try:
        return [{"name": str(x["name"]), "point": dict(x["point"]), "seed": int(x["seed"])}
                for x in stored["runs"]]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: it does not say which runs there are") from error


def sweep_or_run(name: str) -> list[str]:
    """The runs of a sweep, or the one run of that name."""
    return [run["name"] for run in runs_of(name)] if name in sweep_names() else [name]


def sweep_names() -> list[str]:
    """Every sweep that was begun."""
    return sorted(path.parent.name for path in data_root().glob("sweeps/*/sweep.json"))


# ----------------------------------------------------------------------------------------- running


class Runner(Protocol):
    """What trains the runs of a sweep."""

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        """Train runs, {name: config}, side by side, or go on with them; returns why some failed, by
        name. Called in several threads."""

    def stop(self) -> None:
        """Let all save and end, so that every `train` returns."""


def run_sweep(sweep: Sweep, workers: int, runner: Runner | None = None) -> Iterator[dict[str, str]]:
    """Train what is not finished, `workers` runs at a time, in processes on this machine unless
    there is another `runner`, and keep of finished runs no more than weights and logs; yields,
    several times a second, what each run is: "waiting", "training", "finished" or "failed" (why:
    `sweep.failures`).

    Raises UserError where another process works on it or a run of that name has another config;
    KeyboardInterrupt after Ctrl-C or SIGTERM, once all runs are saved.
    """
    runner = runner or Processes()
    with sweep.held(), _stopping() as stop, ThreadPoolExecutor(workers) as threads:
        finished = {job.name: _finished(job) for job in sweep.jobs}
        states = {name: "finished" if done else "waiting" for name, done in finished.items()}
        sweep.write()
        for job in sweep.jobs:
            if finished[job.name]:
                _forget_state(job)

        def train(jobs: list[Job]) -> None:
            if stop.is_set():
                return
            states.update({job.name: "training" for job in jobs})
            failures = runner.train({job.name: job.config.model_dump(mode="json") for job in jobs})
            sweep.failures.update(failures)
            for job in jobs:
                states[job.name] = "failed" if job.name in failures else "finished"
                if job.name not in failures:
                    _forget_state(job)

        jobs = [job for job in sweep.jobs if not finished[job.name]]
        pending = {threads.submit(train, batch) for batch in sweep.batches(jobs)}
        try:
            while pending and not stop.is_set():
                yield dict(states)
                pending = wait(pending, POLL).not_done
        finally:
            stop.set()  # whatever the reason: begin nothing any more
            runner.stop()
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
        raise UserError(
            f"there is a run {job.name!r} already, with {difference(state.config, job.config)}: "
            "give the sweep another --name, or remove the run"
        )
    return state.state == "finished"


def _forget_state(job: Job) -> None:
    """Remove what a finished run would need to be trained further: replay, mostly, and some 100 MB
    of it, which fills a disk where there are many runs."""
    with suppress(OSError):
        Run(job.name).state.unlink()


class Processes:
    """Processes on this machine; one that dies takes only its run with it."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen] = []
        self._idle: list[subprocess.Popen] = []
        self._lock = threading.Lock()  # between giving out work and stopping
        self._stopped = False

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        """As `Runner` says."""
        with self._lock:
            if self._stopped:
                return dict.fromkeys(configs, "the sweep was stopped")
            process = self._idle.pop() if self._idle else self._start()
            with suppress(BrokenPipeError):
                cast(IO[str], process.stdin).write(json.dumps(configs) + "\n")
                cast(IO[str], process.stdin).flush()
        answer = cast(IO[str], process.stdout).readline()
        if answer:
            self._idle.append(process)
            return json.loads(answer)
        status = process.wait()
        reason = "its process was stopped"
        if status < 0:
            reason = f"its process was killed by {signal.Signals(-status).name}"
        return dict.fromkeys(configs, reason)

    def _start(self) -> subprocess.Popen:
        """It has a session of its own, so that Ctrl-C does not reach it: it stops when its standard
        input ends, be it that we close it or are gone."""
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
        """As `Runner` says."""
        with self._lock:
            self._stopped = True
        for process in self._all:
            with suppress(BrokenPipeError):
                cast(IO[str], process.stdin).close()
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
    """What such a process does: train the {name: config} on each line of its standard input, and
    answer which failed, {name: why}. When no more lines can come, save and stop."""
    import marl.training  # noqa: F401 (takes seconds, in which an interrupt might get lost)

    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in all its children
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what training says would be in the way
    tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        tasks.put(None)  # for a run that ends just now and takes no notice of what follows
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()
    while (task := tasks.get()) is not None:
        answers.write(json.dumps(_failures(task)) + "\n")
        answers.flush()


def _failures(task: dict[str, Any]) -> dict[str, str]:
    """Train runs, {name: config}; returns why some failed. The others go on from their last
    checkpoint."""
    from marl.training import NotFinite, train_together

    failures: dict[str, str] = {}
    patience = PATIENCE
    while configs := {k: parse_config(v) for k, v in task.items() if k not in failures}:
        try:
            train_together(configs)
            break
        except NotFinite as error:
            failures[error.run] = str(error)
        except Exception as error:
            if isinstance(error, RunExists) and patience:
                # perhaps what a killed sweep left behind is still saving
                patience -= 1
                time.sleep(POLL)
                continue
            reason = " ".join(str(error).split()) or type(error).__name__
            return failures | dict.fromkeys(configs, reason)
    return failures


if __name__ == "__main__":
    from marl.cli import run_command

    run_command(_work)
