"""A run is a folder that can be reopened: checkpoints, statistics, resume.

data/models/<name>/weights.safetensors   what is needed to act; config and step in its header
data/models/<name>/state.safetensors     everything from which training continues bit for bit
data/stats/<name>/config.json            config, versions of what ran, when it started
data/stats/<name>/log.jsonl              one JSON line per log point and per evaluation
data/stats/<name>/events.*               the same numbers for TensorBoard

Every file but the last two, which grow, is written whole or not at all. No pickle is ever loaded.
"""

import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar, text
from torch import Tensor

import marl
from marl.config import Config, parse_stored_config, read_json
from marl.errors import UserError
from marl.policies import BUILTIN

FORMAT = "1"
WEIGHTS, STATE = "weights.safetensors", "state.safetensors"

# ----------------------------------------------------------------------------------------- folders


def data_root() -> Path:
    """Where runs are written: ./data, or what the variable MARL_DATA names."""
    return Path(os.environ.get("MARL_DATA") or "data")


def data_folders() -> list[Path]:
    """Where configs and trained models are looked for: the root, then what the package brought."""
    package = Path(marl.__file__).resolve().parent
    return [data_root(), package.parent / "data", package / "data"]


def find_config(name: str) -> Path:
    """The file of a config given by path or by name ("spread")."""
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    for folder in data_folders():
        if (folder / "json" / f"{name}.json").is_file():
            return folder / "json" / f"{name}.json"
    raise UserError(f"there is no config {name!r}; known are {_listed(config_names())}")


def find_weights(name: str) -> Path:
    """The weights file of a run given by name, folder or file."""
    path = Path(name)
    if path.suffix == ".safetensors" or len(path.parts) > 1:
        return path / WEIGHTS if path.is_dir() else path
    for folder in data_folders():
        if (folder / "models" / name / WEIGHTS).is_file():
            return folder / "models" / name / WEIGHTS
    raise UserError(
        f"there is no run or policy {name!r}; known are {_listed([*run_names(), *BUILTIN])}"
    )


def config_names() -> list[str]:
    """Every config that can be given by name."""
    return sorted({path.stem for folder in data_folders() for path in folder.glob("json/*.json")})


def run_names() -> list[str]:
    """Every run that holds weights."""
    paths = (path for folder in data_folders() for path in folder.glob(f"models/*/{WEIGHTS}"))
    return sorted({path.parent.name for path in paths})


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


# ------------------------------------------------------------------------------------- whole files


@contextmanager
def whole_files() -> Iterator["WholeFiles"]:
    """Files that are written together: they take their places, one right after the other, if the
    block ends well; if it does not, all stay as they were. Raises UserError where one cannot be
    written."""
    files = WholeFiles()
    try:
        yield files
        for path, partial in files.partials.items():
            files.path = path
            os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).rpartition("error: ")[2]
        raise UserError(f"cannot write {files.path}: {reason}") from error
    finally:
        for partial in files.partials.values():
            with suppress(OSError):
                partial.unlink()


class WholeFiles:
    """What `whole_files` is about to put in place."""

    def __init__(self) -> None:
        self.partials: dict[Path, Path] = {}
        self.path = Path()  # the one that is worked on

    @contextmanager
    def file(self, path: Path) -> Iterator[Path]:
        """A temporary file beside `path`, for a block that writes it."""
        self.path, partial = path, path.with_name(f".{path.name}.partial")
        self.partials[path] = partial
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors leaves files that only their owner can read
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if the block ends well; if it does not,
    `path` stays as it was. Raises UserError where it cannot be written."""
    with whole_files() as files, files.file(path) as partial:
        yield partial


def check_writable(path: Path) -> None:
    """Raise UserError now if a file could not be written later, after long work."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {path}: not a file in a folder that can be written to")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


# ------------------------------------------------------------------------------------- checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """What one .safetensors file of ours holds."""

    config: Config
    step: int
    tensors: dict[str, np.ndarray]
    extra: dict[str, Any]  # whatever else the writer put into the header


def write_checkpoint(
    path: Path,
    kind: str,
    config: Config,
    step: int,
    tensors: Mapping[str, Tensor | np.ndarray],
    files: WholeFiles | None = None,
    **extra: Any,
) -> None:
    """Write tensors with the resolved config and the step in the header; together with others, if
    `files` is given.

    The same content gives the same bytes: one header entry only, as the library does not keep
    several in order.
    """
    header = {
        "format": FORMAT,
        "kind": kind,
        "version": marl.__version__,
        "step": step,
        "config": config.model_dump(mode="json"),
        **extra,
    }
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with files.file(path) if files else whole_file(path) as partial:
        save_file(arrays, partial, {"marl": json.dumps(header, sort_keys=True)})


def read_checkpoint(path: Path, kind: str = "weights") -> Checkpoint:
    """Read and check a file of ours; `kind` is "weights" or "state".

    Raises UserError for a file that is missing, damaged or not ours, and for numbers in it that are
    not finite.
    """
    with _opened(path, kind) as (config, step, header, stored):
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    for name, array in tensors.items():
        if not _finite(array):
            raise UserError(f"{path} holds numbers that are not finite, in {name}")
    return Checkpoint(config, step, tensors, header)


def read_header(path: Path) -> tuple[Config, int]:
    """Config and step of a weights file, without its tensors; errors as in `read_checkpoint`."""
    with _opened(path, "weights") as (config, step, _, _):
        return config, step


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[Config, int, dict[str, Any], Any]]:
    """Config, step and header of a file of ours, checked, and the open file."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        # A safetensors file may begin with the same bytes: its header's length, then the header.
        if (start[:1] == b"\x80" and start[8:] != b"{") or start[:2] == b"PK":
            raise UserError(
                f"{path} is a pickle or a PyTorch file; only .safetensors files written by marl "
                "are loaded, as a pickle could run any code"
            )
        with safe_open(path, "np") as stored:
            metadata = stored.metadata() or {}
            header = json.loads(metadata.get("marl", "null"))
            if not isinstance(header, dict):
                raise UserError(f"{path} was not written by marl: its header holds no config")
            if header.get("format") != FORMAT:
                raise UserError(
                    f"{path} has format {header.get('format')!r}, but this version reads {FORMAT!r}"
                )
            if header["kind"] != kind:
                raise UserError(f"{path} holds {header['kind']}, but {kind} are needed here")
            yield _stored_config(path, header["config"]), int(header["step"]), header, stored
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is cut short, or no .safetensors file at all: {error}") from error
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} has a damaged header: {error}") from error


def _stored_config(path: Path, data: Any) -> Config:
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged: it holds no config")
    try:
        return parse_stored_config(data)
    except UserError as error:
        raise UserError(f"{path} holds a config that does not fit this version: {error}") from error


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def as_tensors(arrays: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Tensor]:
    """The arrays whose names begin with `prefix`, without it, as tensors of their own."""
    return {
        name.removeprefix(prefix): torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


# ------------------------------------------------------------------------------------------- a run


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
        """A new run. Raises RunExists where the name is taken."""
        run = cls(name)
        run._lock()
        if any(path.exists() for path in (run.weights, run.state, run.stats / "config.json")):
            run.close()
            raise RunExists(
                f"there is a run {name!r} already: continue it with `marl resume {name}`, or give "
                "another --name"
            )
        try:
            run.write_config(config)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, name: str) -> tuple["Run", Config, Checkpoint | None]:
        """An existing run with its config, and its state unless it was killed before the first."""
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
                return run, checkpoint.config, checkpoint
            return run, _started_config(started), None
        except BaseException:
            run.close()
            raise

    def write_config(self, config: Config) -> None:
        """Say on the disk with which config it is trained from now on."""
        write_json(
            self.stats / "config.json", {"config": config.model_dump(mode="json"), **_versions()}
        )

    def _check_own(self, config: Config) -> None:
        """Raise UserError where a state is another run's: its config is neither the one with which
        this run was last begun nor that of its weights. (Both are not the same as long as there is
        no checkpoint with settings that were changed on the way.)"""
        own = []
        with suppress(UserError):
            own.append(_started_config(self.stats / "config.json"))
        with suppress(UserError):
            own.append(read_header(self.weights)[0])
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
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if not patience:
                    self._file.close()
                    raise RunExists(f"another process is training the run {self.name!r}") from error
            time.sleep(0.02)

    def discard(self) -> None:
        """Give the name of a new run, of which nothing was saved, free again."""
        (self.stats / "config.json").unlink()
        (self.models / "lock").unlink()
        for folder in (self.stats, self.models):
            with suppress(OSError):  # there may be something else in it
                folder.rmdir()

    def close(self) -> None:
        """Let other processes have the run."""
        self._file.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def difference(config: Config, other: Config) -> str:
    """The first setting in which two configs differ, in words."""
    one, two = config.flat(), other.flat()
    key = next(key for key in sorted({*one, *two}) if one.get(key) != two.get(key))
    return f"{key} {one.get(key)} instead of {two.get(key)}"


@dataclass(frozen=True)
class RunState:
    """How far a run has come."""

    state: str  # new, running, stopped, finished, damaged
    config: Config | None = None  # None: new or damaged
    step: int = 0
    evaluation: dict[str, Any] | None = None  # the last one
    age: float = 0.0  # seconds since it was last written to
    problem: str = ""  # what is damaged


def run_state(name: str) -> RunState:
    """The state of a run in `data_root()`, from its files; a run without any is new."""
    run = Run(name)
    started = run.stats / "config.json"
    paths = [path for path in (run.weights, run.state, run.stats / "log.jsonl", started)
             if path.exists()]  # fmt: skip
    if not paths:
        return RunState("new")
    age = time.time() - max(path.stat().st_mtime for path in paths)
    step = 0
    try:
        if run.weights.exists():
            config, step = read_header(run.weights)
        else:
            config = _started_config(started)
    except UserError as error:
        return RunState("damaged", age=age, problem=str(error))
    log = read_log(run.stats)
    evaluations = [line["evaluation"] for line in log if "evaluation" in line]
    if _locked(run.models / "lock"):
        state, step = "running", max([step, *(line["step"] for line in log[-1:])])
    else:
        state = "finished" if step >= config.training.steps else "stopped"
    return RunState(state, config, step, evaluations[-1] if evaluations else None, age)


def _started_config(path: Path) -> Config:
    """The config of a run that was killed before its first checkpoint."""
    stored = read_json(path)
    return _stored_config(path, stored.get("config") if isinstance(stored, dict) else None)


def _locked(path: Path) -> bool:
    """Does another process hold this lock?"""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class RunExists(UserError):
    """The name is taken."""


def create_run(config: Config, name: str | None, stem: str) -> Run:
    """A new run called `name`; without one, `stem`, or stem-2, stem-3... where that is taken."""
    if name is not None:
        return Run.create(name, config)
    number = 1
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
            "marl": marl.__version__,
            **{name: version(name) for name in packages},
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


# -------------------------------------------------------------------------------------- statistics


class Log:
    """log.jsonl and TensorBoard events of a run, from `step` on: what an earlier process wrote
    about later steps is dropped, as those steps are done anew."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "log.jsonl"
        with whole_file(self._path) as partial:
            kept = [line for line in read_log(folder) if line["step"] <= step]
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
        try:
            self._lines = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            purge = SessionLog(status=SessionLog.START)
            self._write_event(step=step + 1, session_log=purge)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error

    def write(self, line: dict[str, Any]) -> None:
        """Add one line, {"step": int, name: number or {name: number}}. Raises UserError where the
        disk is full."""
        try:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()
            for name, value in leaves(line):
                if name != "step":
                    self._write_event(step=line["step"], summary=scalar(name, value))
            self._events.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error

    def write_settings(self, step: int, config: Config) -> None:
        """Show the resolved config among TensorBoard's texts. Raises UserError where the disk is
        full."""
        rows = [f"| {key} | {json.dumps(value)} |" for key, value in config.flat().items()]
        table = "\n".join(["| setting | value |", "|---|---|", *rows])
        try:
            self._write_event(step=step, summary=text("config", table))
            self._events.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error

    def _write_event(self, **content: Any) -> None:
        self._events.write_event(Event(wall_time=time.time(), **content))

    def close(self) -> None:
        for file in (self._lines, self._events):
            with suppress(OSError):  # which has been said by `write`
                file.close()


def leaves(line: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a line of a log, as "losses/critic_loss", value."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, value


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl; one that a kill cut short is left out."""
    lines = []
    try:
        text = (folder / "log.jsonl").read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    for row in text.splitlines():
        try:
            line = json.loads(row)
            if isinstance(line["step"], int):
                lines.append(line)
        except (ValueError, TypeError, KeyError):
            continue
    return lines
