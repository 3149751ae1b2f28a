"""The comparison's page is made from what finished runs left behind."""

import sys
from pathlib import Path

import pytest
from tiny import TINY, write_tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import commands
import comparison

from marl.config.parsing import parse_config, with_settings
from marl.runs.files import write_json
from marl.training import session
from marl.training.loop import train


@pytest.fixture
def finished(data, here, tmp_path, monkeypatch):
    """A sweep of two rows: one run of the first is finished, and that of the second, which is tied
    to its number of agents; one of the first was never begun."""
    monkeypatch.setattr(commands, "marl", lambda *a, **k: pytest.fail("nothing is to be run"))
    monkeypatch.setattr(comparison, "marl", commands.marl)
    monkeypatch.setattr(comparison, "AGENTS", {4: [4, 5]})
    monkeypatch.setattr(session, "EVALUATION_EPISODES", 4)
    runs = []
    for called, agent in (("shared", "atoc"), ("tied", "maddpg")):
        settings = ["evaluation.episodes=8", "training.evaluate_every=100", f"agent.name={agent}"]
        train(parse_config(with_settings(TINY, settings)), f"small-{called}-0")
        runs.append({"name": f"small-{called}-0", "point": {"base": called}, "seed": 0})
    runs.append({"name": "small-shared-1", "point": {"base": "shared"}, "seed": 1})
    write_json(data / "sweeps" / "small" / "sweep.json", {"runs": runs})
    return write_tiny(tmp_path).rename(tmp_path / "small.json")


def test_a_page_of_what_is_finished(finished, monkeypatch, tmp_path):
    out = tmp_path / "docs" / "page.md"
    arguments = ["comparison.py", "--page", "--sweeps", str(finished), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    comparison.main()
    text = out.read_text()
    assert text.startswith("# The agents compared")
    assert "## Trained with 4 agents" in text
    own, larger = text.split("The same weights with 5 agents:")
    rows = [line.split(" | ") for line in own.splitlines() if line.startswith(("| sh", "| ti"))]
    assert sorted(row[0] for row in rows) == ["| shared", "| tied"]
    assert all(row[1] == "1" and float(row[-1].strip(" |")) >= 0 for row in rows)
    assert "| tied | 1 | - | - | - | - | - |" in larger
    assert "Left out: there is no run or sweep 'small-shared-1'" in text
    assert (out.parent / "small.png").stat().st_size > 10_000


def test_what_is_not_finished_is_trained_first(finished, monkeypatch, tmp_path):
    run = []
    monkeypatch.setattr(comparison, "marl", lambda *arguments: run.append(arguments))
    out = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["x", "--sweeps", str(finished), "--out", str(out)])
    comparison.main()
    assert run == [("sweep", str(finished))]
    assert out.exists()
