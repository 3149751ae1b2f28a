"""A sweep: configs times settings times seeds, a run for each, side by side.

    {"base": "spread", "settings": {"training.steps": 40000},
     "grid": {"agent.network": ["mlp", "set"], "world.num_agents": [4, 12]}, "seeds": 5,
     "seeds_per_process": 5}

`base` is a config or a list of configs (files, or names from `marl list`), or says by name which
config with which settings of its own; `settings` apply to all runs, `grid` holds the values to be
combined, `seeds` is a list, or how many to use from 0. Each run is one like any other, called
SWEEP-BASE-VALUES-SEED (the base only where there are several).
Processes with one torch thread each, on this machine or on a Ray cluster (ray_runner.py), train one
run after the other, or `seeds_per_process` seeds of a config side by side on one stack of networks.
data/sweeps/NAME/sweep.json says which runs belong to a sweep.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from marl.config.checking import parse_section
from marl.config.json_text import read_json, read_settings
from marl.config.model import Config
from marl.config.parsing import find_config, load_config
from marl.errors import UserError
from marl.folders import data_root
from marl.runs.files import write_json
from marl.runs.frozen import resolve_frozen
from marl.runs.locks import locked
from marl.runs.run import Run, as_name

MOST = 10_000  # seeds of a sweep


class Base(BaseModel):
    """A config with its own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str = Field(description="a file, or a name from `marl list`")
    settings: dict[str, Any] = Field({}, description="dotted keys and values, for this config")


class SweepFile(BaseModel):
    """The content of a sweep's JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: dict[str, Base] = Field(description="configs by name: files, or names from `marl list`")
    settings: dict[str, Any] = Field({}, description="dotted keys and values, for every run")
    grid: dict[str, list[Any]] = Field({}, description="dotted keys and values to combine")
    seeds: Annotated[int, Field(le=MOST)] | list[int] = Field(
        1, description="a list of seeds, or their number, from 0 on"
    )
    seeds_per_process: int = Field(1, ge=1, description="seeds that are trained side by side")

    @field_validator("base", mode="before")
    @classmethod
    def _named(cls, base: Any) -> Any:
        """A config goes by its file's name unless another one is given."""
        configs = [base] if isinstance(base, str) else base
        if isinstance(configs, list) and all(isinstance(config, str) for config in configs):
            named = {Path(config).stem: {"config": config} for config in configs}
            if len(named) < len(configs):
                raise ValueError("should not hold a config twice")
            return named
        if not isinstance(base, dict):
            raise ValueError("should be a config, a list of them, or {name: {config, settings}}")
        return base


@dataclass(frozen=True)
class Job:
    """A run that belongs to a sweep."""

    name: str
    point: dict[str, Any]  # where it stands in the grid: dotted keys (and "base") and values
    seed: int
    config: Config

    @property
    def stats(self) -> Path:
        """The folder of its statistics."""
        return Run(self.name).stats


@dataclass
class Sweep:
    """A sweep with all its runs."""

    name: str
    jobs: list[Job]
    seeds_per_process: int = 1
    failures: dict[str, str] = field(default_factory=dict)  # of this process: run, reason

    @property
    def folder(self) -> Path:
        return data_root() / "sweeps" / self.name

    @contextmanager
    def held(self) -> Iterator[None]:
        """Held by this process. Raises UserError if another process holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / "lock", "w")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"cannot write {error.filename}: {error.strerror}") from error
        with lock:
            if not locked(lock):
                raise UserError(f"another process works on the sweep {self.name!r}")
            yield

    def batches(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """Jobs that are trained side by side: of one point in the grid, as many as allowed."""
        batches = []
        for _, same in itertools.groupby(jobs, lambda job: json.dumps(job.point)):
            row = list(same)
            starts = range(0, len(row), self.seeds_per_process)
            batches += [row[i : i + self.seeds_per_process] for i in starts]
        return batches

    def write(self) -> None:
        """Write down which runs belong to the sweep."""
        runs = [{"name": job.name, "point": job.point, "seed": job.seed} for job in self.jobs]
        write_json(self.folder / "sweep.json", {"runs": runs})
        self._link()

    def _link(self) -> None:
        """Link the statistics of its runs in the grouping of TensorBoard:
        data/tensorboard/SWEEP/POINT/SEED."""
        folder = data_root() / "tensorboard" / self.name
        for job in self.jobs:
            words = [_word(value) for value in job.point.values()]
            link = folder / "-".join(words) / str(job.seed)
            target = os.path.relpath(job.stats, link.parent)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(target)
            except OSError as error:
                raise UserError(f"cannot write {link}: {error.strerror}") from error


def load_sweep(path: Path, name: str | None = None) -> Sweep:
    """The sweep in a JSON file, called `name` or by the file's name. Raises UserError for any fault
    in it or in the config of any run, before anything is trained."""
    data = read_settings(path)
    file = parse_section(SweepFile, data, "sweep")
    name = name or as_name(path.stem)
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else file.seeds
    lists: dict[str, list] = {"base": list(file.base), "seeds": seeds, **file.grid}
    for key, values in lists.items():
        if not values:
            raise UserError(f"sweep.{key} names nothing to train")
        if len({json.dumps(value) for value in values}) < len(values):
            raise UserError(f"sweep.{key} holds a value twice")
    jobs = []
    for (called, base), *values in itertools.product(file.base.items(), *file.grid.values()):
        point = dict(zip(file.grid, values, strict=True))
        fixed = {**file.settings, **base.settings, **point}
        if len(file.base) > 1:
            point = {"base": called, **point}
        settings = [f"{key}={json.dumps(value)}" for key, value in fixed.items()]
        for seed in seeds:
            own = [*settings, f"training.seed={seed}"]
            config = resolve_frozen(load_config(find_config(base.config), own))
            words = [name, *(_word(value) for value in point.values()), str(seed)]
            jobs.append(Job("-".join(words), point, seed, config))
    names = [Run(job.name).name for job in jobs]
    if twice := next((x for x in names if names.count(x) > 1), None):
        raise UserError(f"two runs of the sweep would both be called {twice!r}")
    return Sweep(name, jobs, file.seeds_per_process)


def _word(value: Any) -> str:
    """A value as part of a run's name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("_")


def runs_of(name: str) -> list[dict[str, Any]]:
    """[{name, point, seed}] of a sweep that has begun. Raises UserError if its file is damaged."""
    path = data_root() / "sweeps" / name / "sweep.json"
    stored = read_json(path)
    try:
        return [{"name": str(x["name"]), "point": dict(x["point"]), "seed": int(x["seed"])}
                for x in stored["runs"]]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: it does not say which runs there are") from error


def sweep_or_run(name: str) -> list[str]:
    """The runs of a sweep, or the one run of that name."""
    return [run["name"] for run in runs_of(name)] if name in sweep_names() else [name]


def sweep_names() -> list[str]:
    """All sweeps that have begun."""
    return sorted(path.parent.name for path in data_root().glob("sweeps/*/sweep.json"))
