"""Scenarios of your own: which change of code is compiled anew."""

import importlib
import sys

import numba
import numpy as np
import pytest
from numba import njit

SCENARIO = """
from typing import ClassVar
from marl.particles import Body, Part, Scenario
import drawing
import helpers

class Base(Scenario):
    LIMIT: ClassVar[float] = 1.0

    def observe(self, world, i, out):
        pass

    def score(self, world, reward, metrics):
        reward[0] = helpers.paid(metrics[0]) + self.LIMIT

    def colours(self, agents, landmarks, goals):
        return drawing.colours(agents, landmarks)
"""
OWN = """
from based import Base

class Own(Base):
    @property
    def agents(self):
        return []

    @property
    def landmarks(self):
        return []

    @property
    def groups(self):
        return {}

    def reset(self, world, random):
        pass
"""
TEXTS = {
    "own": OWN,
    "based": SCENARIO,
    "drawing": "def colours(agents, landmarks):\n    return None\n",
    "helpers": "from numba import njit\nfrom deeper import twice\n\n@njit\ndef paid(x):\n"
    "    return twice(x) + 1.0\n",
    "deeper": "from numba import njit\n\n@njit\ndef twice(x):\n    return 2.0 * x\n",
}


@njit
def scored(scenario, reward, metrics):
    scenario.score(None, reward, metrics)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Makes a scenario of modules imported anew, with texts changed by (file, old, new)."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(*changes):
        for name, text in TEXTS.items():
            for file, old, new in changes:
                text = text.replace(old, new) if file == name else text
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("own").Own()

    yield make
    for name in TEXTS:
        sys.modules.pop(name, None)


def reward(scenario):
    out = np.zeros(1)
    scored(scenario, out, np.array([10.0]))
    return float(out[0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("helpers", "+ 1.0", "+ 5.0"), 26.0),
        (("deeper", "2.0 * x", "3.0 * x"), 32.0),
        (("based", "LIMIT: ClassVar[float] = 1.0", "LIMIT: ClassVar[float] = 4.0"), 25.0),
        (("based", "+ self.LIMIT", "- self.LIMIT"), 20.0),
    ],
    ids=["helper", "helper of a helper", "inherited constant", "inherited method"],
)
def test_a_change_in_another_module_is_compiled_anew(own, change, expected):
    assert reward(own()) == 22.0
    assert reward(own(change)) == expected


def test_other_changes_are_not_compiled_anew(own):
    first = numba.typeof(own())
    drawing = ("drawing", "return None", "return agents")
    assert numba.typeof(own(drawing, ("deeper", "\n\n", "\n\n# a comment\n\n"))) == first
