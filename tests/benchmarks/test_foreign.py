"""Curves of learning in foreign worlds are read from what finished runs logged."""

import sys
from pathlib import Path

import pytest
from tiny import TINY

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import foreign

from marl.config.parsing import parse_config, with_settings
from marl.runs.files import write_json
from marl.sweeps.sweep import load_sweep
from marl.training.loop import train

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_a_row_for_each_evaluation(data, monkeypatch, capsys):
    monkeypatch.setattr(foreign, "SWEEPS", {"small": "coverage"})
    config = with_settings(TINY, ["training.evaluate_every=200"])
    runs = [{"name": f"small-{i}", "point": {"base": "x"}, "seed": i} for i in range(2)]
    for run in runs:
        train(parse_config(with_settings(config, [f"training.seed={run['seed']}"])), run["name"])
    write_json(data / "sweeps" / "small" / "sweep.json", {"runs": runs})
    monkeypatch.setattr(sys, "argv", ["foreign.py", "--trained"])
    capsys.readouterr()
    foreign.main()
    said = capsys.readouterr().out.splitlines()
    assert "## small: coverage" in said
    rows = [line.split(" | ") for line in said if line.startswith(("| 200 ", "| 400 "))]
    assert len(rows) == 2
    curves = [foreign.curve(run["name"], "coverage") for run in runs]
    mean = sum(curve[400] for curve in curves) / 2
    assert rows[1][1].startswith(f"{mean:.3f} [")


@pytest.mark.parametrize("name", foreign.SWEEPS)
def test_the_sweeps_are_as_said(name):
    if name != "foreign_spread":
        pytest.importorskip("Box2D")  # pettingzoo[sisl]
    jobs = load_sweep(EXPERIMENTS / f"{name}.json").jobs
    assert len(jobs) == {"foreign_spread": 20, "multiwalker": 6, "multiwalker_longer": 3}[name]
    kinds = {"atoc"} if name == "multiwalker_longer" else {"atoc", "maddpg"}
    assert {job.config.agent_name for job in jobs} == kinds
    if name == "foreign_spread":  # all that differs between them is whose world it is
        ours, theirs = (
            next(job.config for job in jobs if job.config.scenario == scenario)
            for scenario in ("spread", "pettingzoo:mpe2/simple_spread_v3")
        )
        assert ours.agent == theirs.agent
        assert ours.training == theirs.training
        assert ours.exploration == theirs.exploration
        group, *others = [*spaces(ours), *spaces(theirs)]
        assert all(other == group for other in others)


def spaces(config):
    """Sizes, spaces of observations and of actions of a config's groups."""
    groups = config.make_world(1, 0).groups.values()
    return [
        (len(g), g.observation_space.shape, g.action_space.shape, len(g.choices)) for g in groups
    ]
