"""One store for all studies: what is found there again, and by what."""

import json
import shutil

import pytest
from tiny import TINY

from marl.config.parsing import parse_config, with_settings
from marl.folders import data_root
from marl.runs.run import Run
from marl.studies import measurements
from marl.studies.comparison import measure as compare
from marl.studies.entries import gather
from marl.studies.measurements import Task, measure, plan
from marl.studies.scale import measure as scale
from marl.studies.scale import with_yardsticks
from marl.training.loop import train

WORLD = {"scenario": "spread", "episode_length": 3}


@pytest.fixture(autouse=True)
def here(data, monkeypatch):
    """Measure in this process, which is faster."""
    monkeypatch.setattr(
        measurements, "in_processes", lambda f, tasks, workers, fresh: ((t, f(t)) for t in tasks)
    )


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
    assert len(said(task)) == 1
    assert said(task) == again


def test_memory_is_measured_when_it_is_wanted():
    task = Task(("greedy",), WORLD, 4, 2, 0)
    assert len(said(task)) == 1
    (found,) = said(task, alone=True)
    assert found.startswith("1 of 1: greedy")
    assert said(task, alone=True) == said(task) == ["1 of 1 measurements were made before"]
    (file,) = data_root().glob("measurements/*.json")
    assert json.loads(file.read_text())["cost"]["peak_mb"] > 50
