"""What pages about studies are made of: files, pictures, movies, notes, and HTML from templates."""

import base64
import platform
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from marl import evaluation
from marl.rendering import movies
from marl.rendering.frames import draw
from marl.runs.files import whole_file
from marl.runs.loading import FoundPolicy
from marl.studies.entries import Entry

PACKAGES = ("marl", "torch", "numpy", "numba")


def render(template: str, **values: Any) -> str:
    """A page from templates/; whatever the values hold is text there, not markup."""
    loader = PackageLoader("marl.studies")
    pages = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    return pages.get_template(template).render(values)


def inline(content: bytes, kind: str) -> str:
    """A picture, as an address that needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def film(found: FoundPolicy, agents: int, path: Path) -> Path:
    """A policy as it plays an episode: a GIF, or, by the path's ending, a PNG of the end."""
    with evaluation.one_thread():
        limit = found.config.evaluation.max_steps
        scenes = evaluation.scenes(found.policy, found.world_for(agents), max_steps=limit)
        movies.save(map(draw, deque(scenes, maxlen=1) if path.suffix == ".png" else scenes), path)
    return path


def made_with() -> str:
    """A sentence on the versions at work."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, {packages}, {platform.machine()}."


def refusals(entries: Sequence[Entry]) -> list[str]:
    """Which policies were not measured, with which numbers of agents and why."""
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for entry in entries:
        for n, why in entry.refused.items():
            labels, numbers = reasons.setdefault(why, ({}, {}))
            labels[entry.label] = numbers[str(n)] = None
    return [f"{'; '.join(ls)}, N={', '.join(ns)}: {why}" for why, (ls, ns) in reasons.items()]


def write(folder: Path, contents: Mapping[str, bytes]) -> Iterator[Path]:
    """Files of these names, each whole or not at all; yields their paths."""
    for name, content in contents.items():
        with whole_file(folder / name) as partial:
            partial.write_bytes(content)
        yield folder / name
