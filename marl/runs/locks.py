"""Locks on files: one process at a time works on a run or a sweep."""

import errno
import fcntl
import sys
from typing import IO

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN)
_warned: list[str] = []  # once a process


def locked(file: IO[str], shared: bool = False) -> bool:
    """Lock an open file until it is closed; `shared`: beside others that do so. False if another
    process holds it. A file system without locks counts as free, with one warning a process."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if not _warned:
            _warned.append(file.name)
            print(
                f"marl: {file.name} cannot be locked ({error.strerror}): take care that only one "
                "process trains a run",
                file=sys.stderr,
            )
    return True
