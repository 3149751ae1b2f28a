"""All metadata is in pyproject.toml. This adds the shipped configs and models to a built wheel,
where `marl` looks for them in marl/data."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "pistonball",
    "pistonball_frames",
    "spread",
    "spread_auction",
    "spread_messages",
    "tennis_saddpg",
    "tennis_maddpg",
    "tennis_maddpg_psne",
)


class BuildWithData(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ("json", *(f"models/{name}" for name in SHIPPED)):
                target = Path(self.build_lib, "marl", "data", folder)
                shutil.copytree(Path("data", folder), target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})
