"""The logs of runs as one table, for other programs."""

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marl.errors import UserError
from marl.folders import data_root
from marl.runs.files import whole_file
from marl.runs.log import leaves, read_log
from marl.runs.run import Run, run_state
from marl.sweeps.sweep import sweep_or_run


def statistics(names: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """One row for each line of the logs of these runs, and of those of these sweeps: run, seed,
    step, seconds, and whatever else the line holds under names such as "losses/critic_loss"; and a
    sentence on every log that is damaged.

    Raises UserError where a name is unknown.
    """
    rows, problems = [], []
    for name in itertools.chain.from_iterable(map(sweep_or_run, names)):
        state = run_state(name)
        if state.config is None:
            raise UserError(state.problem or f"there is no run or sweep {name!r} in {data_root()}")
        problems += [state.problem] if state.problem else []
        about = {"run": name, "seed": state.config.training.seed}
        rows += [{**about, **dict(leaves(line))} for line in read_log(Run(name).stats)]
    return rows, problems


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
