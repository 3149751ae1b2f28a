import io

import pytest
from rich.console import Console

from marl.errors import UserError
from marl.reports import plot_run, print_table
from marl.runs import Log, Run

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
    log.write({"step": 20, "evaluation": RESULT})
    log.close()
    assert plot_run("a") == run.stats / "curve.png"
    assert (run.stats / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_no_log_no_plot(data):
    with pytest.raises(UserError, match="has no log"):
        plot_run("a")
