import csv

import pytest
from pyarrow import parquet
from shell import refused, run
from tiny import TINY

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs import cleanup as housekeeping
from marl.runs.cleanup import leftovers
from marl.runs.files import write_json
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.training.loop import resume, train


@pytest.fixture
def trained(data, monkeypatch):
    """A finished run, one that was only begun, and rubbish; no kernels of other versions."""
    monkeypatch.setattr(housekeeping, "kernel_folders", list)
    train(parse_config(TINY), "done")
    Run.create("begun", parse_config(TINY)).close()
    (Run("done").models / ".weights.safetensors.partial").write_bytes(b"half a file")
    (Run("done").models / "notes.txt").write_text("somebody's")
    return data


def files(data):
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


NEEDLESS = {
    "models/begun/lock",
    "models/done/.weights.safetensors.partial",
    "models/done/state.safetensors",
    "stats/begun/config.json",
}


def test_clean_says_what_it_would_remove_and_removes_that(trained, capsys):
    before = files(trained)
    assert before >= NEEDLESS
    status, out, _ = run(capsys, "clean")
    assert status == 0
    assert "Nothing is removed without --yes" in out
    assert files(trained) == before
    for word in ("begun", ".weights.safetensors.partial", "state.safetensors", " MB in all"):
        assert word in out
    assert run(capsys, "clean", "--yes")[0] == 0
    assert files(trained) == before - NEEDLESS
    assert run(capsys, "clean")[1] == "There is nothing to remove.\n"
    assert run_state("done").state == "finished"
    assert run(capsys, "evaluate", "done", "--episodes", "2")[0] == 0


def test_clean_asks_on_a_terminal(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    before = files(trained)
    for answer in ("", "no", "n"):
        monkeypatch.setattr("builtins.input", lambda _, a=answer: a)
        assert run(capsys, "clean")[1].endswith("Nothing is removed.\n")
        assert files(trained) == before
    monkeypatch.setattr("builtins.input", lambda _: "y")
    run(capsys, "clean")
    assert files(trained) == before - NEEDLESS


def test_a_run_that_is_being_trained_is_left_alone(trained):
    (Run("begun").stats / ".log.jsonl.partial").write_text("being written")
    run, _, _ = Run.open("begun")
    with run:
        assert not any("begun" in str(leftover.path) for leftover in leftovers())
    assert any("begun" in str(leftover.path) for leftover in leftovers())


def test_a_run_without_its_state_is_not_begun_anew(trained):
    """That would overwrite its weights."""
    Run("done").state.unlink()
    before = Run("done").weights.read_bytes()
    with pytest.raises(UserError, match="cannot be trained further"):
        resume("done")
    assert Run("done").weights.read_bytes() == before


def test_statistics_as_csv_and_parquet(data, tmp_path, capsys):
    for seed in (0, 1):
        config = {**TINY, "training": {**TINY["training"], "seed": seed, "evaluate_every": 200}}
        train(parse_config(config), f"a-{seed}")
    runs = [{"name": f"a-{seed}", "point": {}, "seed": seed} for seed in (0, 1)]
    write_json(data / "sweeps" / "both" / "sweep.json", {"runs": runs})
    table, other = tmp_path / "a.csv", tmp_path / "a.parquet"
    status, out, _ = run(capsys, "export-stats", "both", "--out", str(table))
    assert (status, out.splitlines()[-1]) == (0, f"{table}: 24 rows")
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [line for seed in (0, 1) for line in read_log(Run(f"a-{seed}").stats)]
    assert [int(row["step"]) for row in rows] == [line["step"] for line in lines]
    assert [row["run"] for row in rows] == ["a-0"] * 12 + ["a-1"] * 12
    for row, line in zip(rows, lines, strict=True):
        if "losses" in line:
            assert float(row["losses/critic_loss"]) == line["losses"]["critic_loss"]
            assert row["evaluation/coverage"] == ""
        else:
            assert float(row["evaluation/coverage"]) == line["evaluation"]["coverage"]
    assert run(capsys, "export-stats", "a-0", "a-1", "--out", str(other))[0] == 0
    read = parquet.read_table(other).to_pylist()
    assert [row["step"] for row in read] == [line["step"] for line in lines]
    assert read[0]["losses/critic_loss"] == lines[0]["losses"]["critic_loss"]
    assert read[0].keys() == rows[0].keys()
    sentence = refused(capsys, "export-stats", "both", "--out", str(tmp_path / "a.xls"))
    assert "should end in .csv or .parquet" in sentence
    assert "there is no run or sweep 'c'" in refused(
        capsys, "export-stats", "c", "--out", str(table)
    )
