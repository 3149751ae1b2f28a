"""Your own scenarios and agents: "module:NAME" in a config, and the names that installed packages
offer."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def imported(name: str) -> Any:
    """The object "module:NAME". Python also looks for the module in the current folder. Raises
    ValueError if it cannot be imported."""
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise ValueError(f"{name!r} should be 'module:NAME', as Python imports them")
    try:
        return getattr(import_here(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name!r} cannot be imported: {error}") from error


def import_here(module: str) -> Any:
    """A module; Python also looks for it in the current folder."""
    with _current_folder_first():
        return importlib.import_module(module)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Modules are found in the current folder first, and afterwards there last: a random.py of the
    user's must not be taken for Python's when a library is imported later."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
        sys.path.append(here)


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """The offers of installed packages in a group of entry points, "marl.scenarios" or
    "marl.agents", by name. Nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=group)}


def loaded(group: str, name: str) -> Any:
    """One of these offers, imported. Raises ValueError if it cannot be imported."""
    entry = offered(group)[name]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist else "a package"
        raise ValueError(
            f"{name!r} ({entry.value} of {package}) cannot be imported: {error}"
        ) from error
