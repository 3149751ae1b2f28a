"""The table of PettingZoo's worlds: its runs, what they play, the page."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import zoo

from marl.config.parsing import find_config, load_config
from marl.policies.builtin import BUILTIN
from marl.worlds.registry import find_scenario

LOG = [
    {"step": 10, "cpu_seconds": 1.0},
    {"step": 10, "cpu_seconds": 2.0, "evaluation": {"return": 90.0}},
    {"step": 20, "cpu_seconds": 4.0, "evaluation": {"return": 80.0}},
]


@pytest.fixture
def asked(data, monkeypatch):
    """The evaluations that were asked for. No run is trained; run K of a config gets 10 K - n with
    n agents, a built-in policy -n."""
    asked = []

    def marl(verb, policy, *options, root):
        counts = options[options.index("--agents") + 1 : options.index("--episodes")]
        asked.append((policy, counts, options))
        plus = 10 * int(policy.rpartition("-")[2]) if "-" in policy else 0
        played = [{"agents": int(n), "return": plus - float(n)} for n in counts]
        Path(options[options.index("--json") + 1]).write_text(json.dumps(played))

    monkeypatch.setattr(zoo, "trained", lambda name, config, seed, settings, root: LOG)
    monkeypatch.setattr(zoo, "marl", marl)
    monkeypatch.setattr(zoo, "commit_of", lambda *configs: "0" * 40)
    monkeypatch.setattr(zoo, "drawn", lambda commit, name, count: ([3, 1, 2, 5, 4][:count], 77))
    return asked


@pytest.mark.parametrize("name", zoo.TASKS)
def test_every_task_can_be_played(name):
    world = load_config(find_config(name)).evaluation_world
    task = zoo.TASKS[name]
    assert zoo.METRIC in world.metrics
    assert {*task.references} <= {*BUILTIN}
    for play in task.plays:
        for setting in play.settings:
            key, _, scenario = setting.partition("=")
            assert key != "world.scenario" or issubclass(find_scenario(scenario), type(world))
        for count in play.agents:
            assert world.with_agents(count).agent_count == count


def test_medians_and_the_worst_of_all_seeds(asked):
    data = zoo.record("pistonball", 1)
    assert [run["seed"] for run in data["runs"]] == [3, 1, 2, 5, 4]
    assert {options[options.index("--seed") + 1] for _, _, options in asked} == {"77"}
    text = zoo.table("pistonball", data)
    (ours, theirs) = [line for line in text.splitlines() if line.startswith("| `pistonball`")]
    assert "25.0 (5.0)" in ours  # n=5: runs 1 to 5 get 5, 15, ... 45
    assert "10.0 (-10.0)" in theirs  # n=20
    assert "n=10 (trained)" in text
    at_random = [options for policy, _, options in asked if policy == "random"]
    assert all("world.scenario=pistonball" in options for options in at_random)
    before = len(asked)
    assert zoo.record("pistonball", 1) == data
    assert len(asked) == before  # nothing is played again


def test_runs_with_other_numbers_of_agents_stand_below(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    trained = []
    monkeypatch.setattr(zoo, "trained", lambda *given: trained.append(given) or LOG)
    (tmp_path / "zoo_pistonball_5.json").write_text(json.dumps(zoo.record("pistonball", 1, 3, 5)))
    assert {settings for _, _, _, settings, _ in trained} == {("world.num_agents=5",)}
    assert {policy for policy, _, _ in asked} == {f"pistonball-{seed}" for seed in (1, 2, 3)}
    text = zoo.section("pistonball", zoo.record("pistonball", 1))
    (row,) = [line for line in text.splitlines() if line.startswith("| `pistonball`, trained")]
    assert "trained with 5 | marl | 15.0 (5.0) |" in row  # n=5: runs 1 to 3 get 5, 15 and 25
    assert "`python benchmarks/zoo.py pistonball --agents 5 --seeds 3`" in text


def test_the_median_run_ships(asked, monkeypatch, tmp_path):
    data = zoo.record("pistonball", 1)
    assert zoo.median_run("pistonball", data) == 3


def test_best_and_last_evaluations_stand_side_by_side(asked):
    line = zoo.learning("pistonball", zoo.record("pistonball", 1)).splitlines()[2]
    assert [cell.strip() for cell in line.strip("| ").split("|")] == [
        "3",
        "20",
        "4",
        "2",
        "90.0",
        "80.0",
    ]


def test_the_page_says_what_is_missing(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    (tmp_path / "zoo_prison.json").write_text(json.dumps(zoo.record("prison", 1)))
    page = zoo.page()
    assert "{" not in page
    assert page.count("Not measured yet.") == len(zoo.TASKS) - 1
    assert "`python benchmarks/zoo.py prison`" in page
