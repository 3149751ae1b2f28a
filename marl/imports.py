"""Scenarios and agents of one's own: what "module:NAME" means in a config."""

import importlib
import os
import sys
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
