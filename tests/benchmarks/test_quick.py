"""Every benchmark of learning runs, and the loop that we compare with is fit for it."""

import sys
from pathlib import Path

import forks
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))
import updates  # noqa: E402


@pytest.mark.parametrize("script", ["updates", pytest.param("training", marks=pytest.mark.long)])
def test_a_quick_run(script, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, FOLDER / f"{script}.py", "--quick", "--json", report]
    done = forks.run(command)
    assert done.returncode == 0, done.stderr
    assert "Targets" in done.stdout
    assert report.exists()


def test_a_quick_run_of_seeds():
    command = [sys.executable, FOLDER / "seeds.py", "--quick"]
    done = forks.run(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("atoc_tuned") == 2


@pytest.mark.long
def test_a_quick_run_of_kills():
    command = [sys.executable, FOLDER / "reliability.py", "--quick"]
    done = forks.run(command)
    assert done.returncode == 0, done.stderr
    assert "2 kills in" in done.stdout
    assert done.stdout.endswith("No finished run was lost, no file was broken.\n")


@pytest.mark.parametrize("name", updates.NAMES)
def test_the_loop_computes_the_same(name):
    assert updates.disagreement(name, agents=3) < updates.TOLERANCE


@pytest.mark.parametrize("name", updates.NAMES)
def test_a_loop_that_computes_something_else_is_found_out(name, monkeypatch):
    """Were its targets to stand still."""
    monkeypatch.setattr(updates, "follow", lambda target, source, rate: None)
    assert updates.disagreement(name, agents=3) > 10 * updates.TOLERANCE
