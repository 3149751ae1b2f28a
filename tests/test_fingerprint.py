"""Digests of loaded code: what they see, and what they leave alone."""

import importlib
import sys
import textwrap

import pytest

from marl.fingerprint import fingerprint

HELPERS = """
from numba import njit
import marl.particles as particles
from deeper import far

LIMIT = 0.1
TABLE = {"a": (1, 2.0)}

@njit
def near(d):
    return far(d) < LIMIT

def plain(d):
    return d

class Things:
    size = 3

    @property
    def half(self):
        return self.size / 2
"""
DEEPER = """
import numpy as np
from numba import njit

SCALE = np.array([2.0, 3.0])
UNUSED = 1

@njit
def far(d):
    return d * SCALE[0]
"""
OWN = """
import helpers
from helpers import near, Things, TABLE

def outer(x):
    def inner(d):
        return near(d) + x
    return inner

def by_module(d):
    return helpers.near(d)

def by_closure():
    return outer(1.0)

def by_default(d, of=near):
    return of(d)

def by_class(d):
    return Things.size

def by_table(d):
    return TABLE["a"]

def by_lambda(d):
    return (lambda x: near(x))(d)
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Imports the module `own` anew, with texts changed by (file, old, new)."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(*changes):
        for name, text in (("own", OWN), ("helpers", HELPERS), ("deeper", DEEPER)):
            for file, old, new in changes:
                if file == name:
                    assert old in text
                    text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("own")

    yield load
    for name in ("own", "helpers", "deeper"):
        sys.modules.pop(name, None)


def digests(own):
    return {
        "by_module": fingerprint(own.by_module),
        "by_closure": fingerprint(own.by_closure()),
        "by_default": fingerprint(own.by_default),
        "by_class": fingerprint(own.by_class),
        "by_table": fingerprint(own.by_table),
        "by_lambda": fingerprint(own.by_lambda),
    }


COMPILED = {"by_module", "by_closure", "by_default", "by_lambda"}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (("helpers", "far(d) < LIMIT", "far(d) <= LIMIT"), COMPILED),
        (("helpers", "LIMIT = 0.1", "LIMIT = 0.2"), COMPILED),
        (("deeper", "d * SCALE[0]", "d / SCALE[0]"), COMPILED),
        (("deeper", "[2.0, 3.0]", "[2.0, 3.5]"), COMPILED),
        (("helpers", "@njit\n", "@njit(fastmath=True)\n"), COMPILED),
        (("own", "outer(1.0)", "outer(2.0)"), {"by_closure"}),
        (("helpers", "size = 3", "size = 4"), {"by_class"}),
        (("helpers", "self.size / 2", "self.size / 3"), {"by_class"}),
        (("helpers", "(1, 2.0)", "(1, 2)"), {"by_table"}),
        (("helpers", "return d\n", "return -d\n"), set()),
        (("deeper", "UNUSED = 1", "UNUSED = 2"), set()),
        (("deeper", "\n@njit", "\n# a comment\n\n@njit"), set()),
    ],
    ids=lambda x: " to ".join(map(repr, x[1:])) if isinstance(x, tuple) else "",
)
def test_what_is_read_is_seen_and_nothing_else(loaded, change, seen):
    before = digests(loaded())
    assert digests(loaded()) == before
    after = digests(loaded(change))
    assert {name for name in before if after[name] != before[name]} == seen


def test_an_implementation_for_compiled_code_is_seen(loaded):
    overloaded = textwrap.dedent("""
        from numba.extending import overload

        @overload(plain)
        def _ol_plain(d):
            return lambda d: d + 1
    """)
    text = "def plain(d):\n    return d\n"
    reads = (
        "own",
        "def by_table(d):",
        "from helpers import plain\n\ndef by_table(d):\n    plain(d)",
    )
    one = loaded(reads, ("helpers", text, text + overloaded))
    before = fingerprint(one.by_table)
    other = loaded(reads, ("helpers", text, text + overloaded.replace("d + 1", "d + 2")))
    assert fingerprint(other.by_table) != before


def test_an_edit_after_the_import_changes_nothing(loaded, tmp_path):
    """What is compiled is the code that was imported."""
    own = loaded()
    before = digests(own)
    (tmp_path / "helpers.py").write_text(HELPERS.replace("0.1", "0.3"))
    assert digests(own) == before


def test_a_constant_set_by_the_program_is_seen(loaded):
    own = loaded()
    before = digests(own)
    sys.modules["helpers"].LIMIT = 0.3
    assert {name for name, new in digests(own).items() if new != before[name]} == COMPILED


def test_sets_are_the_same_in_all_processes():
    """Whatever order their members have."""
    words = [f"word {i}" for i in range(20)]
    assert fingerprint({*words}) == fingerprint({*reversed(words)})
    assert fingerprint(frozenset(words)) != fingerprint(frozenset(words[1:]))
