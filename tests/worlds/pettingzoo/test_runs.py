"""PettingZoo's environments in runs: trained in, resumed, evaluated, drawn."""

import json

import numpy as np
import pytest
from mpe2_tag import FILMED, TAG, tag
from tiny import check_resumes

from marl import evaluation
from marl.cli import main
from marl.config.parsing import parse_config
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.training.loop import train

pytestmark = pytest.mark.usefixtures("few_episodes")


def test_it_is_trained_in_evaluated_and_drawn(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    train(tag("training.evaluate_every=80"), "a")
    (line,) = [line for line in read_log(Run("a").stats) if "evaluation" in line]
    assert {"reward", "reward_adversary", "reward_agent"} <= line["evaluation"].keys()
    assert line["evaluation"]["episodes"] == 2
    assert len(line["evaluation"]["return_by_step"]) == 4
    assert line["evaluation"]["return"] == pytest.approx(4 * line["evaluation"]["reward"])
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "a", "--json", "a.json"])
    assert stop.value.code == 0
    (result,) = json.loads((data.parent / "a.json").read_text())
    assert result["agents"] == 4
    assert result["episodes"] == 3
    assert "path_length" not in result
    options = 'world.options={"max_cycles": 4, "render_mode": "rgb_array"}'
    with pytest.raises(SystemExit) as stop:
        main(["render", "a", "--out", "a.gif", "--set", options])
    assert stop.value.code == 0
    assert (data.parent / "a.gif").stat().st_size > 1000
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["render", "a", "--out", "b.gif"])
    assert stop.value.code == 2
    assert "make it with options {'render_mode': 'rgb_array'}" in capsys.readouterr().err


def test_returns_are_those_of_whole_episodes(data):
    world = {**TAG["world"], "scenario": "pettingzoo:mpe2/simple_spread_v3"}
    train(
        parse_config({**TAG, "world": world, "training": {**TAG["training"], "log_every": 8}}), "a"
    )
    log = read_log(Run("a").stats)
    # Four worlds, episodes of four steps: they are over in every other line.
    assert [line["metrics"].keys() for line in log] == [{}.keys(), {"return"}] * 5
    for before, line in zip(log[::2], log[1::2], strict=True):
        earned = 2 * (before["reward"] + line["reward"])
        assert line["metrics"]["return"] == pytest.approx(earned, rel=1e-5)
        assert earned < 0


LASTING = """
import numpy as np
from mpe2 import simple_v3


class parallel_env:
    def __init__(self):
        self.env = simple_v3.parallel_env()
        self.possible_agents = self.env.possible_agents

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None, options=None):
        self.env = simple_v3.parallel_env(max_cycles=2 + seed % 9)
        return self.env.reset(seed)
"""


def test_episodes_of_different_lengths(data, monkeypatch):
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "lasting").mkdir(parents=True)
    (data.parent / "lasting" / "env.py").write_text(LASTING)
    monkeypatch.setattr(evaluation, "SLOW_AT_ONCE", 2)
    world = {"scenario": "pettingzoo:lasting/env", "processes": 0}
    train(parse_config({**TAG, "world": world}), "a")
    subject = find_policy("a")
    values = evaluation.measure(subject.policy, subject.world, 1, 8, 0)
    by_step, steps = values["return_by_step"], values["return"] / values["reward"]
    assert len({*steps.round()}) > 2
    for own, last in zip(by_step, steps.round().astype(int), strict=True):
        assert (np.diff(own[:last]) < 0).all()  # as every step costs something
        np.testing.assert_array_equal(own[last - 1 :], own[-1])


def test_it_resumes(data, monkeypatch):
    check_resumes(tag(), monkeypatch, 44)  # in the middle of an episode


@pytest.mark.parametrize("name", ["iql", "ippo"])
def test_learning_from_pictures_resumes(data, monkeypatch, name):
    """In the middle of an episode, whose last pictures are in what is observed next."""
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "filmed").mkdir()
    (data.parent / "filmed" / "env.py").write_text(FILMED)
    monkeypatch.setattr("marl.worlds.pettingzoo.config.PRESETS", {"84x84": ()})
    world = {"scenario": "pettingzoo:filmed/env", "preset": "84x84", "processes": 0}
    agent = {"name": name, "hidden": [8], "augment": True}
    config = {**TAG, "world": world, "agent": agent}
    check_resumes(parse_config(config), monkeypatch, 44)
    (group,) = parse_config(config).world.groups.values()
    assert group.observation_space.shape == (4 * 2, 36, 36)


BREAKING = """
from mpe2 import simple_v3


class parallel_env:
    def __init__(self):
        self.env, self.episodes = simple_v3.parallel_env(max_cycles=3), 0

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None, options=None):
        self.episodes += 1
        if self.episodes == 2:  # only the first one is tried
            raise KeyError("inside")
        return self.env.reset(seed)
"""


@pytest.mark.parametrize("processes", [0, 1])
def test_an_environment_that_fails_is_told_in_one_sentence(data, capsys, monkeypatch, processes):
    monkeypatch.chdir(data.parent)
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "breaking").mkdir()
    (data.parent / "breaking" / "env.py").write_text(BREAKING)
    world = {"scenario": "pettingzoo:breaking/env", "processes": processes}
    (data.parent / "b.json").write_text(json.dumps({**TAG, "world": world}))
    with pytest.raises(SystemExit) as stop:
        main(["train", "b.json"])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said == "marl: an environment failed: KeyError: 'inside'\n"


def test_processes_end_with_the_run(data):
    import multiprocessing

    before = {child.pid for child in multiprocessing.active_children()}
    train(tag("world.processes=2", "training.steps=20"), "a")
    for child in multiprocessing.active_children():
        child.join(5)
    assert {child.pid for child in multiprocessing.active_children()} <= before


def test_sides_of_it_play_crosswise(data, capsys):
    train(tag("training.steps=20"), "a")
    with pytest.raises(SystemExit) as stop:
        main(["crossplay", "a", "--episodes", "2", "--workers", "1"])
    assert stop.value.code == 0
