"""Runners train the runs of a sweep: here, processes on this machine."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import IO, Any, Protocol, cast

from marl.errors import UserError
from marl.folders import data_root
from marl.processes import python
from marl.runs.run import Run, difference, run_state
from marl.sweeps.sweep import Job, Sweep
from marl.training.interrupts import stopping

POLL = 0.2  # seconds between two looks


class Runner(Protocol):
    """The interface of runners."""

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        """Train or continue runs, {name: config}, side by side; return the reasons of failures by
        name. Called in several threads."""

    def stop(self) -> None:
        """Let all runs save and end, so that every `train` returns."""


def run_sweep(sweep: Sweep, workers: int, runner: Runner | None = None) -> Iterator[dict[str, str]]:
    """Train the unfinished runs of a sweep, `workers` at a time, in processes on this machine or
    with another `runner`. Keep only weights and logs of finished runs. Several times a second it
    yields the state of each run: "waiting", "training", "finished" or "failed" (reasons:
    `sweep.failures`).

    Raises UserError if another process works on the sweep, or if a run of that name has another
    config; KeyboardInterrupt after Ctrl-C or SIGTERM, once all runs are saved.
    """
    runner = runner or Processes()
    with sweep.held(), stopping() as stop, ThreadPoolExecutor(workers) as threads:
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
            failures = runner.train({job.name: job.config.to_json() for job in jobs})
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
    """Whether a run is finished. Raises UserError if a run of that name has another config."""
    state = run_state(job.name)
    if state.config is not None and state.config.data != job.config.to_json():
        raise UserError(
            f"there is a run {job.name!r} already, with {difference(state.config, job.config)}: "
            "give the sweep another --name, or remove the run"
        )
    return state.state == "finished"


def _forget_state(job: Job) -> None:
    """Remove the state of a finished run: mostly replay, some 100 MB. The states of many runs would
    fill a disk."""
    with suppress(OSError):
        Run(job.name).state.unlink()


class Processes:
    """Processes on this machine. A process that dies ends only its own run."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen] = []
        self._idle: list[subprocess.Popen] = []
        self._lock = threading.Lock()  # between giving out work and stopping
        self._stopped = False

    def train(self, configs: dict[str, Any]) -> dict[str, str]:
        """See `Runner`."""
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
        """A worker with its own session, so that Ctrl-C does not reach it. It stops when its
        standard input ends: when this process closes it, or dies."""
        process = subprocess.Popen(
            python("marl.sweeps.worker"),
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
        """See `Runner`."""
        with self._lock:
            self._stopped = True
        for process in self._all:
            with suppress(BrokenPipeError):
                cast(IO[str], process.stdin).close()
        for process in self._all:
            process.wait()
