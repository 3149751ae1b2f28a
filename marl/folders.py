"""Where runs are written, and where configs and models are looked for."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """Where runs are written: ./data, or what the variable MARL_DATA names."""
    return Path(os.environ.get("MARL_DATA") or "data")


def data_folders() -> list[Path]:
    """Where configs and trained models are looked for: the root, then what the package brought."""
    return [data_root(), PACKAGE.parent / "data", PACKAGE / "data"]
