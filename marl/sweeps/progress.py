"""The progress of a sweep: a table on a terminal, plain lines in a pipe."""

import time
from collections import Counter

from rich.live import Live
from rich.table import Table

from marl.console import Console
from marl.evaluation import primary_metric
from marl.runs.log import read_log
from marl.sweeps.sweep import Job, Sweep


class SweepDisplay:
    """Shows every active or failed run, and the number of runs of each kind; for a `with`
    statement."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._console = Console(soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._states: dict[str, str] = {}
        self._due = 0.0  # when the table is to be drawn again

    def __enter__(self) -> "SweepDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def look(self, states: dict[str, str]) -> None:
        """Show changes."""
        if not self._states:
            done = sum(state == "finished" for state in states.values())
            self._say(f"sweep {self._sweep.name}: {len(states)} runs, {done} of them finished")
        for job in self._sweep.jobs:
            state, before = states[job.name], self._states.get(job.name)
            if self._states and state != before and state in ("finished", "failed"):
                self._say(f"{job.name}   {state}   {self._about(job, state)}")
        self._states = states
        if self._console.is_terminal and time.monotonic() >= self._due:
            self._live.update(self._table(), refresh=True)
            self._due = time.monotonic() + 1.0

    def _about(self, job: Job, state: str) -> str:
        """The reason of its failure, or its progress."""
        if state == "failed":
            return self._sweep.failures[job.name]
        log = read_log(job.stats)
        words = [f"step {line['step']} of {job.config.training.steps}" for line in log[-1:]]
        for line in [line for line in log if "evaluation" in line][-1:]:
            if name := primary_metric(line["evaluation"]):
                words.append(f"{name} {line['evaluation'][name]:.3f}")
        seconds = [line["cpu_seconds"] for line in log[-1:] if "cpu_seconds" in line]
        return "   ".join([*words, *(f"{x:.0f} CPU-s" for x in seconds)])

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for job in self._sweep.jobs:
            state = self._states[job.name]
            if state in ("training", "failed"):
                table.add_row(job.name, state, self._about(job, state))
        count = Counter(self._states.values())
        table.add_row("", "", ", ".join(f"{number} {state}" for state, number in count.items()))
        return table

    def _say(self, text: str) -> None:
        self._console.print(text)
