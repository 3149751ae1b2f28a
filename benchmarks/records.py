"""Tables made in pieces: every finished run is kept, with the commit that drew its seed."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from fresh import drawn, versions

from marl.runs.files import whole_file, write_json

DEVELOPMENT = "development"  # in place of a commit: the seeds are 0, 1...


class Job(NamedTuple):
    """A run that is missing."""

    place: int  # in the draw
    row: str
    seed: int
    starts: int
    commit: str


class Record:
    """A JSON file: {row: {"commit", "versions", "runs": [{"seed", ...}]}}."""

    def __init__(self, file: Path, table: str) -> None:
        """`table`: the name that is drawn with."""
        self.file, self.table = file, table
        self.rows: dict[str, dict[str, Any]] = {}
        if file.exists():
            self.rows = json.loads(file.read_text("utf-8"))

    def draw(self, commit: str, count: int) -> tuple[list[int], int]:
        """The seeds of a commit's runs, and of their starts."""
        if commit == DEVELOPMENT:
            return list(range(count)), 0
        return drawn(commit, self.table, count)

    def missing(self, row: str, commit: str, count: int) -> list[Job]:
        """What a row lacks of its first `count` runs. Stops if another commit began the row."""
        entry = self.rows.get(row) or {"commit": commit, "runs": []}
        seeds, starts = self.draw(entry["commit"], count)
        known = {run["seed"] for run in entry["runs"]}
        jobs = [
            Job(i, row, seed, starts, commit) for i, seed in enumerate(seeds) if seed not in known
        ]
        if jobs and entry["commit"] != commit:
            raise SystemExit(f"{row} was begun at commit {entry['commit']}, and this is {commit}")
        return jobs

    def make(self, jobs: Iterable[Job], run: Callable[[Job], dict[str, Any]], at_once: int) -> None:
        """Make the runs, first seeds first, and write the file as each of them ends."""
        with ThreadPoolExecutor(at_once) as pool:
            running = {
                pool.submit(run, job): job for job in sorted(jobs, key=lambda job: job.place)
            }
            for done in as_completed(running):
                self._keep(running[done], done.result())

    def _keep(self, job: Job, result: dict[str, Any]) -> None:
        new = {"commit": job.commit, "versions": versions(), "runs": []}
        runs = self.rows.setdefault(job.row, new)["runs"]
        runs.append({"seed": job.seed, **result})
        runs.sort(key=lambda one: one["seed"])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.rows)

    def origins(self, rows: Sequence[str]) -> str:
        """Where these rows come from, as a list in Markdown."""
        of: dict[str, list[str]] = {}
        for row in rows:
            of.setdefault(self.rows[row]["commit"], []).append(row)
        lines = []
        for commit, same in of.items():
            seeds = sorted({run["seed"] for row in same for run in self.rows[row]["runs"]})
            packages = self.rows[same[0]]["versions"].items()
            lines.append(
                f"- {', '.join(f'`{row}`' for row in same)}: seeds "
                f"{', '.join(map(str, seeds))}; starts {self.draw(commit, 0)[1]}; commit "
                f"{commit[:11]}; " + ", ".join(f"{name} {number}" for name, number in packages)
            )
        return "\n".join(lines)


def write_page(page: Path, prose: Path, tables: str) -> None:
    """A page of the guide: prose, then tables in Markdown."""
    with whole_file(page) as unfinished:
        unfinished.write_text(f"{prose.read_text('utf-8').strip()}\n\n{tables}\n", "utf-8")
