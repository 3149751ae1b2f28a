"""The race to a coverage: its configs, its times, its table."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import race

from marl.config.parsing import load_config

CURVE = [(1600, 1.0, 0.2), (3200, 2.5, 0.96), (4800, 4.0, 0.94)]


@pytest.mark.parametrize("row", race.ROWS)
def test_all_rows_run_the_same_race(row):
    config, spread = (load_config(path) for path in (race.CONFIGS / f"{row}.json", race.SPREAD))
    assert config.agent.name == row
    assert config.agent.network == "set"
    assert config.evaluation_world.model_copy(update={"actions": "continuous"}) == (
        spread.evaluation_world
    )
    assert config.training.vary == spread.training.vary
    assert config.training.log_every == config.training.evaluate_every
    agent = config.make_agent(config.evaluation_world.groups, 0)
    assert agent.size_invariant


def test_the_finish_is_the_first_evaluation_there():
    assert race.seconds_to(CURVE, 0.95) == 2.5
    assert race.seconds_to(CURVE, 0.97) is None


def test_runs_are_trained_and_played_in_all_sizes(data, monkeypatch):
    asked = []

    def trained(name, config, seed, root):
        asked.append((name, config.stem, seed))
        evaluation = {"reward": -1.0, "coverage": 0.96}
        return [
            {"step": 100, "cpu_seconds": 2.0},
            {"step": 100, "cpu_seconds": 5.0, "evaluation": evaluation},
        ]

    def play(name, n, starts, root):
        asked.append((name, n))
        return {"coverage": 0.9 - 0.001 * n, "collisions": 0.1}

    monkeypatch.setattr(race, "trained", trained)
    monkeypatch.setattr(race, "play", play)
    options = Namespace(rows=["atoc", "iql"], seeds=2, jobs=1, development=True)
    record = race.Record(data / "race.json", "race")
    race.complete(record, options)
    assert ("iql-1", "iql", 1) in asked
    assert {n for name, n in (x for x in asked if len(x) == 2) if name == "atoc-0"} == {4, 12, 80}
    lines = race.table(record).splitlines()
    cells = "0.896 (0.896), 0.10 | 0.888 (0.888), 0.10 | 0.820 (0.820), 0.10"
    assert lines[2] == f"| `atoc` | 2, 2 | 2 | {cells} |"
    assert lines[-1].startswith("- `atoc`, `iql`: seeds 0, 1; starts 0; commit development;")
