"""Kernels on disk: whose they are, and when they are used again."""

import importlib
import os
import shutil
import sys
import tempfile
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
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
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


def loosened(folder):
    folder.chmod(0o770)


def somebody_elses(folder):
    if os.getuid() != 0:
        pytest.skip("only root gives folders away")
    os.chown(folder, 65534, 65534)


def linked(folder):
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


@pytest.mark.parametrize("spoil", [loosened, somebody_elses, linked])
@pytest.mark.parametrize("which", ["parent", "folder"])
def test_kernels_that_others_could_have_written_are_not_loaded(checkout, tmp_path, spoil, which):
    """A kernel on disk is a pickle."""
    checkout("one")
    parent = tmp_path / "cache" / "marl"
    (folder,) = parent.iterdir()
    assert [x.stat().st_mode & 0o777 for x in (parent, folder)] == [0o700, 0o700]
    spoil(parent if which == "parent" else folder)
    hits, misses = used(checkout("other"))
    if (spoil, which) == (loosened, "parent"):  # nobody could enter the folder itself
        assert (hits, misses, parent.stat().st_mode & 0o777) == (1, 0, 0o700)
        return
    assert (hits, misses) == (0, 1)
    assert used(checkout("third")) == (1, 0)  # from the folder for temporary files
    assert [x.name for x in (tmp_path / "tmp").iterdir()] == [f"marl-{os.getuid()}"]


def test_the_folder_for_temporary_files_is_checked_too(checkout, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    link = tmp_path / "tmp" / f"marl-{os.getuid()}"
    (tmp_path / "theirs").mkdir()
    link.symlink_to(tmp_path / "theirs")
    add = checkout("one")
    assert add(1, 2) == 3  # compiled, and not kept
    assert [*(tmp_path / "theirs").iterdir()] == []


def test_without_a_home(checkout, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where no user is known
    monkeypatch.chdir(tmp_path)
    assert used(checkout("one")) == (0, 1)
    assert not (tmp_path / "~").exists()
    assert used(checkout("other")) == (1, 0)
