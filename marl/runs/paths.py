"""The paths of the files of a run."""

from pathlib import Path

from marl.errors import UserError
from marl.folders import data_folders
from marl.policies.builtin import BUILTIN

WEIGHTS, STATE = "weights.safetensors", "state.safetensors"


def find_weights(name: str) -> Path:
    """The weights file of a run given by name, folder or file."""
    path = Path(name)
    if path.suffix == ".safetensors" or len(path.parts) > 1:
        return path / WEIGHTS if path.is_dir() else path
    for folder in data_folders():
        if (folder / "models" / name / WEIGHTS).is_file():
            return folder / "models" / name / WEIGHTS
    raise UserError(
        f"there is no run or policy {name!r}; known are {', '.join([*run_names(), *BUILTIN])}"
    )


def run_names() -> list[str]:
    """Every run that holds weights."""
    paths = (path for folder in data_folders() for path in folder.glob(f"models/*/{WEIGHTS}"))
    return sorted({path.parent.name for path in paths})
