"""Consoles whose reader goes away, that are closed, full, or know few letters."""

import io
import json
import os
import re
import sys
from contextlib import contextmanager, suppress

import pytest
from shell import run
from tiny import TINY, write_tiny

from marl.cli import main
from marl.config.parsing import parse_config
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.streams import printable
from marl.training.loop import train


def status(*arguments):
    """The exit status of a command in this process, with the streams that it finds."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@contextmanager
def unread():
    """Nobody reads the standard output any more. (pytest sets its own before every test, so this
    cannot be a fixture.)"""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.MonkeyPatch.context() as patch, open(writer, "w") as file:
        patch.setattr(sys, "stdout", file)
        yield


@pytest.fixture
def trained(data):
    train(parse_config(TINY), "a")


def test_training_goes_on_when_its_reader_goes_away(data, tmp_path, capsys):
    with unread():
        assert status("train", str(write_tiny(tmp_path)), "--name", "a") == 0
    assert read_checkpoint(Run("a").weights).step == 400
    assert capsys.readouterr().err == ""


def test_training_from_python_goes_on(data):
    with suppress(BrokenPipeError), unread():  # at the end, when pytest closes the file
        train(parse_config(TINY), "a")
    assert read_checkpoint(Run("a").weights).step == 400


def test_sweeps_go_on(data, tmp_path, capsys):
    base = write_tiny(tmp_path)
    (tmp_path / "few.json").write_text(json.dumps({"base": str(base), "seeds": 2}))
    with unread():
        assert status("sweep", str(tmp_path / "few.json"), "--workers", "1") == 0
    assert all(read_checkpoint(Run(f"few-{seed}").weights).step == 400 for seed in (0, 1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("evaluate a --agents 4 5 --episodes 2 --json e.json", "e.json"),
        ("compare a --workers 1 --out c", "c/comparison.html"),
        ("scale a --agents 4 --episodes 1 --workers 1 --out s --json s.json", "s.json"),
        ("list", None),
        ("--help", None),
        ("export-stats a --out a.csv", "a.csv"),
    ],
)
def test_whatever_was_to_be_written_is_written(trained, here, tmp_path, monkeypatch, line, file):
    monkeypatch.chdir(tmp_path)
    with unread():
        assert status(*line.split()) == 0
    assert file is None or (tmp_path / file).stat().st_size


def test_a_full_output_is_said_once_and_training_goes_on(data, tmp_path, capsys):
    with open("/dev/full", "w") as full, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert status("train", str(write_tiny(tmp_path)), "--name", "a") == 2
    errors = capsys.readouterr().err
    assert errors == "marl: cannot write the standard output: No space left on device\n"
    assert read_checkpoint(Run("a").weights).step == 400


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_closed_streams(trained, monkeypatch, closed):
    monkeypatch.setattr(sys, closed, None)
    assert status("list") == 0
    assert status("clean") == 0
    assert status("evaluate", "a", "--agents", "4", "--episodes", "1") == 0
    assert status("evaluate", "nothing") == 2
    assert getattr(sys, closed) is None


def test_letters_that_the_output_lacks(data, tmp_path, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tinié.json").write_text(json.dumps(TINY))
    assert status("evaluate", "greedy", "--agents", "4", "--episodes", "2") == 0
    assert status("export-stats", "none", "--out", "é.csv") == 2
    (data / "json").mkdir(parents=True)
    (data / "json" / "tinié.json").write_text("{}")
    assert status("list") == 0
    output.seek(0)
    assert re.search(r"tini\\xe9", output.read())


def test_names_in_files_give_no_commands_to_the_terminal(trained, data, capsys):
    name = "b\x1b]0;title\x07\x1b[2J\r\x9b31m"
    (data / "models" / "a").rename(data / "models" / name)
    (data / "json").mkdir(parents=True)
    (data / "json" / f"{name}.json").write_text("{}")
    _, output, errors = run(capsys, "list")
    assert "b\\x1b]0;title\\x07\\x1b[2J\\r\\x9b31m   skipped: " in output
    weights = data / "models" / name / "weights.safetensors"
    _, table, _ = run(capsys, "evaluate", str(weights), "--agents", "4", "--episodes", "1")
    assert "b\\x1b]0;title" in table
    _, _, refusal = run(capsys, "train", "x", "--set", f"world.{name}=1", "world.scenario=\x1b[1m")
    text = output + errors + table + refusal
    assert all(c.isprintable() or c == "\n" for c in text)


def test_printable():
    assert printable("two lines\n\tä · 3 ± 1 …") == "two lines\n\tä · 3 ± 1 …"
    assert printable("\x1b[1m\x7f\u202e\udc80") == "\\x1b[1m\\x7f\\u202e\\udc80"
