"""Compiled kernels on disk, kept between runs.

numba checks only the file of a cached function, not the functions that it calls, so a stale kernel
could survive a change. Here the folder's name is a hash of the sources of all worlds, which may use
each other's functions. Any change leads to a new folder. (The code of a scenario, wherever it is,
and all that it reads are part of its numba type.) Checkouts with equal sources share their kernels,
which numba's own locator would keep apart.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba.core.event import Listener, install_listener

from marl.notices import tell

try:
    from numba.core.caching import UserProvidedCacheLocator
except ImportError:  # an older numba, whose locators cannot be chosen
    UserProvidedCacheLocator = None  # type: ignore[assignment,misc]

WORLDS = Path(__file__).parents[1]


def _parents() -> list[Path]:
    """Candidate parent folders for kernels, best first: that of NUMBA_CACHE_DIR only, if it is
    set."""
    if numba.config.CACHE_DIR:  # type: ignore[attr-defined]
        return [Path(numba.config.CACHE_DIR)]  # type: ignore[attr-defined]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(home) / "marl", Path(tempfile.gettempdir()) / f"marl-{os.getuid()}"]


def _folder() -> Path | None:
    """The folder of the kernels, or None if no folder is writable."""
    sources = b"".join(path.read_bytes() for path in sorted(WORLDS.rglob("*.py")))
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


if UserProvidedCacheLocator is not None:

    class Locator(UserProvidedCacheLocator):
        """Keeps a kernel of the worlds under its module's path within them."""

        @classmethod
        def get_suitable_cache_subpath(cls, py_file: str) -> str:
            path = Path(py_file).resolve()
            if path.is_relative_to(WORLDS.resolve()):
                return str(path.relative_to(WORLDS.resolve()).parent)
            return super().get_suitable_cache_subpath(py_file)


def kernel(function: Callable) -> Callable:
    """Compile `function` without the interpreter lock, cached in our own folder."""
    if _FOLDER is None:
        return numba.njit(nogil=True)(function)
    config: Any = numba.config
    folder, locators = config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", None)
    config.CACHE_DIR = str(_FOLDER)
    if locators == "":
        config.CACHE_LOCATOR_CLASSES = f"{__name__}.Locator"
    try:
        return numba.njit(nogil=True, cache=True)(function)
    finally:
        config.CACHE_DIR = folder
        if locators is not None:
            config.CACHE_LOCATOR_CLASSES = locators


class _Announcer(Listener):
    """Tells what is compiled, once for each name in a process."""

    told: ClassVar[set[str]] = set()

    def __init__(self, what: str) -> None:
        self._what = what

    def on_start(self, event: Any) -> None:
        if self._what and self._what not in self.told:
            self.told.add(self._what)
            tell(f"compiling {self._what}, once (about 20 s)")

    def on_end(self, event: Any) -> None:
        pass


def announced(what: str) -> AbstractContextManager:
    """Within it, whoever waits is told before something is compiled, and not before it is only read
    from the disk."""
    return install_listener("numba:compile", _Announcer(what))


def kernel_folders() -> list[Path]:
    """Folders with kernels of other versions of these sources."""
    folders = [path for parent in _parents() for path in sorted(parent.glob("[0-9a-f]" * 16))]
    return [path for path in folders if path != _FOLDER]
