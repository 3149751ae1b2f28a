"""Fresh seeds: nobody can choose them, and the table says what was measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY, write_tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import commands
import fresh

from marl.runs.run import Run


def test_seeds_belong_to_a_commit_and_a_config():
    seeds, starts = fresh.drawn("c0ffee", "spread", 20)
    assert fresh.drawn("c0ffee", "spread", 20) == (seeds, starts)
    assert len({*seeds, starts}) == 21
    assert min(*seeds, starts) >= 1000
    assert fresh.drawn("c0ffee", "spread", 30)[0][:20] == seeds
    for other in (("c0ffef", "spread", 20), ("c0ffee", "auction", 20)):
        assert not {*fresh.drawn(*other)[0]} & {*seeds}


@pytest.mark.parametrize("log", [None, "", '{"step": 40}', '{"step": 400}'])
def test_a_run_that_died_is_continued(data, tmp_path, monkeypatch, log):
    """Also one that died before its first log line; one that is finished is left alone."""
    if log is not None:
        stats = data / "stats" / "a"
        stats.mkdir(parents=True)
        (stats / "config.json").write_text("{}")
        (stats / "log.jsonl").write_text(log)
    called = []
    monkeypatch.setattr(commands, "marl", lambda *words, root: called.append(words[0]))
    commands.trained("a", write_tiny(tmp_path), 0)
    assert called == {None: ["train"], '{"step": 400}': []}.get(log, ["resume"])


def runs(*coverages):
    return [
        {
            "seed": 1000 + i,
            "cpu_seconds": 100.0 + i,
            "played": {"4": {"coverage": x, "collisions": 0.1, "episodes": 600}},
        }
        for i, x in enumerate(coverages)
    ]


def test_the_median_run_is_shipped():
    assert fresh.shipped(runs(0.9, 0.99, 0.95)) == 1002
    assert fresh.shipped(runs(0.9, 0.99, 0.95, 0.96)) == 1002


def test_the_table_has_the_worst_beside_the_median():
    data = {
        "runs": runs(0.98, 0.94, 0.97, 0.99),
        "references": {"random": {"4": {"coverage": 0.01, "collisions": 0.02}}},
        "commit": "c0ffee",
        "starts": 5,
        "versions": {"torch": "2"},
    }
    rows = [line.strip("| ").split(" | ") for line in fresh.table(data).splitlines()]
    for row in (
        ["median of 4 seeds", "0.975"],
        ["interquartile mean", "0.975"],
        ["worst", "0.940"],
        ["share of seeds below", "25% below 0.95"],
        ["random", "0.010, 0.02"],
        ["1001", "0.940", "101"],
    ):
        assert row in rows


def test_a_table_is_made_kept_and_shipped(data, tmp_path, monkeypatch, capsys):
    """In a checkout of its own, with runs that take a moment; a second call trains nothing."""
    folder = tmp_path / "checkout"
    (folder / "data" / "json").mkdir(parents=True)
    config = {**TINY, "evaluation": {"world": {"reward": "shared"}}}
    (folder / "data" / "json" / "large.json").write_text(json.dumps(config))
    (folder / "data" / "json" / "small.json").write_text(json.dumps({"base": "large"}))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(fresh, "FOLDER", tmp_path / "records")
    monkeypatch.setattr(fresh, "episodes", lambda agents: 5)
    git = ["-c", "user.name=a", "-c", "user.email=a@b"]
    fresh._git("init", "--quiet")
    command = ["fresh.py", "small", "--seeds", "2", "--agents", "6", "--ship"]
    monkeypatch.setattr(sys, "argv", [*command, "--references", "random"])
    for file in ("small", "large"):  # the config, and then its base, are not committed
        with pytest.raises(SystemExit, match=f"Commit first(?s:.*){file}.json"):
            fresh.main()
        fresh._git("add", f"data/json/{file}.json")
        fresh._git(*git, "commit", "--quiet", "--message", file)
    fresh.main()
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "records" / "small.json").read_text())
    seeds, starts = fresh.drawn(fresh._git("rev-parse", "HEAD"), "small", 2)
    assert [run["seed"] for run in record["runs"]] == seeds
    assert record["starts"] == starts
    assert all(f"| {seed} |" in said for seed in seeds)
    assert f"Seed {fresh.shipped(record['runs'])} is now" in said
    root = next((data / "fresh").iterdir())
    kept = root / "models" / f"seed-{fresh.shipped(record['runs'])}" / "weights.safetensors"
    assert Run("small").weights.read_bytes() == kept.read_bytes()
    monkeypatch.setattr("commands.marl", lambda *a, **k: pytest.fail("nothing is to be run"))
    fresh.main()
    again = json.loads((tmp_path / "records" / "small.json").read_text())
    assert again == record
    assert np.isfinite(record["references"]["random"]["6"]["coverage"])
