"""marl's commands for benchmarks: each runs in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marl.config.parsing import config_names, load_config
from marl.folders import data_root
from marl.runs.log import read_log


def marl(*arguments: str, root: Path | None = None) -> None:
    """Run one `marl` command with its runs kept below `root`; stop with its message if it fails."""
    command = [sys.executable, "-m", "marl.cli", *arguments]
    environment = {**os.environ, "MARL_DATA": str(root or data_root())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"marl {' '.join(arguments)} failed: {done.stderr.strip()}")


def config_name(row: str, discrete: bool) -> str:
    """The config of a row of the agents' table: one for choices of their own, if there is one."""
    choosing = f"{row}_discrete"
    return choosing if discrete and choosing in config_names() else row


def trained(
    name: str, config: Path, seed: int, settings: Sequence[str] = (), root: Path | None = None
) -> list[dict[str, Any]]:
    """The log of a run, after training it or finishing an interrupted one. A finished run stays as
    it is."""
    stats = (root or data_root()) / "stats" / name
    log = read_log(stats)
    if not (stats / "config.json").exists():
        options = [x for setting in settings for x in ("--set", setting)]
        marl("train", str(config), "--name", name, "--seed", str(seed), *options, root=root)
    elif not log or log[-1]["step"] < load_config(config, settings).training.steps:
        marl("resume", name, root=root)
    return read_log(stats)
