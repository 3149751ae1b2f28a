"""Errors for the user: one sentence, without a traceback."""

import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class UserError(ValueError):
    """One sentence that names the field or file and the allowed values. `reason` is the reason
    alone, if the sentence also names its subject."""

    def __init__(self, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason or sentence


def does_not_fit(what: object, reason: str) -> UserError:
    """The error for a policy, by its name or file, that cannot play in a world."""
    return UserError(f"{what} does not fit: {reason}", reason)


def guess(name: Any, known: Sequence[str], prefix: str = "") -> str:
    """The question whether the nearest known name was meant, if there is a near one."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


class RunsFailed(Exception):
    """Some runs of a sweep failed, although the command was right: exit status 1."""


class WorldFailed(RuntimeError):
    """Another package's world failed during play: exit status 1."""


INTERRUPTED = 130  # exit status, as shells have it: 128 + SIGINT


def run_command(command) -> NoReturn:
    """Call a function and exit as every command does: a UserError is one line on stderr."""
    status = 2
    try:
        command()
        sys.stdout.flush()
        status = 0
    except UserError as error:
        _complain(str(error))
    except (RunsFailed, WorldFailed) as error:
        _complain(str(error))
        status = 1
    except KeyboardInterrupt as stop:
        print(str(stop) or "Interrupted", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: nothing is left to flush
        status = 0
    except OSError as error:
        _complain(
            f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
        )
    except MemoryError:
        _complain("there is not enough memory for this")
    sys.exit(status)


def _complain(message: str) -> None:
    print("marl:", " ".join(message.split()), file=sys.stderr)
