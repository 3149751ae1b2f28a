"""What authors of scenarios read when their code cannot be compiled."""

import importlib
import re
import sys
from collections import namedtuple

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from shell import refused

from marl.errors import UserError
from marl.worlds.compiled.faults import fault
from marl.worlds.particles.kernels import Compiled
from marl.worlds.particles.lanes import WIDTH
from marl.worlds.particles.scenarios.spread import Spread

SCENARIO = """
import math
from marl.particles import Scenario, Body, load, store, where, nearest
from faulty_helper import near

class Faulty(Scenario):
    agents = property(lambda self: [Body(radius=0.1, colour=(0, 0, 0, 0))])
    landmarks = property(lambda self: [])
    groups = property(lambda self: {"agents": self.group(["a"], ())})

    def reset(self, world, random):
        RESET

    def observe(self, world, i, out):
        pass

    def score(self, world, reward, metrics):
        total, d, e = 0.0, load(reward, 0), load(reward, 1)
        CODE
        store(reward, 0, total)
"""
HELPER = """
from numba import njit

@njit
def near(d):
    if d < 0.1:
        return 1.0
    return 0.0
"""
LINE = 1 + SCENARIO[: SCENARIO.index("CODE")].count("\n")
World = namedtuple("World", "position")


@njit
def scored(scenario, world, reward, metrics):
    scenario.score(world, reward, metrics)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Makes the scenario with this code in `score`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(code="pass", reset="pass"):
        text = SCENARIO.replace("CODE", code).replace("RESET", reset)
        (tmp_path / "faulty.py").write_text(text)
        (tmp_path / "faulty_helper.py").write_text(HELPER)
        importlib.invalidate_caches()
        return importlib.import_module("faulty").Faulty()

    yield make
    for name in ("faulty", "faulty_helper"):
        sys.modules.pop(name, None)


def said(scenario, tail):
    kernel = Compiled(scored, [type(scenario).score])
    rows = np.zeros((2, *tail), np.float32)
    with pytest.raises(UserError) as caught:
        kernel(scenario, World(np.zeros((1, 2, *tail))), rows, rows)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize("tail", [(), (WIDTH,)], ids=["one lane", "sixteen lanes"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("if d < 0.1:\n            total += 1.0", "d differs between worlds: use where()"),
        ("total = 1.0 if d else 0.0", "d differs between worlds: use where()"),
        ("while d < e:\n            total += 1.0", "d < e differs between worlds: use where()"),
        (
            "total = where(d < 0.1 and d > 0.0, 1.0, 0.0)",
            "d differs between worlds: use where(), and & or | to join conditions",
        ),
        (
            "total = where(0.0 < d < 0.1, 1.0, 0.0)",
            "d differs between worlds: use where(), and & or | to join conditions",
        ),
    ],
    ids=["if", "if else", "while", "and", "chain"],
)
def test_a_condition_that_differs_between_worlds(faulty, code, reason, tail):
    assert said(faulty(code), tail) == f"faulty.py, line {LINE}: {reason}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("total = wehre(d < 0.1, 1.0, 0.0)", "name 'wehre' is not defined"),
        ("total = where(d < 0.1, 1.0)", "where(): missing a required argument: 'b'"),
        ("total = world.postion", "Unknown attribute 'postion' of type World"),
        ("total = self.wrong", "Faulty has no field 'wrong' that compiled methods can read: .*"),
        ("total = math.sqrt(d)", r"sqrt\(\) cannot take \(a number that differs between worlds\)"),
        (
            "total = total + (d < e)",
            r"add\(\) cannot take \(float64, a condition that differs between worlds\)",
        ),
        ("total = load(reward, d)", "Cannot cast a number that differs between worlds to int64"),
        ("total = load(world.position, 0)", r"load\(\): an index names every axis of an array.*"),
        ("with open('x') as file: pass", r"The 'with .* construct is not supported"),
        ("import os", r"Use of unsupported opcode \(IMPORT_NAME\) found"),
        ("total = sum(x for x in range(3))", "The use of yield in a closure is unsupported."),
    ],
    ids=lambda x: x if "total" in x or "(" in x else "",
)
def test_other_faults_name_the_line_and_the_reason(faulty, code, reason):
    sentence = said(faulty(code), (WIDTH,))
    reason = reason if "\\" in reason or ".*" in reason else re.escape(reason)
    assert re.fullmatch(rf"faulty\.py, line {LINE}: {reason}", sentence), sentence


def test_a_fault_in_a_helper_is_found_there(faulty):
    sentence = said(faulty("total = near(d)"), (WIDTH,))
    assert sentence == "faulty_helper.py, line 6: d differs between worlds: use where()"


def test_a_command_says_it_in_one_line(faulty, capsys):
    faulty(reset="colour = world.agents.colour")
    settings = ["--set", "world.scenario=faulty:Faulty", "--episodes", "1"]
    errors = refused(capsys, "evaluate", "still", *settings)
    assert errors == "marl: faulty.py, line 12: Unknown attribute 'colour' of type Bodies\n"


def test_faults_of_marls_own_code_are_told_whole():
    error = TypingError("a page")
    assert fault(error, [Spread.score]) is error
