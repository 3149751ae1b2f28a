"""A process that trains runs of a sweep: `python -m marl.sweeps.worker`.

All imports of training are at the top, before it listens. They take seconds, in which an interrupt
could be lost.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

from marl.config.parsing import parse_config
from marl.errors import run_command
from marl.runs.run import RunExists
from marl.sweeps.runner import POLL
from marl.training.loop import train_together
from marl.training.session import NotFinite

PATIENCE = 150  # looks, until a run that another process trains is given up


def work() -> None:
    """Train the {name: config} on each line of standard input, and answer which runs failed, {name:
    reason}. At the end of the input, save and stop."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in all its children
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what training says would be in the way
    tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        tasks.put(None)  # for a run that ends just now and takes no notice of what follows
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()
    while (task := tasks.get()) is not None:
        answers.write(json.dumps(_failures(task)) + "\n")
        answers.flush()


def _failures(task: dict[str, Any]) -> dict[str, str]:
    """Train runs, {name: config}; return the reasons of failures. The other runs continue from
    their last checkpoint."""
    failures: dict[str, str] = {}
    patience = PATIENCE
    while configs := {k: parse_config(v) for k, v in task.items() if k not in failures}:
        try:
            train_together(configs)
            break
        except NotFinite as error:
            failures[error.run] = str(error)
        except Exception as error:
            if isinstance(error, RunExists) and patience:
                # perhaps what a killed sweep left behind is still saving
                patience -= 1
                time.sleep(POLL)
                continue
            reason = " ".join(str(error).split()) or type(error).__name__
            return failures | dict.fromkeys(configs, reason)
    return failures


if __name__ == "__main__":
    run_command(work)
