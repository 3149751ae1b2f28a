"""The log of a run: JSON lines, and the same numbers for TensorBoard."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar, text

from marl.config.model import Config
from marl.errors import UserError
from marl.runs.files import whole_file


class Log:
    """log.jsonl and TensorBoard events of a run, from `step` on. Lines of an earlier process about
    what is repeated are dropped: later steps, and the evaluation of this step if it is due."""

    def __init__(self, folder: Path, step: int, evaluation_due: bool = False) -> None:
        self._path = folder / "log.jsonl"
        with whole_file(self._path) as partial:
            kept = [line for line in read_log(folder) if line["step"] <= step]
            if evaluation_due:
                kept = [x for x in kept if x["step"] < step or "evaluation" not in x]
            partial.write_text("".join(map(_row, kept)), "utf-8")
        try:
            self._lines = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            purge = SessionLog(status=SessionLog.START)
            self._write_event(step=step + 1, session_log=purge)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error

    def write(self, line: dict[str, Any]) -> None:
        """Add one line, {"step": int, name: number or {name: number}}. Numbers that are not finite
        are left out. Raises UserError if the disk is full."""
        try:
            self._lines.write(_row(line))
            self._lines.flush()
            for name, value in leaves(line):
                if name != "step":
                    self._write_event(step=line["step"], summary=scalar(name, value))
            self._events.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error

    def write_settings(self, step: int, config: Config) -> None:
        """Show the complete config among TensorBoard's texts. Raises UserError if the disk is
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
            with suppress(OSError):  # which `write` has reported
                file.close()


def _row(line: dict[str, Any]) -> str:
    return json.dumps(_known(line), allow_nan=False) + "\n"


def _known(line: dict[str, Any]) -> dict[str, Any]:
    """A line without the numbers that are not finite, which JSON does not have, and without the
    lists that hold one."""
    return {
        name: _known(value) if isinstance(value, dict) else value
        for name, value in line.items()
        if not isinstance(value, float | list) or np.isfinite(value).all()
    }


def leaves(line: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a line of a log, as "losses/critic_loss", value."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, value


SECTIONS = ("losses", "metrics", "last_100")
EVALUATION = "evaluation"  # and evaluation_N, for other numbers of agents
CI = "_ci95"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The sound lines of a run's log.jsonl. A kill cuts the last one short; `damaged_lines` counts
    all that are left out."""
    return [line for line in map(_line, _rows(folder)) if line is not None]


def damaged_lines(folder: Path) -> int:
    """How many lines of a run's log.jsonl are not sound, the last one apart."""
    return sum(_line(row) is None for row in _rows(folder)[:-1])


def _rows(folder: Path) -> list[str]:
    try:
        return (folder / "log.jsonl").read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _line(row: str) -> dict[str, Any] | None:
    """A line as `Log.write` has written it, or None."""
    try:
        line = json.loads(row)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not all(map(_sound, line, line.values())):
        return None
    return line if type(line.get("step")) is int else None


def _sound(name: str, value: Any) -> bool:
    """Whether the value under that name has the right form."""
    if name in SECTIONS:
        return isinstance(value, dict) and all(map(_number, value.values()))
    if name.startswith(EVALUATION):
        if not isinstance(value, dict):
            return False
        known = all(key.removesuffix(CI) in value for key in value if key.endswith(CI))
        return known and all(map(_result, value, value.values()))
    return _number(value)


def _result(name: str, value: Any) -> bool:
    """Whether this can be in the result of `evaluate`."""
    if name.endswith(CI) and value is None:
        return True
    if name.endswith((CI, "_by_step")):
        return isinstance(value, list) and all(map(_number, value))
    return _number(value)


def _number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**63
