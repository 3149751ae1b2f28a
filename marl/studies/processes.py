"""Work side by side in processes of their own."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import TypeVar

from marl.errors import UserError
from marl.processes import safe_path

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, fresh: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Each task with function(task), in the order in which they are done, so many `workers`
    (processes) at a time; a single one is this process. `fresh`: a new process for each task.
    Raises UserError where a process is killed."""
    if workers == 1 and not fresh:
        yield from ((task, function(task)) for task in tasks)
        return
    executor: Executor = ThreadPoolExecutor(workers) if fresh else _processes(workers)
    futures: dict[Future[Result], Task] = {}
    with safe_path(), executor as pool:
        try:
            for x in tasks:
                one = pool.submit(_alone, function, x) if fresh else pool.submit(function, x)
                futures[one] = x
            pending = {*futures}
            while pending:
                # A signal that comes just before a wait begins does not end it: so none is endless.
                done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise UserError("a process that measured was killed; what is done is kept") from error
        except KeyboardInterrupt:  # SIGTERM, unlike Ctrl-C, reaches this process only
            pool.shutdown(wait=False, cancel_futures=True)
            _end_processes()
            while not all(future.done() for future in futures):  # some may only be starting
                wait(futures, timeout=0.1)
                _end_processes()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _end_processes() -> None:
    for process in active_children():
        process.terminate()
        process.join()


def _processes(workers: int) -> ProcessPoolExecutor:
    # Ctrl-C reaches the processes, too, which then have nothing to say.
    die = (signal.SIGINT, signal.SIG_DFL)
    return ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, die)


def _alone(function: Callable[[Task], Result], task: Task) -> Result:
    """In a process that does nothing else before or after. (The executor's own way to that,
    max_tasks_per_child, may hang: CPython issue 115634.)"""
    with _processes(1) as pool:
        return pool.submit(function, task).result()
