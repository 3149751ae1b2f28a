import io

import pytest
from rich.console import Console

from marl.errors import UserError
from marl.runs.curves import _curves, _panels, plot_run
from marl.runs.log import Log, read_log
from marl.runs.run import Run
from marl.studies.tables import print_table

RESULT = {
    "agents": 80,
    "episodes": 250,
    "coverage": 0.9123,
    "coverage_ci95": [0.9023, 0.9223],
    "collisions": 0.1,
    "reward": -250.04,
}


def test_table_fits_a_terminal():
    output = io.StringIO()
    print_table([("local-assignment", RESULT), ("b", {**RESULT, "coverage_ci95": None})], Console(
        file=output, width=80, force_terminal=True, no_color=True
    ))  # fmt: skip
    text = output.getvalue()
    assert "0.912 ±0.010" in text
    assert "-250.0" in text
    assert "…" not in text


def test_plot(data):
    run = Run("a")
    log = Log(run.stats, 0)
    for step in (10, 20):
        log.write({"step": step, "reward": -1.0, "metrics": {"coverage": 0.1, "collisions": 0.2}})
    log.write({"step": 20, "evaluation": RESULT, "evaluation_80": {**RESULT, "coverage": 0.5}})
    log.close()
    curves = _curves(read_log(run.stats), "coverage")
    assert curves == {
        "training": [(10, 0.1), (20, 0.1)],
        "evaluation": [(20, RESULT["coverage"])],
        "evaluation, N=80": [(20, 0.5)],
    }
    assert plot_run("a") == run.stats / "curve.png"
    assert (run.stats / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_outcomes_are_plotted_over_the_last_episodes(data):
    log = Log(Run("a").stats, 0)
    log.write({"step": 10, "reward": -1.0, "metrics": {"score": 0.9}})
    log.write({"step": 20, "reward": -2.0, "metrics": {}, "last_100": {"score": 0.4}})
    log.close()
    lines = read_log(Run("a").stats)
    assert _curves(lines, "score") == {"training, last 100 episodes": [(20, 0.4)]}
    assert _curves(lines, "reward") == {"training": [(10, -1.0), (20, -2.0)]}
    plain = plot_run("a").read_bytes()
    assert plot_run("a", solved_at=0.5).read_bytes() != plain


def test_a_world_of_ones_own_shows_its_own_metric(data, recwarn):
    result = {"agents": 3, "episodes": 9, "arrived": 0.25, "arrived_ci95": [0.15, 0.35]}
    output = io.StringIO()
    print_table([("a", result), ("b", {**RESULT})], Console(file=output, width=80))
    heading, own, other = output.getvalue().splitlines()
    assert heading.split() == [
        "policy",
        "agents",
        "episodes",
        "arrived",
        "coverage",
        "collisions",
        "reward",
    ]
    assert own.split()[3:] == ["0.250", "±0.100", "-", "-", "-"]
    assert other.split()[3] == "-"
    log = Log(Run("a").stats, 0)
    log.write({"step": 10, "reward": -1.0, "metrics": {"arrived": 0.1}})
    log.close()
    assert _panels(read_log(Run("a").stats)) == ["arrived", "reward"]
    assert plot_run("a").exists()
    assert not recwarn.list


def test_no_log_no_plot(data):
    with pytest.raises(UserError, match="has no log"):
        plot_run("a")
