import json
import os
from dataclasses import replace

import numpy as np
import pytest
from shell import refused, run
from tiny import TINY

from marl import evaluation
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.folders import data_root
from marl.runs.files import write_json
from marl.runs.loading import find_policy
from marl.runs.run import Run
from marl.studies import entries as gathering
from marl.studies import scale
from marl.studies import scale_page as scale_pages
from marl.studies.entries import Entry
from marl.studies.scale import default_episodes, measure, summarise, with_yardsticks
from marl.studies.scale_page import ScaleStudy
from marl.training.loop import train

WORLD = {"scenario": "spread", "episode_length": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two seeds, a sweep that holds them and a third run, and a policy tied to its number."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARL_DATA", str(folder))
        settings = ["training.steps=40", "world.integration=semi_implicit"]
        own = {"a-0": [], "a-1": ["training.seed=1"], "b": ["agent.gamma=0.5"]}
        own["tied"] = ["agent.name=maddpg"]
        for name, more in own.items():
            train(parse_config(with_settings(TINY, [*settings, *more])), name)
        runs = [
            {"name": name, "point": {"agent.gamma": gamma}, "seed": 0}
            for name, gamma in (("a-0", 0.9), ("a-1", 0.9), ("b", 0.5), ("c", 0.5))
        ]
        write_json(folder / "sweeps" / "many" / "sweep.json", {"runs": runs})
        Run.create("c", parse_config(TINY)).close()  # only begun
    return folder


@pytest.fixture(autouse=True)
def data(root, monkeypatch):
    monkeypatch.setenv("MARL_DATA", str(root))


def labels(entries):
    return [entry.label for entry in entries]


def test_seeds_belong_together_and_points_of_a_sweep_are_policies():
    entries, left_out = with_yardsticks(["greedy", "a-0", "many", "a-1"])
    assert labels(entries) == [
        *("greedy", "a-0 and 1 more", "many: gamma 0.9", "many: gamma 0.5"),
        *("random", "local-assignment", "assignment"),
    ]
    assert [entry.yardstick for entry in entries] == [False] * 4 + [True] * 3
    assert entries[1].asked == {"a-0": "a-0", "a-1": "a-1"}
    assert entries[2].asked == {"a-0": "many", "a-1": "many"}
    assert [entry.trained_with for entry in entries[:3]] == [None, 4, 4]
    assert left_out == ["Left out: the run 'c' has not been trained to its end: step 0 of 400."]


def test_builtin_policies_play_in_the_world_of_the_first_trained_one():
    entries, _ = with_yardsticks(["greedy", "b"], ["world.num_perceived_agents=3"])
    worlds = [next(iter(entry.policies.values())).world_for(9) for entry in entries]
    assert all(world == worlds[0] for world in worlds)
    assert worlds[0].integration == "semi_implicit"
    (greedy, *_), _ = with_yardsticks(["greedy"], ["world.num_perceived_agents=5"])
    assert greedy.policies["greedy"].world_for(9).num_perceived_agents == 5


def test_what_cannot_be_studied(tmp_path):
    for name, sentence in (
        ("none", "there is no run or policy 'none'"),
        ("c", "has not been trained to its end"),
        (str(tmp_path / "x.safetensors"), "there is no file"),
    ):
        with pytest.raises(UserError, match=sentence):
            with_yardsticks([name])


def test_as_many_episodes_as_evaluations_have_up_to_1000_agents():
    episodes = [default_episodes(n) for n in (4, 12, 80, 1000, 10_000, 100_000)]
    assert episodes == [2000, 1667, 250, 20, 2, 1]


def test_what_was_measured_is_kept_until_something_changes(here, monkeypatch):
    monkeypatch.setattr(scale, "REFERENCES", ("greedy",))

    def measured(entries, agents, episodes=3):
        return [*measure(entries, agents, episodes, 7, 1)]

    entries, _ = with_yardsticks(["b"])
    said = measured(entries, [3, 5])
    assert len(said) == 4
    assert said[0].startswith("1 of 4: b, N=3: coverage ")
    subject = find_policy("b")
    expected = evaluation.evaluate(subject.policy, subject.world_for(5), 5, 3, 7)
    (row,) = entries[0].rows[5]
    assert row["result"] == expected
    assert np.mean(row["values"]["path_length"]) == expected["path_length"]
    assert np.mean(row["values"]["coverage@2"]) == pytest.approx(expected["coverage_by_step"][1])

    again, _ = with_yardsticks(["b"])
    assert measured(again, [5]) == ["2 of 2 measurements were made before"]
    assert again[0].rows[5] == [row]
    assert len(measured(with_yardsticks(["b"])[0], [5], episodes=4)) == 2
    for file in data_root().glob("measurements/greedy-5-*"):
        file.write_text("{")
    damaged, some, one = measured(with_yardsticks(["b"])[0], [5])
    assert damaged.endswith("is damaged, and measured anew")
    assert some == "1 of 2 measurements were made before"
    assert one.startswith("1 of 1: greedy, N=5")
    weights = Run("b").weights.read_bytes()
    try:
        Run("b").weights.write_bytes(Run("a-1").weights.read_bytes())
        some, one = measured(with_yardsticks(["b"])[0], [5])
    finally:
        Run("b").weights.write_bytes(weights)
    assert some == "1 of 2 measurements were made before"
    assert one.startswith("1 of 1: b, N=5")


def test_a_process_of_its_own_measures_the_same():
    (entry, *_), _ = with_yardsticks(["greedy"], ["world.episode_length=5"])
    (said,) = measure([entry], [6], 4, 1, 2, ["world.episode_length=5"])
    assert said.startswith("1 of 1: greedy, N=6")
    (row,) = entry.rows[6]
    world = entry.policies["greedy"].world_for(6)
    assert row["result"] == evaluation.evaluate(scale.BUILTIN["greedy"], world, 6, 4, 1)
    assert row["cost"]["peak_mb"] > 50
    cost = row["cost"]
    total = (cost["policy_cpu_us"] + cost["world_cpu_us"]) * 6 * 4 * 5 / 1e6
    assert total == pytest.approx(cost["cpu_seconds"])
    assert cost["policy_cpu_us"] > 0
    assert len(ScaleStudy("x", [entry], "coverage").costs()) == 2


def test_memory_is_not_told_of_a_process_that_did_other_things(here):
    (entry, *_), _ = with_yardsticks(["greedy"], ["world.episode_length=5"])
    list(measure([entry], [7], 4, 1, 2, ["world.episode_length=5"], alone=False))
    assert [*entry.rows[7][0]["cost"]] == ["cpu_seconds", "policy_cpu_us", "world_cpu_us"]
    (title,) = ScaleStudy("x", [entry], "coverage").costs()
    assert title.startswith("CPU microseconds")


def test_a_policy_that_is_tied_to_its_number_and_the_oracle_say_so(here, monkeypatch):
    monkeypatch.setattr(scale, "ORACLE_UP_TO", 4)
    entries, _ = with_yardsticks(["tied", "b"])
    list(measure(entries, [4, 5, 6], 2, 0, 1))
    study = ScaleStudy("x", entries, "coverage")
    rows = {row[0]: row for row in study.scores(5)[1]}
    assert set(rows["tied"][1:]) == set(rows["assignment"][1:]) == {"-"}
    assert "-" not in rows["greedy"][1:3]
    tied, oracle = study.notes[1:]
    assert tied.startswith("tied, N=5, 6: the agent 'maddpg' was trained as 4 agents and is tied")
    assert oracle == "assignment, N=5, 6: it is measured up to 4 agents only"
    with pytest.raises(UserError, match="is tied to that number"):
        ScaleStudy("x", [Entry("tied", {}, {}, False, refused=entries[0].refused)], "coverage")


def row(coverage, by_step, **cost):
    result = {"agents": 4, "episodes": 2, "seed": 0, "coverage": np.mean(coverage)}
    result["coverage_by_step"] = by_step
    return {"result": result, "cost": cost, "values": {"coverage": coverage}}


def test_numbers():
    rows = [
        row([0.1, 0.3], [0.0, 0.2], cpu_seconds=1.0, peak_mb=5.0),
        row([0.5, 0.5], [0.4, 0.5], cpu_seconds=2.0, peak_mb=9.0),
        row([0.6, 1.0], [0.2, 0.8], cpu_seconds=9.0, peak_mb=7.0),
    ]
    found = summarise(rows, "coverage")
    assert (found.seeds, found.episodes) == (3, 2)
    assert found.median == {"coverage": 0.5}
    assert found.worst == 0.2
    assert found.by_step.tolist() == [0.2, 0.5]
    assert found.lowest_by_step.tolist() == [0.0, 0.2]
    assert found.cost == {"cpu_seconds": 2.0, "peak_mb": 9.0}
    low, high = found.intervals["coverage"]
    assert 0.1 <= low < 0.5 < high <= 1.0
    one = summarise([row([0.5], [0.5])], "coverage")
    assert (one.intervals, one.worst) == ({}, 0.5)


def test_gaps():
    def entry(label, trained, **scores):
        subject = find_policy("a-0" if trained else "greedy")
        rows = {int(n[1:]): [row([x, x], [x])] for n, x in scores.items()}
        for (measurement,) in rows.values():
            measurement["cost"] = {"policy_cpu_us": 1.0, "world_cpu_us": 2.0, "peak_mb": 300.0}
        return Entry(label, {label: subject}, {label: label}, not trained, rows)

    mine = entry("mine", True, n4=0.9, n8=0.7)
    study = ScaleStudy("x", [mine, entry("assignment", False, n4=1.0, n8=0.95)], "coverage")
    headings, rows = study.scores(8)
    assert headings[-2:] == ["below the oracle", "below training N"]
    assert [cells[-2:] for cells in rows] == [["0.250", "0.200"], ["-", "-"]]
    assert [cells[-2:] for cells in study.scores(4)[1]] == [["0.100", "-"], ["-", "-"]]
    assert [table[1][0] for table in study.costs().values()] == [
        ["mine", "1.00 + 2.00", "1.00 + 2.00"], ["mine", "300", "300"]
    ]  # fmt: skip


def test_the_command_writes_tables_plots_movies_and_numbers(here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale_pages, "FILMED", (5,))
    monkeypatch.setattr(scale_pages, "PICTURED", 6)
    options = f"--agents 6 4 5 --episodes 2 --seed 2 --json {tmp_path}/numbers.json"
    status, output, errors = run(capsys, "scale", "many", "greedy", *options.split())
    assert status == 0, errors
    folder = data_root() / "scales" / "many-greedy"
    films = {"many-gamma-0.9-5.gif", "many-gamma-0.5-5.gif", "greedy-5.gif"}
    pictures = {"many-gamma-0.9-6.png", "many-gamma-0.5-6.png", "greedy-6.png"}
    plots = {"coverage.png", "coverage-by-step.png"}
    assert {*os.listdir(folder)} == {"scale.md", *films, *pictures, *plots}
    assert {*map(str.strip, output.splitlines())} >= {str(folder / name) for name in films}
    assert "1 of 21: a-0, N=4: coverage" in errors
    assert "Left out: the run 'c'" in output
    text = (folder / "scale.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")][:3] == [
        "## 4 agents", "## 5 agents", "## 6 agents"
    ]  # fmt: skip
    assert "| many: gamma 0.9 | 2 x 2 | " in text
    assert "| step 2 [95 %] | step 5 [95 %] | step 8 [95 %] | step 10 [95 %] |" in text

    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert len(numbers) == 21
    assert [x["policy"] for x in numbers if x["agents"] == 5][:4] == ["many"] * 3 + ["greedy"]
    (found,) = [x for x in numbers if x["run"] == "b" and x["agents"] == 5]
    subject = find_policy("b")
    expected = evaluation.evaluate(subject.policy, subject.world_for(5), 5, 2, 2)
    assert {key: found[key] for key in expected} == expected
    assert found.keys() - expected.keys() == {
        *("policy", "run", "cpu_seconds", "policy_cpu_us", "world_cpu_us", "peak_mb")
    }

    status, _, errors = run(capsys, "scale", "many", "greedy", *options.split())
    assert (status, errors) == (0, "21 of 21 measurements were made before\n")


def test_a_study_has_one_scenario(monkeypatch, capsys):
    def found(name, settings=()):
        found = find_policy(name, settings)
        return replace(found, scenario="two:Two") if name == "b" else found

    monkeypatch.setattr(gathering, "find_policy", found)
    assert "a study has one scenario" in refused(capsys, "scale", "a-0", "b")


def test_heuristics_are_yardsticks_at_home(here, capsys):
    assert [
        *map(labels, (with_yardsticks(["wave"])[0], with_yardsticks(["random", "chase"])[0]))
    ] == [["wave", "random", "still"], ["random", "chase", "still"]]
    forage = ["world.scenario=waterworld"]
    assert labels(with_yardsticks(["still"], forage)[0]) == ["still", "random", "forage"]
    real = ["world.scenario=real_pursuit"]
    assert labels(with_yardsticks(["still"], real)[0]) == ["still", "random", "chase"]
    assert scale.numbers(with_yardsticks(["wave"])[0]) == [20, 40, 80, 160]
    assert scale.numbers(with_yardsticks(["still"], real)[0]) == [8, 16, 32]

    settings = "--set world.episode_length=6 --episodes 2 --agents 2 4 --workers 1"
    status, output, errors = run(capsys, "scale", "wave", *settings.split())
    assert status == 0, errors
    assert "2 agents  seeds x episodes  return [95 %]" in output
    folder = data_root() / "scales" / "wave"
    assert {*os.listdir(folder)} == {"scale.md", "return.png", "return-by-step.png", "wave-4.gif"}
    text = (folder / "scale.md").read_text()
    assert "oracle" not in text
    assert "CPU" not in text
