import os
import signal
import threading
import time
from multiprocessing import active_children

import pytest

from marl.errors import UserError
from marl.studies.processes import in_processes

PID = "__import__('os').getpid()"


def test_fresh_processes_do_one_task_each():
    tasks = [f"({n}, {PID})" for n in range(3)]
    done = dict(in_processes(eval, tasks, workers=2, fresh=True))
    assert [done[task][0] for task in tasks] == [0, 1, 2]
    assert len({pid for _, pid in done.values()}) == 3


def test_a_single_worker_is_this_process():
    assert dict(in_processes(eval, [PID], workers=1))[PID] == os.getpid()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_process_that_is_killed(fresh):
    with pytest.raises(UserError, match="a process that measured was killed"):
        list(in_processes(eval, ["__import__('os')._exit(9)"], workers=2, fresh=fresh))


@pytest.mark.parametrize(("fresh", "started"), [(False, 2), (True, 1), (True, 2)])
def test_an_interruption_does_not_wait_for_what_is_running(fresh, started):
    """Nor for what is only starting."""
    tasks = ["__import__('time').sleep(600)"] * 3
    begin, before = time.monotonic(), len(active_children())

    def interrupt():
        while len(active_children()) < before + started:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(in_processes(eval, tasks, workers=2, fresh=fresh))
    assert time.monotonic() - begin < 500
    assert not active_children()
