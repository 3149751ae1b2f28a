"""The standard streams of a command: they outlive their reader, and show text as text.

A command whose reader goes away (`marl train x | head -2`) works on in silence: a training is worth
more than its progress.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def printable(text: str) -> str:
    r"""Text in which a terminal finds no commands: control characters, which names in foreign files
    may hold, become \x1b and the like; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t " else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Stream:
    """A standard stream that stays usable when nothing more can be written to it. `error` is the
    reason then."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write text as it is, or nowhere."""
        return self._kept(self._file.write, text) or len(text)

    def flush(self) -> None:
        """Flush, or do nothing."""
        self._kept(self._file.flush)

    def _kept(self, function: Any, *arguments: str) -> Any:
        try:
            return function(*arguments)
        except OSError as error:
            self.error = self.error or error
            with suppress(OSError):  # what is left in its buffer must not fail again at the end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._file.fileno())
                os.close(nowhere)
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class PlainStream(Stream):
    """A stream for `print`, which shows control characters. (rich, whose own they are, writes to
    `rich_proxied_file` instead.)"""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.rich_proxied_file = Stream(file)

    def write(self, text: str) -> int:
        """Write printable text, or nowhere."""
        return super().write(printable(text))

    def failure(self) -> OSError | None:
        """Why not all was written, if so."""
        return self.error or self.rich_proxied_file.error


@contextmanager
def standard_streams() -> Iterator[PlainStream]:
    """Standard streams for the time of a command; yields its output. Streams that are closed lead
    nowhere, and letters that an encoding lacks become escapes."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:  # or else the next file that is opened would take its place
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    streams = []
    for file in before[1:]:
        file = file or open(os.devnull, "w")  # noqa: SIM115
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="backslashreplace")
        streams.append(PlainStream(file))
    output, errors = streams
    sys.stdout, sys.stderr = output, errors  # type: ignore[assignment]
    try:
        yield output
    finally:
        for stream in streams:
            stream.flush()
        sys.stdin, sys.stdout, sys.stderr = before
