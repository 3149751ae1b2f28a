"""The page on scaling is made from what finished runs left behind."""

import json
import sys
from pathlib import Path

import pytest
from tiny import TINY

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import commands
import scaling

from marl.config.parsing import parse_config, with_settings
from marl.runs.files import write_json
from marl.sweeps.sweep import load_sweep
from marl.training import session
from marl.training.loop import train

FOLDER = Path(__file__).parents[2]

TEXT = """# Scaling

<!-- table: coverage of small with 4 6 agents -->

Less far:

<!-- table: gaps of small with 4 6 agents at length -->

<!-- table: training of small with 6 agents, world.agent_density=2 -->

<!-- table: training of small with 4 agents -->

<!-- plot: learning of small with 4 agents -->
"""


@pytest.fixture
def finished(data, here, monkeypatch):
    """A sweep of two seeds, with evaluations at another number of agents."""
    monkeypatch.setattr(scaling, "marl", lambda *a, **k: pytest.fail("nothing is to be run"))
    monkeypatch.setattr(commands, "marl", scaling.marl)
    monkeypatch.setattr(session, "EVALUATION_EPISODES", 4)
    monkeypatch.setattr(scaling, "AGENTS_WORTH", 8)
    monkeypatch.setattr(scaling, "MEMORY_FROM", 6)
    monkeypatch.setattr(scaling, "AT_LENGTH", (3, 4))
    settings = ["training.evaluate_every=200", "training.evaluate_agents=[6]", "agent.network=set"]
    runs = []
    for seed in (0, 1):
        train(parse_config(with_settings(TINY, [*settings, f"training.seed={seed}"])), f"s-{seed}")
        runs.append({"name": f"s-{seed}", "point": {}, "seed": seed})
    write_json(data / "sweeps" / "small" / "sweep.json", {"runs": runs})


def write(monkeypatch, folder: Path, text: str) -> Path:
    (folder / "text.md").write_text(text)
    out = folder / "docs" / "scaling.md"
    arguments = ["scaling.py", "--page", "--text", str(folder / "text.md"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    scaling.main()
    return out


def test_a_page_of_what_is_finished(finished, data, monkeypatch, tmp_path):
    out = write(monkeypatch, tmp_path, TEXT)
    rows = data / "measurements"
    stored = [json.loads(path.read_text())["depends_on"] for path in rows.glob("s-0-*")]
    assert sorted((x["agents"], x["episodes"]) for x in stored) == [(4, 2), (4, 3), (6, 2), (6, 2)]
    page = out.read_text()
    assert page.startswith("# Scaling\n\n|  | N=4 | N=6 |")
    coverage, less = page.split("Less far:")
    rows = [row.split("|")[1:-1] for row in coverage.splitlines() if row.startswith("| small")]
    medians = [float(cell.partition("(")[0]) for cell in rows[0][1:]]
    oracle = next(row for row in coverage.splitlines() if row.startswith("| assignment"))
    best = [float(cell) for cell in oracle.split("|")[2:-1]]
    gap = next(row for row in less.splitlines() if row.startswith("| small")).split("|")[3]
    below_oracle, below_own = (float(x) for x in gap.split("/"))
    assert below_oracle == pytest.approx(best[1] - medians[1], abs=2e-3)
    assert below_own == pytest.approx(medians[0] - medians[1], abs=2e-3)
    assert "| trained in CPU-s (most) |" in less
    assert "![learning](scaling-learning.png)" in less
    assert (out.parent / "scaling-learning.png").read_bytes().startswith(b"\x89PNG")


def test_our_text_asks_for_what_there_is():
    text = (FOLDER / "benchmarks" / "scaling.md").read_text()
    requests = [*scaling.REQUEST.finditer(text)]
    assert len(requests) == text.count("<!--") > 20
    for kind, what, names, _, _, settings in (request.groups() for request in requests):
        assert what in (scaling.TABLES if kind == "table" else scaling.PLOTS)
        for name in names.split():
            sweep = load_sweep(FOLDER / "experiments" / f"{name}.json")
            for setting in (settings or "").split():
                with_settings(sweep.jobs[0].config.to_json(), [setting])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("<!-- table: beauty of small with 4 agents -->", "there is no table 'beauty'"),
        ("<!-- plot: coverage of small with 4 agents -->", "there is no plot 'coverage'"),
        ("<!-- table: coverage of small -->", "this is not understood: <!-- table"),
    ],
)
def test_a_request_that_is_not_understood_is_refused(data, monkeypatch, tmp_path, request_, said):
    with pytest.raises(SystemExit, match=said):
        write(monkeypatch, tmp_path, request_)
    assert not (tmp_path / "docs" / "scaling.md").exists()
