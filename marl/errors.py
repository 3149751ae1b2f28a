"""Errors and warnings for the user: one sentence, without a traceback."""

import sys
import warnings
from typing import NoReturn


class UserError(ValueError):
    """One sentence that names the field or file and the allowed values. `reason` is the reason
    alone, if the sentence also names its subject."""

    def __init__(self, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason or sentence


def does_not_fit(what: object, reason: str) -> UserError:
    """The error for a policy, by its name or file, that cannot play in a world."""
    return UserError(f"{what} does not fit: {reason}", reason)


class PolicyWarning(UserWarning):
    """A policy plays in a world in which it was not trained. It works, but scores may be lower."""


class RunsFailed(Exception):
    """Some runs of a sweep failed, although the command was right: exit status 1."""


class WorldFailed(RuntimeError):
    """Another package's world failed during play: exit status 1."""


INTERRUPTED = 130  # exit status, as shells have it: 128 + SIGINT


def run_command(command) -> NoReturn:
    """Call a function and exit as every command does: a UserError is one line on stderr, and so is
    a PolicyWarning."""
    status, show_others = 2, warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if issubclass(category, PolicyWarning):
            _complain(f"warning: {message}")
        else:
            show_others(message, category, filename, lineno, file, line)

    warnings.showwarning = show
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
