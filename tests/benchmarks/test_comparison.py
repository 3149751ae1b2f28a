"""The comparison's page is made from what finished runs left behind."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import commands
import comparison


def leave_behind(folder, row, seed, coverage, agents):
    """What a finished run leaves in its folder of statistics."""
    stats = folder / "stats" / f"comparison-{row}-{seed}"
    stats.mkdir(parents=True)
    steps = comparison.load_config(comparison.find_config(comparison.ROWS[row].config))
    line = {"step": steps.training.steps, "cpu_seconds": 100.0}
    points = [{**line, "evaluation": {"coverage": coverage / 2}}, line]
    (stats / "log.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    for n in agents:
        result = {"coverage": coverage - n / 1000, "collisions": 0.1, "reward": -1.0}
        (stats / f"evaluation-{n}.json").write_text(json.dumps([result]))


@pytest.fixture
def finished(tmp_path, monkeypatch):
    monkeypatch.setenv("MARL_DATA", str(tmp_path))
    monkeypatch.setattr(commands, "marl", lambda *a, **k: pytest.fail("nothing is to be run"))
    monkeypatch.setattr(comparison, "marl", commands.marl)
    for seed, coverage in enumerate([0.904, 0.704]):
        leave_behind(tmp_path, "atoc", seed, coverage, (4, 12, 80))
        leave_behind(tmp_path, "ddpg", seed, coverage, (4,))
    return tmp_path


def test_finished_runs_are_not_run_again(finished, monkeypatch, capsys):
    out = finished / "page.md"
    arguments = ["comparison.py", "--seeds", "0", "1", "--rows", "atoc", "ddpg", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    comparison.main()
    rows = [line for line in out.read_text().splitlines() if line.startswith("| ")]
    shared, independent = rows[-2:]
    assert "| 2 | 0.800 [0.700, 0.900] | 0.700 |" in shared
    assert "| 0.792 [0.692, 0.892] | 0.724 [0.624, 0.824] | 100 |" in shared
    assert "| tied to N=4 | tied to N=4 |" in independent
    assert out.with_suffix(".png").stat().st_size > 10_000
    assert shared in capsys.readouterr().out


def test_a_page_of_what_is_finished(finished, monkeypatch):
    (finished / "stats" / "comparison-atoc-1" / "evaluation-4.json").unlink()
    out = finished / "page.md"
    arguments = ["comparison.py", "--rows", "atoc", "ddpg", "--page", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    comparison.main()
    assert "| 1 | 0.900 [0.900, 0.900] | 0.900 |" in out.read_text()


def test_rows_without_a_finished_run_are_left_out(finished, monkeypatch, capsys):
    out = finished / "page.md"
    arguments = ["comparison.py", "--page", "--out", str(out), "--rows", "saddpg"]
    monkeypatch.setattr(sys, "argv", [*arguments, "atoc"])
    comparison.main()
    assert "SADDPG" not in out.read_text().split("| row |")[1]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="2"):
        comparison.main()
    assert "no run of --rows and --seeds is finished" in capsys.readouterr().err


def test_an_interrupted_run_is_resumed(finished, monkeypatch):
    (finished / "stats" / "comparison-ddpg-0" / "log.jsonl").write_text('{"step": 1}\n')
    run = []
    monkeypatch.setattr(commands, "marl", lambda *arguments, **_: run.append(arguments))
    comparison.train("ddpg", 0)
    assert run == [("resume", "comparison-ddpg-0")]


def test_a_run_that_is_not_there_is_trained_and_evaluated(finished, monkeypatch):
    run = []
    monkeypatch.setattr(commands, "marl", lambda *arguments, **_: run.append(arguments))
    monkeypatch.setattr(comparison, "marl", commands.marl)
    comparison.train("atoc-shared", 3)
    assert run[0][0] == "train"
    assert run[0][-4:] == ("--seed", "3", "--set", "world.reward=shared")
    assert [arguments[3] for arguments in run[1:]] == ["4", "12", "80"]


def test_the_interval_of_equal_values_is_a_point():
    assert comparison.interval([0.5, 0.5, 0.5]) == "0.500 [0.500, 0.500]"
