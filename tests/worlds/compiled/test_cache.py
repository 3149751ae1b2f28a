"""Kernels on disk: whose they are, and when they are used again."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from numba.core import caching

from marl.worlds.compiled import cache

SUM = """
from worlds.compiled.cache import kernel

@kernel
def add(a, b):
    return a + b
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Makes a copy of the module in a package of worlds, with a kernel beside, and returns the
    kernel."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")

    def make(name, source=SUM, helper=""):
        folder = tmp_path / name / "worlds" / "compiled"
        folder.mkdir(parents=True)
        shutil.copy(cache.__file__, folder)
        (folder / "sums.py").write_text(source)
        (folder / "helper.py").write_text(helper)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / name)
            for module in [name for name in sys.modules if name.partition(".")[0] == "worlds"]:
                patch.delitem(sys.modules, module)
            add = importlib.import_module("worlds.compiled.sums").add
            assert add(1, 2) == 3
            assert Path(add.py_func.__code__.co_filename) == folder / "sums.py"
        return add

    yield make
    for module in [name for name in sys.modules if name.partition(".")[0] == "worlds"]:
        del sys.modules[module]


def used(add):
    """How often a kernel was found on disk, and how often it was not."""
    return sum(add.stats.cache_hits.values()), sum(add.stats.cache_misses.values())


@pytest.mark.skipif(
    not hasattr(caching, "UserProvidedCacheLocator"), reason="an older numba keeps them apart"
)
def test_checkouts_with_equal_sources_share_kernels(checkout):
    assert used(checkout("one")) == (0, 1)
    assert used(checkout("other")) == (1, 0)


def test_other_sources_have_other_kernels(checkout, tmp_path):
    assert used(checkout("one")) == (0, 1)
    assert used(checkout("other", SUM + "# changed\n")) == (0, 1)
    assert len(list((tmp_path / "cache" / "marl").iterdir())) == 2


HELPER = """
from numba import njit

@njit
def plus(a, b):
    return a + b
"""
BY_HELPER = SUM.replace("return a + b", "return plus(a, b)").replace(
    "import kernel", "import kernel\nfrom worlds.compiled.helper import plus"
)


def test_a_folder_of_ones_own_keeps_versions_apart_too(checkout, tmp_path, monkeypatch):
    """The one that NUMBA_CACHE_DIR names: numba by itself would not see a change of the helper."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "own"))
    assert used(checkout("one", BY_HELPER, HELPER)) == (0, 1)
    (tmp_path / "one").rename(tmp_path / "before")
    changed = HELPER.replace("a + b", "b + a")
    assert used(checkout("one", BY_HELPER, changed)) == (0, 1)
    assert not (tmp_path / "cache").exists()
