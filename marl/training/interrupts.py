"""Ctrl-C, SIGTERM and SIGHUP as an event."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from marl.errors import stop_signals


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that every one of these signals sets."""
    with _listening(lambda stop, restore: stop.set()) as stop:
        yield stop


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that such a signal sets; a second one ends the process as usual."""

    def request(stop: threading.Event, restore: Callable[[], None]) -> None:
        restore()
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()  # only the main thread may listen to signals
        return
    with _listening(request) as stop:
        yield stop


@contextmanager
def _listening(
    request: Callable[[threading.Event, Callable[[], None]], None],
) -> Iterator[threading.Event]:
    """An event. A signal calls `request` with it and a function that restores the old handlers."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in stop_signals()}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, lambda *_: request(stop, restore))
    try:
        yield stop
    finally:
        restore()
