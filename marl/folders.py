"""The folders of runs, configs and models."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """The folder of runs: ./data, or the folder in the variable MARL_DATA."""
    return Path(os.environ.get("MARL_DATA") or "data")


def data_folders() -> list[Path]:
    """The folders of configs and trained models: the root, then the package's own."""
    return [data_root(), PACKAGE.parent / "data", PACKAGE / "data"]
