"""Compiled kernels on disk, kept between runs.

numba checks only the file of a cached function, not the functions that it calls, so a stale kernel
could survive a change. Here the folder's name is a hash of the sources of all worlds, which may use
each other's functions. Any change leads to a new folder. (The code of a scenario, wherever it is,
and all that it reads are part of its numba type.) Checkouts with equal sources share their kernels,
which numba's own locator would keep apart.

numba keeps kernels as pickles, which run any code when they are loaded. So the folder must be this
user's own, and nobody else may write to it or enter it.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
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
        return [Path(numba.config.CACHE_DIR) / "marl"]  # type: ignore[attr-defined]
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    homes = [home / "marl"] if home.is_absolute() else []  # there may be no home at all
    return [*homes, Path(tempfile.gettempdir()) / f"marl-{os.getuid()}"]


def _folder() -> Path | None:
    """The folder of the kernels, or None if no folder is writable and nobody else's."""
    sources = b"".join(path.read_bytes() for path in sorted(WORLDS.rglob("*.py")))
    name = hashlib.sha256(sources).hexdigest()[:16]
    for parent in _parents():
        try:
            folder = parent / name
            parent.mkdir(parents=True, exist_ok=True)
            if _owned(parent):
                parent.chmod(0o700)  # older versions let the umask decide
                folder.mkdir(mode=0o700, exist_ok=True)
                if _owned(folder) and not folder.stat().st_mode & 0o077:
                    with tempfile.TemporaryFile(dir=folder):
                        return folder
        except OSError:
            continue
    return None


def _owned(folder: Path) -> bool:
    """Whether this is a folder, and no link to one, of this user."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


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


def kernel(function: Callable, error_model: str = "python") -> Callable:
    """Compile `function` without the interpreter lock, cached in our own folder. `error_model`:
    that of numba."""
    compiled = partial(numba.njit, nogil=True, error_model=error_model)
    if _FOLDER is None:
        return compiled(function)
    config: Any = numba.config
    folder, locators = config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", None)
    config.CACHE_DIR = str(_FOLDER)
    if locators == "":
        config.CACHE_LOCATOR_CLASSES = f"{__name__}.Locator"
    try:
        return compiled(function, cache=True)
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
