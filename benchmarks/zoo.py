"""What is learned in PettingZoo's worlds, and what of it is kept with more agents.

    python benchmarks/zoo.py [WORLD ...] [--jobs 2]
    python benchmarks/zoo.py --page                     docs/pettingzoo.md from what is on record

A row is a config in data/json. Its settings were chosen with development seeds; the hash of the
checked-out commit gives the seeds and the starts of the table, as in fresh.py. Each run trains in a
process of its own on one thread. Its last weights play greedily in our world and, where there is
one, in PettingZoo's own, with more and with fewer agents than in training. The command keeps what
it measures, continues after an interruption, and writes benchmarks/fresh/zoo_WORLD.json.
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from commands import marl, trained
from fresh import FOLDER, commit_of, drawn

from marl.config.parsing import find_config, load_config
from marl.folders import data_root
from marl.runs.files import whole_file, write_json
from marl.studies.tables import as_markdown

METRIC = "return"  # of an agent in an episode, their mean
PAGE = Path("docs/pettingzoo.md")
PACKAGES = ("torch", "numpy", "numba", "pettingzoo", "pymunk", "box2d")


@dataclass(frozen=True)
class Play:
    """Greedy episodes of a run's last weights: where, with how many agents, how many."""

    where: str
    agents: tuple[int, ...]
    episodes: int = 300
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A world: the config that learns in it, and what is played with the weights."""

    config: str
    plays: tuple[Play, ...]
    references: tuple[str, ...] = ("random",)  # built-in policies that play the same
    seeds: int = 5


TASKS = {
    "pistonball": Task(
        "pistonball",
        (
            Play("compiled", (5, 10, 20, 40, 100)),
            Play("PettingZoo", (5, 10, 20), 100, ("world.scenario=real_pistonball",)),
        ),
        ("random", "wave"),
    ),
}  # fmt: skip


def curve(log: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """CPU seconds and METRIC of each evaluation in a run's log."""
    return [(x["cpu_seconds"], x["evaluation"][METRIC]) for x in log if "evaluation" in x]


def played(policy: str, play: Play, starts: int, root: Path) -> dict[int, float]:
    """METRIC by number of agents, of a run or a built-in policy; kept beside the runs."""
    file = root / "played" / f"{policy}-{play.where}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        options = ["--agents", *map(str, play.agents), "--episodes", str(play.episodes)]
        options += ["--seed", str(starts), "--json", str(file)]
        options += [x for setting in play.settings for x in ("--set", setting)]
        marl("evaluate", policy, *options, root=root)
    results = json.loads(file.read_text())
    return {result["num_agents"]: result[METRIC] for result in results}
