"""Compiled kernels on disk, kept between runs.

numba checks only the file of a cached function, not the functions that it calls, so a stale kernel
could survive a change. Here the folder's name is a hash of the sources of all worlds, which may use
each other's functions. Any change leads to a new folder. (The source of a scenario's own module,
wherever it is, is part of its numba type.)
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba


def _parents() -> list[Path]:
    """Candidate parent folders for kernels, best first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(home) / "marl", Path(tempfile.gettempdir()) / f"marl-{os.getuid()}"]


def _folder() -> Path | None:
    """The folder of the kernels, or None if no folder is writable."""
    sources = b"".join(
        path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))
    )
    name = hashlib.sha256(sources).hexdigest()[:16]
    for parent in _parents():
        try:
            folder = parent / name
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


_FOLDER = _folder()


def kernel(function: Callable) -> Callable:
    """Compile `function` without the interpreter lock, cached in our own folder unless
    NUMBA_CACHE_DIR names another."""
    if _FOLDER is None:
        return numba.njit(nogil=True)(function)
    configured = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    numba.config.CACHE_DIR = configured or str(_FOLDER)  # type: ignore[attr-defined]
    try:
        return numba.njit(nogil=True, cache=True)(function)
    finally:
        numba.config.CACHE_DIR = configured  # type: ignore[attr-defined]


def kernel_folders() -> list[Path]:
    """Folders with kernels of other versions of these sources."""
    folders = [path for parent in _parents() for path in sorted(parent.glob("[0-9a-f]" * 16))]
    return [path for path in folders if path != _FOLDER]
