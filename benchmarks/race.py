"""Who covers the landmarks soonest, and what does each learner keep with many agents?

    python benchmarks/race.py [ROW ...] [--seeds 5] [--development]
    python benchmarks/race.py --page               docs/race.md from what is on record

The main experiment: four agents in cooperative navigation, with the set network and the views of
`spread.json`, which is the row `atoc`. Each row has a config in benchmarks/race. A run trains in a
process of its own on one thread, and its last weights play greedily with other numbers of agents.
CPU seconds are those of training without evaluations.

The hash of the checked-out commit gives the seeds and the starts, as in fresh.py; `--development`
uses the seeds 0, 1... and keeps its record in data/race. The command adds every finished run to
benchmarks/fresh/race.json, first seeds first, and makes only what is missing there.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from commands import trained
from fresh import FOLDER, METRIC, commit_of, play
from learning import curve_of
from records import DEVELOPMENT, Job, Record, write_page

from marl.folders import data_root
from marl.studies.tables import as_markdown

CONFIGS = Path(__file__).parent / "race"
ROWS = sorted(path.stem for path in CONFIGS.glob("*.json") if path.stem != "world")
SPREAD = Path("data/json/spread.json")
FINISH = 0.95  # coverage of four agents
PAGE = Path("docs/race.md")
NUMBERS = (4, 12, 80)  # of agents


def seconds_to(curve: Sequence[tuple[int, float, float]], coverage: float) -> float | None:
    """CPU seconds until the first evaluation with this coverage; None if there is none."""
    return next((seconds for _, seconds, value in curve if value >= coverage), None)


def run(job: Job, root: Path) -> dict[str, Any]:
    """Train and play a run."""
    name = f"{job.row}-{job.seed}"
    curve = curve_of(trained(name, CONFIGS / f"{job.row}.json", job.seed, root=root), METRIC)
    return {"curve": curve, "played": {str(n): play(name, n, job.starts, root) for n in NUMBERS}}


def complete(record: Record, options: argparse.Namespace) -> None:
    """Make what is missing."""
    jobs = []
    for row in options.rows:
        commit = DEVELOPMENT if options.development else commit_of(CONFIGS / f"{row}.json")
        jobs += record.missing(row, commit, options.seeds)
    root = data_root() / "race" / (DEVELOPMENT if options.development else commit_of()[:10])
    root.mkdir(parents=True, exist_ok=True)
    record.make(jobs, lambda job: run(job, root), options.jobs)


def table(record: Record) -> str:
    """The rows, and what they rest on."""
    lines = []
    for row, entry in record.rows.items():
        runs = entry["runs"]
        times = [seconds_to(run["curve"], FINISH) for run in runs]
        cells = [f"`{row}`", ", ".join("-" if t is None else f"{t:.0f}" for t in times)]
        cells.append(f"{np.median([run['curve'][-1][1] for run in runs]):.0f}")
        for n in NUMBERS:
            played = [run["played"][str(n)] for run in runs]
            values = [result[METRIC] for result in played]
            collisions = np.median([result["collisions"] for result in played])
            cells.append(f"{np.median(values):.3f} ({min(values):.3f}), {collisions:.2f}")
        lines.append(cells)
    head = ["row", f"CPU-s to {FINISH}, each seed", "CPU-s of training"]
    head += [f"N={n}" for n in NUMBERS]
    return f"{as_markdown((head, lines))}\n\n{record.origins(list(record.rows))}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--development", action="store_true", help="seeds 0, 1..., data/race")
    parser.add_argument("--page", action="store_true", help="of what is on record")
    options = parser.parse_args()
    options.rows = options.rows or ROWS
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"{unknown[0]!r} has no config; choose from {', '.join(ROWS)}")
    folder = data_root() / "race" if options.development else FOLDER
    record = Record(folder / "race.json", "race")
    if not options.page:
        complete(record, options)
    if options.development:
        print(table(record))
    else:
        write_page(PAGE, Path(__file__).with_suffix(".md"), table(record))


if __name__ == "__main__":
    main()
