"""Processes that marl starts. Python would look for modules in the current folder first, and would
execute a random.py or torch.py that lies there; these processes do not."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from marl.folders import PACKAGE

SAFE_PATH = "PYTHONSAFEPATH"


def python(module: str) -> list[str]:
    """The command that runs a module of marl in a new process, wherever marl itself lies."""
    code = f"import runpy, sys; sys.path.append({str(PACKAGE.parent)!r}); "
    return [sys.executable, "-P", "-c", code + f"runpy.run_module({module!r}, None, '__main__')"]


@contextmanager
def safe_path() -> Iterator[None]:
    """Processes of `multiprocessing` that begin in this block leave the current folder out, too."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before
