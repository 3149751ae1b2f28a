"""When the average was first at a mark, whether it stayed, and how the final policies play."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import tennis

from marl.config.parsing import parse_config, with_settings
from marl.evaluation import evaluate
from marl.runs.files import write_json
from marl.runs.loading import find_policy
from marl.runs.log import Log
from marl.runs.run import Run
from marl.sweeps.sweep import load_sweep
from marl.training.loop import train

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TENNIS = {
    "world": {"scenario": "tennis"},
    "agent": {"hidden": [8]},
    "training": {**TINY["training"], "steps": 2400, "log_every": 400, "learning_starts": 2000},
}


def test_curves(data):
    log = Log(Run("a").stats, 0)
    for step, score in enumerate([None, 0.1, 0.6, 0.4, 0.7, 0.7]):
        line = {"step": step, "episodes": 10 * step, "cpu_seconds": step / 2}
        log.write(line if score is None else {**line, "last_100": {"score": score}})
    log.write({"step": 5, "cpu_seconds": 9.0, "evaluation": {"score": 2.0}})
    log.close()
    own = tennis.curve("a")
    assert own["steps"].tolist() == [1, 2, 3, 4, 5]
    assert tennis.reached(own, 0.5) == {"score": 0.6, "episodes": 20, "steps": 2, "cpu": 1.0}
    assert tennis.kept(own, 0.5) == 0.75
    assert tennis.reached(own, 1.0) is None
    assert np.isnan(tennis.kept(own, 1.0))
    assert tennis.when([own, own], 0.7) == ["40 (40 to 40)", "2.0 (2.0 to 2.0)"]
    short = {name: values[:2] for name, values in own.items()}
    assert tennis.when([own, short], 0.7)[0] == "40 (40 to 40), 1 of 2 runs"
    assert tennis.when([short], 0.7) == ["never", "never"]


def test_a_row_for_each_algorithm(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tennis, "SWEEPS", {"small": "x"})
    monkeypatch.setattr(tennis, "RALLIES", 20)
    runs = [{"name": f"small-{i}", "point": {"base": "x"}, "seed": i} for i in range(2)]
    for run in runs:
        config = with_settings(TENNIS, [f"training.seed={run['seed']}"])
        train(parse_config(config), run["name"])
    write_json(data / "sweeps" / "small" / "sweep.json", {"runs": runs})
    picture = tmp_path / "curves.png"
    arguments = ["tennis.py", "learning", "--trained", "--plot", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    capsys.readouterr()
    tennis.main()
    rows = [
        line.strip("| ").split(" | ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    ]
    assert [row[0] for row in rows] == ["policy", "---", "x", *tennis.YARDSTICKS]
    own = find_policy("small-0")
    result = evaluate(own.policy, own.world, 2, 20, own.config.evaluation.seed)
    assert tennis.played("small-0") == result["score"]
    scores = [tennis.played(run["name"]) for run in runs]
    assert rows[2][-2:] == [f"{np.median(scores):.2f}", f"{min(scores):.2f}"]
    assert rows[-1][-2] == "2.60"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_how_far_play_swings(data, monkeypatch, capsys):
    """In the second half: steps 50 to 100."""
    runs = [{"name": f"small-{i}", "point": {"base": "x"}, "seed": i} for i in range(2)]
    for i, run in enumerate(runs):
        settings = [f"training.seed={i}", "training.steps=100", "training.log_every=100"]
        train(parse_config(with_settings(TENNIS, settings)), run["name"])
        path = Run(run["name"]).stats / "log.jsonl"
        scores = {25: 0.0, 50: 2.5, 75: 1.0 + i, 100: 2.0}
        lines = [{"step": step, "evaluation": {"score": x}} for step, x in scores.items()]
        path.write_text(path.read_text() + "".join(json.dumps(line) + "\n" for line in lines))
    write_json(data / "sweeps" / tennis.CURES / "sweep.json", {"runs": runs})
    monkeypatch.setattr(sys, "argv", ["tennis.py", "cures", "--trained"])
    capsys.readouterr()
    tennis.main()
    assert "| x | 2.00 | 17 % | 1.00 | 1.50 | 2.00 (2.00) |" in capsys.readouterr().out


def test_the_cures_are_as_said():
    jobs = load_sweep(EXPERIMENTS / f"{tennis.CURES}.json").jobs
    assert len(jobs) == 25
    plain, *others = (jobs[i].config.flat() for i in range(0, 25, 5))
    for other in others:
        (key,) = {key for key in plain if plain[key] != other[key]}
        assert key != "training.seed"


def test_speed(monkeypatch):
    monkeypatch.setattr(tennis, "SECONDS", 0.01)
    _, rows = tennis.speed()
    assert [courts for courts, _ in rows] == ["1", "64", "1,024"]
    assert all(float(rate.replace(",", "")) > 0 for _, rate in rows)


def test_noise(monkeypatch):
    monkeypatch.setattr(tennis, "RALLIES", 20)
    _, rows = tennis.noise()
    scores = [float(score) for _, score in rows]
    assert scores[0] == 2.6
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.2


@pytest.mark.parametrize("name", tennis.SWEEPS)
def test_the_sweeps_are_as_said(name):
    jobs = load_sweep(EXPERIMENTS / f"{name}.json").jobs
    seeds = {job.config.training.seed for job in jobs}
    assert len(seeds) == 5
    assert {job.config.world.legacy for job in jobs} == {name == "tennis_legacy"}
    assert {job.config.evaluation.world.get("legacy", False) for job in jobs} == {False}
