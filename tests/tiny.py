"""A run that takes a moment, and commands in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

TINY = {
    "world": {"episode_length": 10},
    "agent": {"hidden": [8], "average": 0.9},
    "exploration": {"kind": "ou"},
    "training": {
        "steps": 400,
        "num_worlds": 4,
        "batch_size": 8,
        "replay_size": 150,
        "learning_starts": 16,
        "update_every": 8,
        "log_every": 40,
        "checkpoint_every": 80,
        "evaluate_every": 0,
    },
}
MARL = [sys.executable, "-m", "marl.cli"]


def write_tiny(folder: Path) -> Path:
    """The config as a file."""
    path = folder / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def start(*arguments: str) -> subprocess.Popen:
    """A `marl` command in the background."""
    return subprocess.Popen(
        [*MARL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
