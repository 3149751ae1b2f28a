"""Only a lock that another process holds is taken."""

import errno
import fcntl
import os

import pytest

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs import locks
from marl.runs.run import Run, create_run, run_state
from marl.sweeps.sweep import Sweep

CONFIG = parse_config({})


@pytest.fixture
def failing(monkeypatch):
    """Locks fail with the error of this number."""

    def use(number):
        def flock(file, how):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    monkeypatch.setattr(locks, "_warned", [])
    return use


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL])
def test_without_locks_work_goes_on_with_one_warning(data, capsys, failing, number):
    failing(number)
    with create_run(CONFIG, None, "spread") as run, Sweep("s", []).held():
        assert run.name == "spread"
        assert run_state("spread").state == "stopped"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"lock cannot be locked ({os.strerror(number)})" in said


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN])
def test_a_lock_that_is_taken(data, failing, number):
    failing(number)
    with pytest.raises(UserError, match="another process is training the run 'a'"):
        Run.create("a", CONFIG)
    with (
        pytest.raises(UserError, match="another process works on the sweep 's'"),
        Sweep("s", []).held(),
    ):
        pass
