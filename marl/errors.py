"""Errors and warnings for the user: one sentence, without a traceback."""

import difflib
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from marl.streams import standard_streams


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


class PolicyWarning(UserWarning):
    """A policy plays in a world in which it was not trained. It works, but scores may be lower."""


class RunsFailed(Exception):
    """Some runs of a sweep failed, although the command was right: exit status 1."""


class WorldFailed(RuntimeError):
    """Another package's world failed during play: exit status 1."""


NO_MEMORY = "there is not enough memory for this"
INTERRUPTED = 130  # exit status, as shells have it: 128 + SIGINT


def stop_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM, and the end of the terminal (SIGHUP), unless that is ignored, as after
    nohup."""
    found = (signal.SIGINT, signal.SIGTERM)
    ends = getattr(signal, "SIGHUP", None)  # Windows has none
    if ends is None or signal.getsignal(ends) == signal.SIG_IGN:
        return found
    return *found, ends


def run_command(command: Callable[[], object]) -> NoReturn:
    """Call a function and exit as every command does: a UserError is one line on stderr, and so is
    a PolicyWarning, each sentence once. SIGTERM and SIGHUP are as Ctrl-C."""
    interrupt, *others = stop_signals()
    before = {x: signal.signal(x, signal.getsignal(interrupt)) for x in others}
    show_others = warnings.showwarning
    said: set[str] = set()  # Python's own record of repeats is lost when a library changes filters

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if issubclass(category, PolicyWarning):
            if str(message) not in said:
                said.add(str(message))
                _complain(f"warning: {message}")
        else:
            show_others(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    with standard_streams() as output:
        status = _status(command)
        output.flush()
        failure = output.failure()
        if failure is not None and not isinstance(failure, BrokenPipeError):
            _complain(f"cannot write the standard output: {failure.strerror}")
            status = status or 2
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.exit(status)


def _status(command: Callable[[], object]) -> int:
    """Call a function, and say what went wrong; the exit status."""
    try:
        command()
        return 0
    except UserError as error:
        _complain(str(error))
    except (RunsFailed, WorldFailed) as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt as stop:
        print(str(stop) or "Interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        _complain(
            f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
        )
    except MemoryError:
        _complain(NO_MEMORY)
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        _complain(NO_MEMORY)
    return 2


def lacks_memory(error: Exception) -> bool:
    """Whether this is an error of NumPy or torch (which has no kind of its own for it) that there
    is not enough memory."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _complain(message: str) -> None:
    print("marl:", " ".join(message.split()), file=sys.stderr)
