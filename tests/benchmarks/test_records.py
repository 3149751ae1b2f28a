"""Tables made in pieces: what is kept, what is still missing, who drew the seeds."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from records import DEVELOPMENT, Record

FIRST, SECOND = "0" * 40, "1" * 40


@pytest.fixture
def file(tmp_path):
    return tmp_path / "of" / "table.json"


def made(file, rows=("a", "b"), commit=FIRST, count=2, run=lambda job: {"score": job.seed % 7}):
    """The record, and the jobs that were made, in their order."""
    record, done = Record(file, "table"), []

    def noted(job):
        done.append((job.row, job.place))
        return run(job)

    jobs = [job for row in rows for job in record.missing(row, commit, count)]
    record.make(jobs, noted, 1)
    return record, done


def test_first_seeds_come_first_and_what_is_on_record_is_not_made_again(file):
    record, done = made(file)
    assert done == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert json.loads(file.read_text()) == record.rows
    again, done = made(file)
    assert (again.rows, done) == (record.rows, [])
    more, done = made(file, count=3)
    assert done == [("a", 2), ("b", 2)]
    kept = more.rows["a"]["runs"]
    assert len({run["seed"] for run in kept}) == 3
    assert all(run["score"] == run["seed"] % 7 for run in kept)


def test_every_run_is_kept_as_it_ends(file):
    def fails(job):
        if job.row == "b" and job.place:
            raise SystemExit("a full disk")
        return {}

    with pytest.raises(SystemExit, match="a full disk"):
        made(file, run=fails)
    rows = json.loads(file.read_text())
    assert {row: len(entry["runs"]) for row, entry in rows.items()} == {"a": 2, "b": 1}


def test_seeds_are_drawn_from_the_commit_and_shared_by_its_rows(file):
    record, _ = made(file)
    seeds = [[run["seed"] for run in record.rows[row]["runs"]] for row in ("a", "b")]
    assert seeds[0] == seeds[1]
    assert min(seeds[0]) >= 1000
    other, _ = made(file.with_name("other"), commit=SECOND)
    assert not set(seeds[0]) & {run["seed"] for run in other.rows["a"]["runs"]}
    development, _ = made(file.with_name("development"), commit=DEVELOPMENT)
    assert [run["seed"] for run in development.rows["a"]["runs"]] == [0, 1]


def test_another_commit_adds_rows_but_no_runs(file):
    made(file)
    assert made(file, commit=SECOND)[1] == []
    with pytest.raises(SystemExit, match=f"a was begun at commit {FIRST}, and this is {SECOND}"):
        made(file, commit=SECOND, count=3)
    record, done = made(file, rows=("c",), commit=SECOND)
    assert done == [("c", 0), ("c", 1)]
    first, second = record.origins(["a", "b", "c"]).splitlines()
    assert first.startswith("- `a`, `b`: seeds ")
    assert "commit 00000000000; python " in first
    assert second.startswith("- `c`: seeds ")
