"""Files of strangers and damaged files of our own: one sentence each; what can be skipped is
skipped and named."""

import json
import shutil
import struct

import pytest
from shell import refused, run
from tiny import TINY

from marl.config.parsing import find_config, load_config, parse_config
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.studies import scale
from marl.studies.measurements import Task, measure
from marl.training.loop import train, train_together


@pytest.fixture
def trained(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(parse_config(TINY), "a")
    return Run("a")


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"world": ' + nested(500) + "}", "nested more than 50 deep"),
        ('{"agent": {"hidden": ' + nested(100_000) + "}}", "nested more than 50 deep"),
        (nested(60), "nested more than 50 deep"),
        ('{"world": {"x": "' + "x" * 100_000_000 + '"}}', "is too large: more than 10 MB"),
        ("9" * 10_000, "is no valid JSON"),
    ],
    ids=["500 deep", "100000 deep", "a list", "100 MB", "a long number"],
)
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_odd_configs(data, tmp_path, capsys, command, content, sentence):
    path = tmp_path / "c.json"
    path.write_text(content)
    assert sentence in refused(capsys, command, str(path))


def test_configs_without_end(data, tmp_path, capsys):
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    assert "more than 10 MB" in refused(capsys, "train", str(tmp_path / "zero.json"))
    deep = f"agent.hidden={nested(70)}"
    assert "agent.hidden is" in refused(capsys, "train", "spread", "--set", deep)


LINES = [
    '{"step": 80, "evaluation": 3}',
    '{"step": 80, "evaluation": {"coverage_ci95": null}}',
    '{"step": 80, "evaluation": {"coverage": "x", "coverage_ci95": [0, 1]}}',
    '{"step": 80, "evaluation": {"coverage": [1], "coverage_ci95": [0, 1]}}',
    '{"step": 80, "metrics": [1]}',
    '{"step": 80, "metrics": {"coverage": null}}',
    '{"step": 80, "reward": "much"}',
    '{"step": 80, "cpu_seconds": {}}',
    '{"step": true}',
    '{"step": 80, "reward": 1' + "0" * 400 + "}",
    nested(5000),
    "{}",
    "[5]",
    "null",
]


def test_damaged_lines_of_a_log_are_skipped_and_counted(trained, tmp_path, capsys, drawn):
    log = trained.stats / "log.jsonl"
    log.write_text("\n".join([*LINES, *log.read_text().splitlines(), '{"step": 4']))
    _, output, _ = run(capsys, "list")
    assert "a   finished   step 400 of 400   seed 0" in output
    assert f"{len(LINES)} damaged lines of {log} are skipped" in output
    status, output, errors = run(capsys, "export-stats", "a", "--out", "a.csv")
    assert (status, output) == (0, "a.csv: 10 rows\n")
    assert f"{len(LINES)} damaged lines" in errors
    status, _, _ = run(capsys, "compare", "a", "--agents", "4", "--workers", "1")
    assert status == 0
    assert run(capsys, "clean")[0] == 0
    status, _, _ = run(capsys, "resume", "a", "--set", "training.steps=440")  # draws the curve
    assert status == 0
    assert log.read_text().count("\n") == 11


def test_damaged_measurements_are_made_anew_and_named(data, tmp_path):
    task = Task(("still",), {"scenario": "spread", "episode_length": 2}, 3, 2, 0)
    (row,) = result(measure([task], 1))
    (file,) = (data / "measurements").iterdir()
    damaged = [{**row, "values": {"coverage": [1.0]}}, {**row, "result": {}}, {**row, "cost": 3}]
    contents = ["{}", "[5]", "null", nested(5000), "\xff", '"', *map(json.dumps, damaged)]
    for content in contents:
        file.write_text(content, "latin-1")
        told = []
        (again,) = result(measure([task], 1), told)
        assert told[0] == f"{file} is damaged, and measured anew"
        assert again["values"] == row["values"] == json.loads(file.read_text())["values"]
    told = []
    result(measure([task], 1), told)
    assert told == ["1 of 1 measurements were made before"]


def result(measuring, told=None):
    """What a generator returns; `told` gets what it yields."""
    while True:
        try:
            sentence = next(measuring)
        except StopIteration as end:
            return end.value
        if told is not None:
            told.append(sentence)


@pytest.mark.parametrize("name", ["no run", "greedy", ".hidden", "ä"])
def test_foreign_folders_do_not_stop_the_list(trained, data, capsys, name):
    shutil.copytree(trained.models, data / "models" / name)
    status, output, errors = run(capsys, "list")
    assert (status, errors) == (0, "")
    assert f"  {name}   skipped: " in output
    assert "  a   finished" in output
    assert run(capsys, "clean")[0] == 0


def with_header(path, change):
    """Another header for a weights file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def ours(change):
    def changed(header):
        own = json.loads(header["__metadata__"]["marl"])
        change(own["config"])
        header["__metadata__"]["marl"] = json.dumps(own)

    return changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (ours(lambda c: c["agent"].update(hidden=[10_000, 10_000])), "asks for networks of"),
        (ours(lambda c: c["agent"].update(hidden=[2**40])), "GB of memory"),
        (ours(lambda c: c["world"].update(num_agents=10**9)), "10000000"),
        (ours(lambda c: c["world"].update(x=json.loads(nested(500)))), "nested more than 50 deep"),
        (lambda h: next(v for k, v in h.items() if k[0] != "_").update(shape=[2**40]), "cut short"),
    ],
    ids=["hidden", "wide", "agents", "deep", "shape"],
)
def test_foreign_headers_that_ask_for_much(trained, tmp_path, capsys, change, sentence):
    path = tmp_path / "x.safetensors"
    shutil.copy(trained.weights, path)
    with_header(path, change)
    for command in ("evaluate", "render"):
        assert sentence in refused(capsys, command, str(path))


def test_a_header_that_is_longer_than_any(trained, tmp_path, capsys):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**33) + b"{" + b" " * 1000)
    assert "is cut short" in refused(capsys, "evaluate", str(path))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('tennis_saddpg --set agent={"name":"atoc_comm"}', "this policy cannot play here"),
        ("spread --set training.batch_size=1000000000", "training.batch_size is 1000000000"),
        ("spread --set training.replay_size=1000000000000", "which needs"),
        ("atoc --set agent.hidden=[1000000,1000000]", "GB of memory"),
    ],
)
def test_a_run_that_cannot_begin_leaves_its_name_free(data, capsys, line, sentence):
    assert sentence in refused(capsys, "train", *line.split(), "--name", "x")
    assert not list(data.glob("*/x"))
    config, _, setting = line.split()
    with pytest.raises(UserError):
        train_together({"x": load_config(find_config(config), [setting])})
    assert not list(data.glob("*/x"))


def test_policies_where_they_cannot_play(data, capsys):
    line = "--agents 3 --episodes 1 --set world.scenario=crypto"
    assert "only steers" in refused(capsys, "evaluate", "assignment", *line.split())


def test_dollars_in_names_are_no_formulas(data, here, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scale, "REFERENCES", ())
    settings = {"training.steps": 80, "evaluation.episodes": 2, "world.episode_length": 3}
    bases = {name: {"config": "tiny.json", "settings": settings} for name in ("$x^{", "a$b$c")}
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    (tmp_path / "s.json").write_text(json.dumps({"base": bases}))
    assert run(capsys, "sweep", "s.json", "--workers", "1")[0] == 0
    for command in ("compare", "scale"):
        line = [command, "s", "--agents", "4", "--workers", "1", "--out", str(tmp_path / command)]
        status, _, errors = run(capsys, *line, *(["--episodes", "1"] * (command == "scale")))
        assert status == 0, errors
    assert read_checkpoint(Run("s-x-0").weights).step == 80
