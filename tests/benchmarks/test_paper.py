"""The paper's tables are filled from what finished runs reach."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TINY

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import paper

from marl.config.parsing import parse_config, with_settings
from marl.runs.files import write_json
from marl.sweeps.sweep import load_sweep
from marl.training.loop import train
from marl.worlds.registry import find_scenario

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def trained(data: Path, table: str, world: list[str], names: list[str]) -> None:
    """A finished sweep of one seed for each algorithm, and a DDPG run that was never begun."""
    runs = []
    for name in names:
        settings = ["evaluation.episodes=8", f"agent.name={name.lower()}", *world]
        config = parse_config(with_settings(TINY, settings))
        train(config, f"paper_{table}-{name}-0")
        runs.append({"name": f"paper_{table}-{name}-0", "point": {"base": name}, "seed": 0})
    runs.append({"name": f"paper_{table}-DDPG-1", "point": {"base": "DDPG"}, "seed": 1})
    write_json(data / "sweeps" / f"paper_{table}" / "sweep.json", {"runs": runs})


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def test_rivals_meet_in_every_pairing(data, monkeypatch, capsys):
    settings = ["world.scenario=tag", "world.good_speed=2.0", "world.actions=discrete"]
    trained(data, "tag", settings, ["MADDPG", "DDPG"])
    monkeypatch.setattr(sys, "argv", ["paper.py", "tag", "--trained"])
    paper.main()
    said = capsys.readouterr().out
    slow, fast = said.split("**prey 100 % faster**")
    assert slow.count("| - |") == 4  # nothing is trained yet
    for pair, figure in paper.TABLES["tag"].games[1].printed.items():
        row = next(line for line in fast.splitlines() if line.startswith(f"| {' | '.join(pair)} "))
        assert f"]; paper {figure[0]}" in row
    assert "1 seeds, 16 episodes" in fast
    assert "Left out: there is no run or sweep 'paper_tag-DDPG-1'" in fast
    assert fast.count("Predators that run straight at it touch a prey that") == 2


def test_distances_are_what_collisions_leave_of_the_reward(data):
    """In episodes of one step what is left at the end is all that there was."""
    settings = ["world.scenario=spread", "world.reward=shared", "world.episode_length=1"]
    crowded = ["world.num_agents=12", "world.agent_density=40"]
    trained(data, "navigation", settings + crowded, ["MADDPG"])
    values = paper.played("paper_navigation-MADDPG-0")
    assert values["colliding"].max() >= 2
    columns, more = paper.TABLES["navigation"].columns, paper.TABLES["navigation"].more
    np.testing.assert_allclose(
        columns["distance"](values), more["distance at the end"](values), rtol=1e-5
    )
    np.testing.assert_allclose(columns["collisions"](values), 25 * values["colliding"])


@pytest.mark.parametrize("name", ["tag", "deception", "crypto"])
def test_pairings_are_named_as_the_paper_names_them(name, monkeypatch):
    """Crossplay's first side is the second of the paper's where the table is turned."""

    class Pairs:
        policies = [SimpleNamespace(config=SimpleNamespace(agent_name=x)) for x in "ab"]  # noqa: RUF012
        values = {(0, 1): {"first a": 1}, (1, 0): {"first b": 1}}  # noqa: RUF012

        def __init__(self, *_):
            pass

        def play(self, _):
            return ()

    monkeypatch.setattr(paper, "Crossplay", Pairs)
    table = paper.TABLES[name]
    first = 1 if table.turned else 0
    for row, values in paper.measured(table, []):
        assert values == {f"first {row[first].lower()}": 1}


def test_a_page_with_the_tables_that_it_asks_for(data, monkeypatch, tmp_path):
    monkeypatch.setattr(paper, "EPISODES", 8)
    trained(data, "communication", ["world.scenario=speaker_listener"], ["MADDPG"])
    text = tmp_path / "paper.py"
    text.with_suffix(".md").write_text("# A page\n\n<!-- table: communication -->\n\nThe end.\n")
    out = tmp_path / "docs" / "paper.md"
    monkeypatch.setattr(paper, "__file__", str(text))
    monkeypatch.setattr(sys, "argv", ["paper.py", "--page", "--trained", "--out", str(out)])
    paper.main()
    page = out.read_text()
    assert page.startswith("# A page\n\n| policy | reached, % | distance |")
    assert "; paper 84.0 | " in page
    assert "| DDPG | - | - |" in page
    assert page.endswith("The end.\n")


def test_an_unknown_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paper.py", "atari"])
    with pytest.raises(SystemExit):
        paper.main()
    assert "'atari' is no table; choose from communication, navigation" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tag", "deception", "crypto"])
def test_rows_name_the_sides_in_the_papers_order(name):
    """Crossplay pairs the scenario's first side with its second."""
    groups = {"predators": "adversaries", "prey": "good", "agents": "good"}
    groups |= {"adversary": "adversaries", "Alice and Bob": "alice", "Eve": "eve"}
    scenario = load_sweep(EXPERIMENTS / f"paper_{name}.json").jobs[0].config.scenario
    kind, table = find_scenario(scenario), paper.TABLES[name]
    sides = kind.sides or [(group,) for group in kind().groups]
    ours = sides[::-1] if table.turned else sides
    assert all(groups[player] in side for player, side in zip(table.players, ours, strict=True))


@pytest.mark.parametrize("name", paper.TABLES)
def test_each_table_has_a_sweep_with_its_worlds_and_seeds(name):
    jobs = load_sweep(EXPERIMENTS / f"paper_{name}.json").jobs
    table = paper.TABLES[name]
    algorithms = {name for game in table.games for row in game.printed for name in row}
    assert {job.config.agent_name.upper() for job in jobs} == algorithms
    assert len({job.seed for job in jobs}) == (3 if name == "tag" else 5)
    for game in table.games:
        assert any(game.world.items() <= job.config.to_json()["world"].items() for job in jobs)
