"""Files that may be removed from the disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from marl.errors import UserError
from marl.folders import data_root
from marl.runs.run import Run, run_state
from marl.worlds.compiled.cache import kernel_folders


@dataclass(frozen=True)
class Leftover:
    """A file or folder that is not needed any more, and the reason."""

    path: Path
    reason: str

    @property
    def size(self) -> int:
        """Bytes."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


def leftovers() -> list[Leftover]:
    """Files that are safe to remove: nothing of a run in training, no weights, no statistics of a
    run that has weights."""
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
        Leftover(path, "of a write that was cut short")
        for folder in ("sweeps/*", "measurements")
        for path in root.glob(f"{folder}/.*.partial")
    ]
    return found + [Leftover(x, "kernels of another version") for x in kernel_folders()]


def remove(leftover: Leftover) -> None:
    """Remove it. Raises UserError if that is not possible."""
    try:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink()
    except OSError as error:
        raise UserError(f"cannot remove {leftover.path}: {error.strerror}") from error
