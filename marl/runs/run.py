"""A run is a folder that can be reopened: checkpoints, statistics, resume.

data/models/<name>/weights.safetensors   the weights to act with; config and step in its header
data/models/<name>/state.safetensors     the state from which training continues bit for bit
data/stats/<name>/config.json            config, versions of the software, start time
data/stats/<name>/log.jsonl              one JSON line per log point and per evaluation
data/stats/<name>/events.*               the same numbers for TensorBoard

Every file is written whole or not at all, except the last two, which grow. marl never loads a
pickle.
"""

import platform
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from marl.config.json_text import read_json
from marl.config.model import Config
from marl.config.stored import StoredConfig
from marl.errors import UserError
from marl.folders import data_root
from marl.policies.builtin import BUILTIN
from marl.runs.checkpoint import Checkpoint, read_checkpoint, read_header, stored_config
from marl.runs.files import write_json
from marl.runs.locks import locked
from marl.runs.log import damaged_lines, read_log
from marl.runs.paths import STATE, WEIGHTS
from marl.version import VERSION


class Run:
    """One run, held by one process at a time; `create` or `open` it in a `with` statement."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name in BUILTIN:
            raise UserError(
                f"{name!r} cannot be the name of a run: letters, digits, '.', '_' and '-' are "
                "allowed, a letter or digit first, and no name of a built-in policy"
            )
        self.name = name
        self.models = data_root() / "models" / name
        self.stats = data_root() / "stats" / name
        self.weights, self.state = self.models / WEIGHTS, self.models / STATE

    @classmethod
    def create(cls, name: str, config: Config) -> "Run":
        """A new run. Raises RunExists if the name is taken."""
        run = cls(name)
        run._lock()
        try:
            run.check_free()
            run.write_config(config)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, name: str) -> tuple["Run", Config, Checkpoint | None]:
        """An existing run with its config, and with its state unless a kill came before the first
        one."""
        run = cls(name)
        started = run.stats / "config.json"
        if not run.state.exists() and not started.exists():
            raise UserError(f"there is no run {name!r} to resume in {data_root()}")
        if not run.state.exists() and run.weights.exists():  # to begin anew would overwrite them
            raise UserError(f"the run {name!r} cannot be trained further: {run.state} was removed")
        run._lock()
        try:
            if run.state.exists():
                checkpoint = read_checkpoint(run.state, "state")
                run._check_own(checkpoint.config)
                stored = checkpoint.config
            else:
                checkpoint, stored = None, _started_config(started)
            return run, stored.resolve(trusted=stored.foreign), checkpoint
        except BaseException:
            run.close()
            raise

    def check_free(self) -> None:
        """Raise RunExists if there is a run of this name."""
        if any(path.exists() for path in (self.weights, self.state, self.stats / "config.json")):
            raise RunExists(
                f"there is a run {self.name!r} already: continue it with "
                f"`marl resume {self.name}`, or give another --name"
            )

    def write_config(self, config: Config) -> None:
        """Write the config with which the run is trained from now on."""
        write_json(self.stats / "config.json", {"config": config.to_json(), **_versions()})

    def _check_own(self, config: StoredConfig) -> None:
        """Raise UserError if a state belongs to another run: its config is neither the one with
        which this run last began nor that of its weights. (The two differ until the first
        checkpoint after a change of settings.)"""
        own = []
        with suppress(UserError):
            own.append(_started_config(self.stats / "config.json"))
        with suppress(UserError):
            own.append(read_header(self.weights).config)
        if own and config not in own:
            raise UserError(
                f"{self.state} is of another run than {self.name!r}, "
                f"with {difference(config, own[0])}"
            )

    def _lock(self) -> None:
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            self.stats.mkdir(parents=True, exist_ok=True)
            self._file = open(self.models / "lock", "w")  # noqa: SIM115 (held until close)
        except OSError as error:
            raise UserError(f"cannot write {error.filename}: {error.strerror}") from error
        for patience in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0):  # somebody may just be looking
            if locked(self._file):
                return
            if patience:
                time.sleep(0.02)
        self._file.close()
        raise RunExists(f"another process is training the run {self.name!r}")

    def discard(self) -> None:
        """Free the name of a new run of which nothing was saved."""
        (self.stats / "config.json").unlink()
        (self.models / "lock").unlink()
        for folder in (self.stats, self.models):
            with suppress(OSError):  # there may be something else in it
                folder.rmdir()

    def close(self) -> None:
        """Release the run for other processes."""
        self._file.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def difference(config: Config | StoredConfig, other: Config | StoredConfig) -> str:
    """The first setting in which two configs differ, in words."""
    one, two = config.flat(), other.flat()
    key = next(key for key in sorted({*one, *two}) if one.get(key) != two.get(key))
    return f"{key} {one.get(key)} instead of {two.get(key)}"


@dataclass(frozen=True)
class RunState:
    """The progress of a run."""

    state: str  # new, running, stopped, finished, damaged
    config: StoredConfig | None = None  # None: new or damaged
    step: int = 0
    evaluation: dict[str, Any] | None = None  # the last one
    age: float = 0.0  # seconds since it was last written to
    problem: str = ""  # what is damaged; if that is the log only, the run is usable


def run_state(name: str) -> RunState:
    """The state of a run in `data_root()`, from its files; a run without files is new."""
    run = Run(name)
    started = run.stats / "config.json"
    paths = [path for path in (run.weights, run.state, run.stats / "log.jsonl", started)
             if path.exists()]  # fmt: skip
    if not paths:
        return RunState("new")
    age = time.time() - max(path.stat().st_mtime for path in paths)
    step, evaluation_due = 0, False
    try:
        if run.weights.exists():
            config, step, evaluation_due = read_header(run.weights)
        else:
            config = _started_config(started)
    except UserError as error:
        return RunState("damaged", age=age, problem=str(error))
    log, damaged = read_log(run.stats), damaged_lines(run.stats)
    problem = f"{damaged} damaged lines of {run.stats / 'log.jsonl'} are skipped" if damaged else ""
    evaluations = [line["evaluation"] for line in log if "evaluation" in line]
    if _locked(run.models / "lock"):
        state, step = "running", max([step, *(line["step"] for line in log[-1:])])
    else:
        finished = step >= config.training.steps and not evaluation_due
        state = "finished" if finished else "stopped"
    last = evaluations[-1] if evaluations else None
    return RunState(state, config, step, last, age, problem)


def _started_config(path: Path) -> StoredConfig:
    """The config of a run that was killed before its first checkpoint."""
    stored = read_json(path)
    return stored_config(path, stored.get("config") if isinstance(stored, dict) else None)


def _locked(path: Path) -> bool:
    """Whether another process holds this lock."""
    try:
        with open(path) as file:
            return not locked(file, shared=True)
    except OSError:  # nobody who may write here has begun
        return False


class RunExists(UserError):
    """The name is taken."""


def as_name(text: str) -> str:
    """A name that a run may have, as near to this text as possible: "my config" is my_config."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80].lstrip("._-").rstrip("_") or "run"
    return f"{name}-run" if name in BUILTIN else name


def create_run(config: Config, name: str | None, stem: str) -> Run:
    """A new run called `name`. Without a name it is called `stem` (`as_name`), or stem-2, stem-3...
    if that is taken."""
    if name is not None:
        return Run.create(name, config)
    stem, number = as_name(stem), 1
    while True:
        try:
            return Run.create(stem if number == 1 else f"{stem}-{number}", config)
        except RunExists:
            number += 1


def _versions() -> dict[str, Any]:
    packages = ("numpy", "numba", "torch")
    return {
        "versions": {
            "python": platform.python_version(),
            "marl": VERSION,
            **{name: version(name) for name in packages},
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
