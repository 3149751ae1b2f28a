"""Who is told that compiling takes a while, and when."""

import sys

import numpy as np
import pytest
from numba import njit

from marl import notices
from marl.cli import main
from marl.worlds.particles.kernels import Compiled

SENTENCE = "compiling {}, once (about 20 s)\n"


def fresh():
    """A kernel that nobody has compiled yet."""

    @njit
    def add(a, b):
        return a + b

    return add


def test_a_person_is_told_once_before_something_is_compiled(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    add = fresh()
    Compiled(add, what="Watched")(1.0, 2.0)
    assert capsys.readouterr().err == SENTENCE.format("Watched")
    Compiled(fresh(), what="Watched")(1.0, 2.0)  # the next kernel of the same scenario
    Compiled(add, what="Compiled")(1.0, 2.0)  # nothing is left to do
    assert capsys.readouterr().err == ""
    Compiled(add, what="Compiled")(np.ones(1), 2.0)
    assert capsys.readouterr().err == SENTENCE.format("Compiled")


@pytest.mark.parametrize("in_command", [True, False])
def test_without_a_person_commands_tell_and_programs_do_not(capsys, monkeypatch, in_command):
    monkeypatch.setattr(notices, "in_command", in_command)
    what = f"Unwatched {in_command}"
    Compiled(fresh(), what=what)(1.0, 2.0)
    assert capsys.readouterr() == ("", SENTENCE.format(what) if in_command else "")


def test_a_command_is_one_that_the_shell_starts(monkeypatch, capsys):
    for arguments, expected in [(None, True), (["list"], False)]:
        monkeypatch.setattr(notices, "in_command", not expected)
        monkeypatch.setattr(sys, "argv", ["marl", "list"])
        with pytest.raises(SystemExit):
            main(arguments)
        assert notices.in_command is expected
