"""Where a new file goes: in the place of an old one, through a symbolic link, or into a device or a
pipe, which is written to and never replaced."""

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

OPEN_FILES = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")
"""Paths of files that are open already: whoever has opened them would not see another file."""


def replaceable(path: Path) -> Path | None:
    """The path that a new file may take: `path`, or where its symbolic links lead. None for
    anything that is written through: devices, pipes, open files. Raises OSError if the links lead
    round in a circle."""
    if str(path.absolute()).startswith(OPEN_FILES):
        return None
    if path.exists() and not path.is_file() and not path.is_dir():
        return None
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def writable(path: Path) -> bool:
    """Whether a file can be written there."""
    try:
        target = replaceable(path)
    except OSError:
        return False
    if target is None:
        return os.access(path, os.W_OK)
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    return not target.is_dir() and folder.is_dir() and os.access(folder, os.W_OK)


def partial_file(path: Path, name: str) -> Path:
    """A path of this name for a new file until it is complete, on the disk where it will be; its
    folder is made."""
    target = replaceable(path)
    if target is None:
        handle, partial = tempfile.mkstemp(name)
        os.close(handle)
        return Path(partial)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(name)


def put(partial: Path, path: Path) -> None:
    """Let a complete file be the one at `path`. Raises OSError."""
    target = replaceable(path)
    if target is not None:
        os.replace(partial, target)
        return
    if sys.stdout is not None:
        sys.stdout.flush()  # which may lead there, too, and stands before
    with open(partial, "rb") as content, open(path, "ab") as sink:
        shutil.copyfileobj(content, sink)
    partial.unlink()
