"""What may be removed from the disk, and statistics for other programs."""

import csv
import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marl.errors import UserError
from marl.runs import Run, data_root, leaves, read_log, run_state, whole_file
from marl.sweeps import sweep_or_run
from marl.worlds.particles.cache import kernel_folders


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nobody needs, and why."""

    path: Path
    reason: str

    @property
    def size(self) -> int:
        """Bytes."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


def leftovers() -> list[Leftover]:
    """What is safe to remove: nothing of a run that is being trained, no weights, no statistics of
    a run that has any."""
    found = []
    root = data_root()
    names = {path.name for part in ("models", "stats") for path in root.glob(f"{part}/*")}
    for name in sorted(names):
        try:
            run, state = Run(name), run_state(name)
        except UserError:
            continue  # no run of ours is called so
        if state.state == "running":
            continue
        found += [
            Leftover(path, "of a write that was cut short")
            for folder in (run.models, run.stats)
            for path in folder.glob(".*.partial")
        ]
        if state.state == "finished" and run.state.exists():
            found.append(Leftover(run.state, "only needed to train a finished run further"))
        if state.state == "stopped" and not run.state.exists() and not run.weights.exists():
            reason = "of a run that ended before its first checkpoint"
            found += [Leftover(x, reason) for x in (run.models, run.stats) if x.exists()]
    found += [
        Leftover(path, "of a write that was cut short") for path in root.glob("sweeps/*/.*.partial")
    ]
    return found + [Leftover(x, "kernels of another version") for x in kernel_folders()]


def remove(leftover: Leftover) -> None:
    """Raises UserError where it cannot be removed."""
    try:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink()
    except OSError as error:
        raise UserError(f"cannot remove {leftover.path}: {error.strerror}") from error


def statistics(names: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each line of the logs of these runs, and of those of these sweeps: run, seed,
    step, seconds, and whatever else the line holds under names such as "losses/critic_loss".

    Raises UserError where a name is unknown.
    """
    rows = []
    for name in itertools.chain.from_iterable(map(sweep_or_run, names)):
        state = run_state(name)
        if state.config is None:
            raise UserError(state.problem or f"there is no run or sweep {name!r} in {data_root()}")
        about = {"run": name, "seed": state.config.training.seed}
        rows += [{**about, **dict(leaves(line))} for line in read_log(Run(name).stats)]
    return rows


def export(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as CSV or, by the file's ending, Parquet; what a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if path.suffix == ".csv":
        with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".parquet":
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise UserError("Parquet needs pyarrow: pip install 'marl[parquet]'") from error
        content = {key: [row.get(key) for row in rows] for key in columns}
        with whole_file(path) as partial:
            parquet.write_table(pyarrow.table(content), partial)
    else:
        raise UserError(f"--out is {path}, but should end in .csv or .parquet")
