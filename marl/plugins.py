"""Scenarios and agents of one's own: what "module:NAME" means in a config, and what installed
packages offer by name."""

import importlib
import os
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def imported(name: str) -> Any:
    """What "module:NAME" names; the module may lie in the current folder, too. Raises ValueError
    where it cannot be imported."""
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise ValueError(f"{name!r} should be 'module:NAME', as Python imports them")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name!r} cannot be imported: {error}") from error


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """What installed packages offer in a group of entry points, "marl.scenarios" or "marl.agents",
    by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=group)}


def loaded(group: str, name: str) -> Any:
    """What one of them is. Raises ValueError where it cannot be imported."""
    entry = offered(group)[name]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist else "a package"
        raise ValueError(
            f"{name!r} ({entry.value} of {package}) cannot be imported: {error}"
        ) from error
