"""The table of learners on MPE's worlds: its runs, how returns are counted, the page."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import mpe

from marl.config.parsing import parse_config

PLAYED = {
    "tag": {"reward": -1.0, "reward_adversaries": 0.4, "reward_good": -5.0, "touches": 0.04},
    "spread": {"reward": -4.0, "coverage": 0.6},
}


@pytest.fixture
def asked(data, monkeypatch):
    """The trainings and evaluations that were asked for; none takes place."""
    asked = []

    def trained(name, config, seed, root):
        asked.append((name, json.loads(config.read_text())))
        return [{"cpu_seconds": 60.0, "step": 1000}]

    def marl(verb, name, *options, root):
        asked.append((verb, name, options))
        world = name.split("-")[1]
        Path(options[options.index("--json") + 1]).write_text(json.dumps([PLAYED[world]]))

    monkeypatch.setattr(mpe, "trained", trained)
    monkeypatch.setattr(mpe, "marl", marl)
    monkeypatch.setattr(mpe, "random_play", lambda *of: mpe.Score(0.0, 0, -9.0, -3.0, 0.1))
    monkeypatch.setattr(mpe, "commit_of", lambda *configs: "0" * 40)
    return asked


@pytest.mark.parametrize("name", mpe.TASKS)
@pytest.mark.parametrize("row", mpe.ROWS)
def test_every_row_fits_every_world(row, name):
    settings = mpe.settings(row, name)
    if "agents" in settings:  # a rival that needs no training
        settings["agents"] = dict.fromkeys(settings["agents"], "random")
    config = parse_config(settings)
    agent = config.make_agent(config.world.groups, 0, config.world)
    world = config.make_world(1, 0)
    assert agent.act(world.reset()).keys() == world.groups.keys()


def recorded(data, worlds, rows=("maddpg", "ddpg"), seeds=2):
    record = mpe.Record(data / "mpe.json", "mpe")
    mpe.complete(record, Namespace(rows=list(rows), worlds=list(worlds), seeds=seeds, jobs=1))
    return record


def test_one_side_learns_against_a_rival_trained_before(asked, data):
    record = recorded(data, ["tag"])
    assert asked[0][0] == "rivals-tag"
    assert "agents" not in asked[0][1]
    name, config = asked[1]
    assert name.startswith("maddpg-tag-")
    assert config["agents"] == {"good": {"frozen": "rivals-tag"}}
    assert (config["agent"]["name"], config["world"]["actions"]) == ("maddpg", "discrete")
    score = record.rows["tag/ddpg"]["runs"][0]
    assert score["own_return"] == pytest.approx(25 * 0.4)  # of those who learn
    assert score["team_return"] == pytest.approx(3 * 25 * 0.4)
    assert score["seed"] >= 1000


def test_a_common_reward_is_not_summed_again(asked, data):
    score = recorded(data, ["spread"]).rows["spread/maddpg"]["runs"][0]
    assert score["team_return"] == score["own_return"] == pytest.approx(25 * -4.0)
    assert any("world.reward=original" in x[2] for x in asked if x[0] == "evaluate")


@pytest.mark.parametrize("name", ["spread", "tag"])
def test_random_play_against_the_rival_is_the_last_line(name, data, monkeypatch):
    monkeypatch.setattr(mpe, "EPISODES", 10)
    steps = ["training.steps=40", "training.learning_starts=40"]
    read = mpe.read_config
    monkeypatch.setattr(mpe, "read_config", lambda path: mpe.with_settings(read(path), steps))
    if name == "tag":
        mpe.rival(name, data)
    score = mpe.random_play(name, 0, data)
    assert score.team_return == pytest.approx({"spread": 1, "tag": 3}[name] * score.own_return)
    assert score.own_return != 0.0


def test_the_best_row_stands_first():
    scores = {
        row: {"runs": [{"seed": s, "cpu_seconds": 60.0, "steps": 10, "team_return": value + s,
               "own_return": value, "metric": 0.5} for s in range(3)]}
        for row, value in (("iql", -140.0), ("qmix", -130.0))
    }  # fmt: skip
    lines = mpe.table("spread", scores).splitlines()
    assert lines[2].startswith("| `qmix` | -129.0 [-130.0, -129.0, -128.0] | -130.0 |")
    assert lines[2].endswith("| -126.62 |")
    assert lines[3].startswith("| `iql` |")


def test_the_page_says_what_is_missing(asked, data):
    said = mpe.tables(recorded(data, ["spread"], ["ddpg", "random"]))
    assert "## spread" in said
    assert "Not measured yet: `iql`" in said
    assert "- `ddpg`, `random`: seeds" in said
    assert "## tag\n\nNot measured yet: `iql`, `vdn`" in said
    assert "\n| `random` | -9.0 [-9.0] |" in said
