"""One store for all studies: what is found there again, and by what."""

import importlib
import json
import shutil
import sys

import pytest
from tiny import TINY

from marl.config.parsing import parse_config, with_settings
from marl.folders import data_root
from marl.runs.run import Run
from marl.studies.comparison import measure as compare
from marl.studies.entries import gather
from marl.studies.measurements import Task, measure, plan
from marl.studies.scale import measure as scale
from marl.studies.scale import with_yardsticks
from marl.training.loop import train

WORLD = {"scenario": "spread", "episode_length": 3}


pytestmark = pytest.mark.usefixtures("data", "here")


def said(task, **options):
    return [*measure([task], 1, **options)]


def test_studies_share_what_was_measured():
    train(parse_config(with_settings(TINY, ["training.steps=20", "evaluation.episodes=3"])), "a")
    compared, _ = gather(["a"])
    assert len([*compare(compared, [4, 5])]) == 2
    entries, _ = with_yardsticks(["a"])
    seed = entries[0].config.evaluation.seed
    done = [*scale(entries[:1], [4, 5], 3, seed, 1, alone=False)]
    assert done == ["2 of 2 measurements were made before"]
    assert entries[0].rows == compared[0].rows


def test_measurements_are_found_by_their_content(tmp_path):
    train(parse_config(with_settings(TINY, ["training.steps=20"])), "a")
    (entry,), _ = gather(["a"])
    (task,) = plan(entry, 4, 2)
    assert said(task)[0].startswith("1 of 1: a, N=4: coverage ")
    shutil.copytree(Run("a").models, Run("b").models)
    copy = Task(("b",), task.world, 4, 2, task.seed)
    again = ["1 of 1 measurements were made before"]
    assert said(copy) == again
    (file,) = data_root().glob("measurements/a-4-*.json")
    old = data_root() / "scales" / "x" / "rows"  # where scale studies once kept theirs
    old.mkdir(parents=True)
    file.rename(old / file.name)
    assert said(task) == again
    (old / file.name).write_text("{")  # damaged
    damaged, _ = said(task)
    assert damaged.endswith("is damaged, and measured anew")
    assert said(task) == again


def test_memory_is_measured_when_it_is_wanted():
    task = Task(("greedy",), WORLD, 4, 2, 0)
    assert len(said(task)) == 1
    (found,) = said(task, alone=True)
    assert found.startswith("1 of 1: greedy")
    assert said(task, alone=True) == said(task) == ["1 of 1 measurements were made before"]
    (file,) = data_root().glob("measurements/*.json")
    assert json.loads(file.read_text())["cost"]["peak_mb"] > 50


def test_a_changed_scenario_or_agent_of_ones_own_is_measured_anew(tmp_path, monkeypatch):
    """Also if the change is in another file."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    texts = {
        "own_rules": "def paid(x):\n    return 2 * x\n",
        "own_game": "from own_rules import paid\nfrom marl.worlds.tennis.world import Tennis\n\n"
        "class Game(Tennis):\n    def make_world(self, *args):\n        return paid(*args)\n",
        "own_agent": "from own_rules import paid\nfrom marl.agents import AgentKind\n"
        "from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig\n\nclass Agent(DDPG):\n"
        "    def anneal(self, progress):\n        super().anneal(paid(progress))\n\n"
        "class Settings(DDPGConfig):\n    name: str = 'own_agent:OWN'\n"
        "    variant = property(lambda self: FAMILY['ddpg'])\n\n"
        "OWN = AgentKind(Agent, Settings)\n",
    }

    def write(old="", new=""):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text.replace(old, new))
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    def digests():
        game = Task(("random",), {"scenario": "own_game:Game"}, 2, 1, 0)
        return game.digest, Task(("a",), WORLD, 4, 1, 0).digest

    write()
    settings = ["training.steps=20", "agent.name=own_agent:OWN"]
    train(parse_config(with_settings(TINY, settings)), "a")
    before = digests()
    write()
    assert digests() == before
    write("2 * x", "3 * x")
    assert not {*digests()} & {*before}
    for name in texts:
        del sys.modules[name]
